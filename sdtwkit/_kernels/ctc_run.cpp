// CTC from start to end, sample by sample: runs the loops of ctc_loops.h, reads off the value.
// Samples are spread over threads.
#include "sdtwkit/ctc.h"
#include "sdtwkit/plan.h"
#include "sdtwkit/threads.h"

namespace sdtw {
namespace {

template <class T> class Ctc {
 public:
  explicit Ctc(const CtcRequest& r) : r_(r), loops_(loops<T>(r.level)) {}

  Status run(Index sample) {
    b_.frames = Index(r_.frames_of[sample]), b_.targets = Index(r_.targets_of[sample]);
    b_.classes = Index(r_.classes), b_.blank_class = Index(r_.blank);
    b_.pitch = round_up(b_.targets + 1, kLanes);
    b_.target = r_.target + sample * r_.targets;
    gather(static_cast<const T*>(r_.log_probs) + sample * r_.frames * r_.classes);
    const double log2e = 1.4426950408889634, highest = double(b_.largest) * log2e, reach = highest * double(b_.frames + 1);
    bool far = false;
    if (!(reach < Real<T>::exponent_limit && highest < double(Real<T>::magic) / 4)) {
      if (sizeof(T) == 4) return kNeedsDouble;
      if (!(reach < 1e300)) return kOverflow;
      far = true;
    }
    const bool wanted = r_.gradient != nullptr, store = wanted || far;
    prepare(store);
    (far ? loops_.ctc_forward_far : loops_.ctc_forward[store ? kStore : kValue])(b_);
    static_cast<T*>(r_.value)[sample] = T(close(store));
    if (!wanted) return kDone;
    b_.gradient = static_cast<T*>(r_.gradient) + sample * r_.frames * r_.classes;
    loops_.ctc_backward(b_);
    return kDone;
  }

 private:
  const CtcRequest& r_;
  const Loops<T>& loops_;
  CtcBlock<T> b_ = {};
  Buffer<T> cost_, blank_cost_, skip_, q_, visits_;
  Buffer<std::int32_t> lanes_;
  FieldBuffer<T> states_[4];

  void gather(const T* log_probs) {
    std::int32_t* lanes = lanes_.filled(b_.pitch, std::int32_t(b_.blank_class));
    for (Index k = 0; k < b_.targets; ++k) lanes[k] = std::int32_t(b_.target[k]);
    b_.log_probs = log_probs, b_.lane_class = lanes;
    b_.cost = cost_.reserve(b_.frames * b_.pitch), b_.blank_cost = blank_cost_.reserve(b_.frames);
    loops_.ctc_costs(b_);
  }

  // States before frame 0: the empty path stands in the first blank, from where the two states
  // that may come first are reached, and no other.
  void prepare(bool store) {
    const double rate = -1.4426950408889634, rate_low = -2.0355273740931033e-17;
    b_.op = {T(1), T(1), T(rate), T(sizeof(T) == 4 ? rate - double(T(rate)) : rate_low)};
    T* skip = skip_.filled(b_.pitch, T(0));
    for (Index k = 1; k < b_.targets; ++k) skip[k] = T(b_.target[k] != b_.target[k - 1]);
    b_.skip = skip;
    for (int s = 0; s < 4; ++s) {
      const Field<T> field = states_[s].reserve(b_.pitch + kLanes, false);
      std::fill_n(field.value, b_.pitch + kLanes, T(0));
      std::fill_n(field.exponent, b_.pitch + kLanes, Real<T>::lowest_exponent());
      (s < 2 ? b_.label[s] : b_.blank[s - 2]) = field.offset(kLanes);
    }
    b_.blank[1].value[0] = T(1), b_.blank[1].exponent[0] = 0;
    if (!store) return;
    const Index n = b_.frames * b_.pitch;
    T* q = q_.reserve(5 * n + kLanes);
    std::fill_n(q + 5 * n, kLanes, T(0));  // the last row is read one entry too far, times 0
    b_.into_label = {q, q + n, q + 2 * n}, b_.blank_stayed = q + 3 * n, b_.blank_left = q + 4 * n;
    b_.visits = visits_.filled(2 * (b_.pitch + kLanes), T(0)), b_.blank_visits = b_.visits + b_.pitch + kLanes;
  }

  // Minus the logarithm of the two last states together, and the shares of them.
  double close(bool store) const {
    const Index last = (b_.frames - 1) % 2, k = b_.targets;
    const Field<T> blank = b_.blank[last].offset(k), label = b_.label[last].offset(k - 1);
    const double top = std::max(double(*blank.exponent), double(*label.exponent));
    const double a = double(*blank.value) * std::exp2(double(*blank.exponent) - top);
    const double z = double(*label.value) * std::exp2(double(*label.exponent) - top);
    if (!(a + z > 0)) return Real<double>::infinity();
    if (store) {
      b_.blank_visits[k] = T(a / (a + z));
      if (k > 0) b_.visits[k - 1] = T(z / (a + z));
    }
    return -(std::log(a + z) + top * 0.6931471805599453);
  }
};

template <class T> Status run_as(const CtcRequest& r) {
  std::atomic<bool> stop{false};
  std::atomic<int> status{kDone};
  Guard guard;
  const int threads = int(std::min(std::int64_t(r.threads), r.samples));
#pragma omp parallel num_threads(threads) if (threads > 1)
  guard(stop, [&] {
    Ctc<T> ctc(r);
#pragma omp for schedule(dynamic)
    for (Index b = 0; b < Index(r.samples); ++b) {
      if (stop.load()) continue;
      int found = thread_number() == 0 && r.interrupted && r.interrupted() ? int(kInterrupted) : int(kDone);
      if (found == kDone) guard(stop, [&] { found = ctc.run(b); });
      if (found != kDone) status.store(found), stop.store(true);
    }
  });
  static_cast<void>(threads);
  guard.rethrow();
  return Status(status.load());
}

}  // namespace

Status run(const CtcRequest& request) {
  if (request.samples == 0) return kDone;
  return request.single_precision ? run_as<float>(request) : run_as<double>(request);
}

}  // namespace sdtw
