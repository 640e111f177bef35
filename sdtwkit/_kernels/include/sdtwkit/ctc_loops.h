// The costs and the two sweeps of CTC over one sample; compiled once for each instruction level. See ctc.h.
#include "ctc.h"

namespace sdtw {
namespace SDTW_LEVEL {

// Vectors of kLanes at a time, all over the frames: most of the time of a value goes into this.
template <class T> SDTW_TARGET void ctc_costs(CtcBlock<T>& b) {
  T largest[kLanes] = {};
  for (Index t = 0; t < b.frames; ++t) {
    const T* SDTW_RESTRICT row = b.log_probs + t * b.classes;
    T* SDTW_RESTRICT cost = b.cost + t * b.pitch;
    for (Index k = 0; k < b.pitch; k += kLanes)
      SDTW_IVDEP
      for (Index l = 0; l < kLanes; ++l) {
        const T c = -row[b.lane_class[k + l]], size = c < 0 ? -c : c;
        largest[l] = max2(largest[l], size < Real<T>::infinity() ? size : T(0));
        cost[k + l] = c;
      }
    b.blank_cost[t] = cost[b.targets];
    for (Index k = b.targets; k < b.pitch; ++k) cost[k] = Real<T>::infinity();
  }
  b.largest = 0;
  for (Index l = 0; l < kLanes; ++l) b.largest = max2(b.largest, largest[l]);
}

template <class Op, bool Store, class T = typename Op::Scalar>
SDTW_NOINLINE SDTW_TARGET void ctc_frame(const CtcBlock<T>& b, Index t) {
  using IO = StateIO<Op>;
  const Op op = make(b.op, static_cast<Op*>(nullptr));
  const Field<T> label = b.label[t % 2], blank = b.blank[t % 2];
  const Field<T> label_before = b.label[(t + 1) % 2], blank_before = b.blank[(t + 1) % 2];
  const Index at = t * b.pitch, lanes = b.pitch & -kLanes;
  const T* SDTW_RESTRICT cost = b.cost + at;
  const T* SDTW_RESTRICT skip = b.skip;
  Three<T*> into = {nullptr, nullptr, nullptr};
  T *stayed = nullptr, *left = nullptr;
  if (Store) {
    into = {b.into_label.left + at, b.into_label.diag + at, b.into_label.up + at};
    stayed = b.blank_stayed + at, left = b.blank_left + at;
  }
  const bool possible = b.blank_cost[t] < Real<T>::infinity();
  const T blank_cost = possible ? b.blank_cost[t] : T(0);
  SDTW_IVDEP
  for (Index k = 0; k < lanes; ++k) {
    const auto same = IO::load(label_before, k), previous = IO::load(label_before, k - 1);
    const auto between = IO::load(blank_before, k);
    const auto cell = ctc_cell(op, same, between, previous, skip[k] > 0, cost[k], possible, blank_cost);
    IO::store(label, k, cell.label.state);
    IO::store(blank, k, cell.blank);
    if (Store) {
      into.left[k] = cell.label.q.left, into.diag[k] = cell.label.q.diag, into.up[k] = cell.label.q.up;
      stayed[k] = cell.stayed, left[k] = cell.left;
    }
  }
}

template <class Op, bool Store, class T = typename Op::Scalar> SDTW_TARGET void ctc_forward(const CtcBlock<T>& b) {
  const Op op = make(b.op, static_cast<Op*>(nullptr));
  for (Index t = 0; t < b.frames; ++t) {
    ctc_frame<Op, Store>(b, t);
    if (t % kSteps == kSteps - 1 || t == b.frames - 1) {
      renormalise_lanes(op, 0, b.pitch, b.label[t % 2]);
      renormalise_lanes(op, 0, b.pitch, b.blank[t % 2]);
    }
  }
}

// One frame back: the visits of frame t become those of frame t - 1.
template <class T> SDTW_NOINLINE SDTW_TARGET void ctc_step_back(const CtcBlock<T>& b, Index t) {
  const Index at = t * b.pitch, lanes = b.pitch & -kLanes;
  const T *stay = b.into_label.left + at, *from_blank = b.into_label.diag + at, *from_label = b.into_label.up + at;
  const T *stayed = b.blank_stayed + at, *left = b.blank_left + at;
  T *visits = b.visits, *blanks = b.blank_visits;
  SDTW_IVDEP
  for (Index k = 0; k < lanes; ++k) {  // in place: entry k + 1 is still that of frame t
    const T label = visits[k], blank = blanks[k];
    visits[k] = (stay[k] * label + left[k + 1] * blanks[k + 1]) + from_label[k + 1] * visits[k + 1];
    blanks[k] = stayed[k] * blank + from_blank[k] * label;
  }
}

template <class T> SDTW_TARGET void ctc_backward(const CtcBlock<T>& b) {
  for (Index t = b.frames - 1; t >= 0; --t) {
    T* row = b.gradient + t * b.classes;
    T sums[kLanes] = {};
    for (Index k = 0; k < b.pitch; k += kLanes)
      for (Index l = 0; l < kLanes; ++l) sums[l] += b.blank_visits[k + l];
    for (Index l = 0; l < kLanes; ++l) row[b.blank_class] -= sums[l];
    for (Index k = 0; k < b.targets; ++k) row[b.target[k]] -= b.visits[k];
    if (t > 0) ctc_step_back(b, t);
  }
}

}  // namespace SDTW_LEVEL
}  // namespace sdtw
