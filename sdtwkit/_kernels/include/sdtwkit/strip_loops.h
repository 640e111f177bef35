// The hot loops over the lanes of a strip. This file is compiled once for each instruction
// level: SDTW_LEVEL names the namespace and SDTW_TARGET the target attribute. Everything the
// loops call is always_inline, so that it takes on the level of the loop.
#include "strip.h"

namespace sdtw {
namespace SDTW_LEVEL {

template <class Op> struct StateIO;  // how an operator's state lies in a Field
template <class T> struct PlainIO {
  SDTW_FN static Plain<T> load(const Field<T>& f, Index k) { return {f.value[k]}; }
  SDTW_FN static void store(const Field<T>& f, Index k, Plain<T> s) { f.value[k] = s.value; }
};
template <class T> struct StateIO<HardMin<T>> : PlainIO<T> {};
template <class T> struct StateIO<SparseMin<T>> : PlainIO<T> {};
template <class T, bool Far> struct StateIO<EntropyMin<T, Far>> {
  SDTW_FN static Scaled<T> load(const Field<T>& f, Index k) { return {f.value[k], f.exponent[k]}; }
  SDTW_FN static void store(const Field<T>& f, Index k, Scaled<T> s) {
    f.value[k] = s.mantissa;
    f.exponent[k] = s.exponent;
  }
};

template <class T> SDTW_FN HardMin<T> make(OperatorParameters<T>, HardMin<T>*) { return {}; }
template <class T> SDTW_FN SparseMin<T> make(OperatorParameters<T> p, SparseMin<T>*) {
  return {p.gamma, p.inverse_gamma};
}
template <class T, bool Far> SDTW_FN EntropyMin<T, Far> make(OperatorParameters<T> p, EntropyMin<T, Far>*) {
  return {p.gamma, p.inverse_gamma, p.rate, p.rate_low};
}

// The cells of step t. Not inlined: on its own the loop keeps its constants in registers; within
// the loop over steps GCC 12 spills them.
template <class Op, bool Masked, bool Weighted, bool Store, bool Tangents, class T = typename Op::Scalar>
SDTW_NOINLINE SDTW_TARGET void forward_lanes(const ForwardBlock<T>& b, Index t, Index begin, Index count) {
  using IO = StateIO<Op>;
  const Op op = make(b.op, static_cast<Op*>(nullptr));
  const Field<T> now = b.state[t % 3].offset(begin), before = b.state[(t + 2) % 3].offset(begin),
                 up = before.offset(-b.stride), diag = b.state[(t + 1) % 3].offset(begin - b.stride);
  const Index at = (t - b.first) * b.pitch + begin;
  const T* SDTW_RESTRICT cost = b.cost + at;
  const T* SDTW_RESTRICT direction = Tangents ? b.direction + at : nullptr;
  const LaneWeights<T> w = b.weights, dw = b.direction_weights;
  const Three<T*> q = {b.q.left + at, b.q.diag + at, b.q.up + at};
  const Three<T*> curved = {b.curved.left + at, b.curved.diag + at, b.curved.up + at};
  const Index lanes = count & -kLanes;  // lets the compiler drop the scalar remainder
  SDTW_IVDEP
  for (Index k = 0; k < lanes; ++k) {
    const Three<T> weights = Weighted ? Three<T>{w.left[begin + k], w.diag, w.up[begin + k]} : Three<T>{1, 1, 1};
    const auto r = forward_cell<Masked, Weighted>(op, IO::load(before, k), IO::load(diag, k), IO::load(up, k),
                                                  cost[k], weights);
    IO::store(now, k, r.state);
    if (Store) {
      q.left[k] = r.q.left;
      q.diag[k] = r.q.diag;
      q.up[k] = r.q.up;
    }
    if (Tangents) {
      const Three<T> incoming = {before.tangent[k], diag.tangent[k], up.tangent[k]};
      const Three<T> v = {dw.left[begin + k], dw.diag, dw.up[begin + k]};
      const auto d = tangent_cell(op, r.q, incoming, direction[k], v);
      now.tangent[k] = d.value;
      if (Store) {
        curved.left[k] = d.q.left;
        curved.diag[k] = d.q.diag;
        curved.up[k] = d.q.up;
      }
    }
  }
}

template <class Op, class T = typename Op::Scalar>
SDTW_FN void renormalise_lanes(const Op op, Index begin, Index count, Field<T> now) {
  using IO = StateIO<Op>;
  now = now.offset(begin);
  const Index lanes = count & -kLanes;
  SDTW_IVDEP
  for (Index k = 0; k < lanes; ++k) IO::store(now, k, op.renormalise(IO::load(now, k)));
}

// Ties go to any predecessor before a start. In row 0 the start stands in the place of up, the last; in column 0 it
// stands in the place of left, so a tie with up must be turned.
template <class Op, class T = typename Op::Scalar> SDTW_FN void prefer_up(const Op& op, const ForwardBlock<T>& b, Index t) {
  using IO = StateIO<Op>;
  for (Index p = t * b.stride; p < (t + 1) * b.stride; ++p) {
    const Index at = (t - b.first) * b.pitch + p;
    const T up = op.arrive(IO::load(b.state[(t + 2) % 3], p - b.stride), b.weights.up[p] * b.cost[at]).value;
    if (b.q.left[at] > 0 && up == b.cost[at]) b.q.left[at] = T(0), b.q.up[at] = T(1);
  }
}

// Lanes with a cell at step t, rounded outwards.
SDTW_FN void active_lanes(Index t, Index rows, Index columns, Index stride, Index& begin, Index& count) {
  const Index low = t - columns + 1 > 0 ? t - columns + 1 : 0, high = t < rows - 1 ? t : rows - 1;
  begin = low * stride & -kLanes;
  count = (((high + 1) * stride + kLanes - 1) & -kLanes) - begin;
}

template <class Op, bool Masked, bool Weighted, bool Store, bool Tangents, class T = typename Op::Scalar>
SDTW_TARGET void forward_steps(const ForwardBlock<T>& b) {
  using IO = StateIO<Op>;
  const Op op = make(b.op, static_cast<Op*>(nullptr));
  const Index P = b.stride;
  for (Index t = b.first; t < b.last; ++t) {
    const Field<T>&now = b.state[t % 3], &before = b.state[(t + 2) % 3], &twice = b.state[(t + 1) % 3];
    // The row above: column t is up of lane 0. Above row 0 lies nothing but the starts.
    const bool present = !b.first_strip && t >= b.above_first && t <= b.above_last;
    const bool row_start = b.first_strip && (b.open_row || t == 0);
    for (Index p = 0; p < P; ++p) {
      IO::store(before, p - P, present ? IO::load(b.above, t * P + p) : row_start ? op.one() : op.unreachable());
      if (Tangents) before.tangent[p - P] = present ? b.above.tangent[t * P + p] : T(0);
    }
    if (b.first_strip)
      for (Index p = 0; p < P; ++p) IO::store(twice, p - P, op.unreachable());
    // Starts in column 0 stand where its left neighbours would be, for this step only.
    const Index start = t * P;
    const bool starts = b.open_column && t < b.rows && !(b.first_strip && t == 0);
    if (starts)
      for (Index p = start; p < start + P; ++p) {
        IO::store(before, p, op.one());
        if (Tangents) before.tangent[p] = T(0);
        if (Weighted) b.weights.left[p] = b.direction_weights.left[p] = T(1);
      }
    Index begin, count;
    active_lanes(t, b.rows, b.columns, P, begin, count);
    forward_lanes<Op, Masked, Weighted, Store, Tangents>(b, t, begin, count);
    if constexpr (Store && !Op::smooth)
      if (starts) prefer_up(op, b, t);
    if (starts)
      for (Index p = start; p < start + P; ++p) {
        IO::store(before, p, op.unreachable());
        if (Weighted) {
          b.weights.left[p] = b.weights.plain_left;
          b.direction_weights.left[p] = b.direction_weights.plain_left;
        }
      }
    if (Op::scaled && (t & (kSteps - 1)) == kSteps - 1) renormalise_lanes(op, begin, count, now);
    const Index column = t - b.rows + 1;  // of the last row
    if (column >= 0)
      for (Index p = 0; p < P; ++p) {
        const Index lane = (b.rows - 1) * P + p;
        IO::store(b.below, column * P + p, op.renormalise(IO::load(now, lane)));
        if (Tangents) b.below.tangent[column * P + p] = now.tangent[lane];
      }
    for (Index k = 0; k < b.n_taps; ++k) {
      const Tap& tap = b.taps[k];
      if (t < tap.first || t > tap.last) continue;
      const Index lane = tap.first_lane + (t - tap.first) * tap.lane_step, slot = tap.slot + (t - tap.first);
      IO::store(b.ends, slot, op.renormalise(IO::load(now, lane)));
      if (Tangents) b.ends.tangent[slot] = now.tangent[lane];
    }
  }
}

template <bool Weighted, bool Tangents, class T>
SDTW_NOINLINE SDTW_TARGET void backward_lanes(const BackwardBlock<T>& b, Index t, Index begin, Index count) {
  const Index P = b.stride, at = (t - b.first) * b.pitch + begin, out = (t - b.first) * b.out_pitch + begin;
  T *left = b.left + begin, *up = b.up + begin, *diag = b.diag[t & 1] + begin;
  T *left_d = b.left_tangent + begin, *up_d = b.up_tangent + begin, *diag_d = b.diag_tangent[t & 1] + begin;
  const Three<const T*> q = {b.q.left + at, b.q.diag + at, b.q.up + at};
  const Three<const T*> curved = {b.curved.left + at, b.curved.diag + at, b.curved.up + at};
  const LaneWeights<T> w = b.weights;
  T* SDTW_RESTRICT expected = b.expected + out;
  T* SDTW_RESTRICT product = Tangents ? b.product + out : nullptr;
  const T plain = b.want_visits ? T(1) : T(0);  // a selection by a flag would keep the loop from being vectorised
  const Index lanes = count & -kLanes;
  // In place: lane k reads what lane k + P sent before lane k + P is reached.
  SDTW_IVDEP
  for (Index k = 0; k < lanes; ++k) {
    const T visits = (left[k] + up[k + P]) + diag[k + P];
    const Three<T> p = {q.left[k], q.diag[k], q.up[k]};
    left[k] = p.left * visits;
    up[k] = p.up * visits;
    diag[k] = p.diag * visits;
    const Three<T> weights = Weighted ? Three<T>{w.left[begin + k], w.diag, w.up[begin + k]} : Three<T>{1, 1, 1};
    expected[k] = Weighted ? visits * (plain + (T(1) - plain) * dot(p, weights)) : visits;
    if (Tangents) {
      const T moved = (left_d[k] + up_d[k + P]) + diag_d[k + P];
      const Three<T> c = {curved.left[k], curved.diag[k], curved.up[k]};
      left_d[k] = p.left * moved + c.left * visits;
      up_d[k] = p.up * moved + c.up * visits;
      diag_d[k] = p.diag * moved + c.diag * visits;
      product[k] = Weighted ? moved * dot(p, weights) + visits * dot(c, weights) : moved;
    }
  }
}

template <class T, bool Weighted, bool Tangents> SDTW_TARGET void backward_steps(const BackwardBlock<T>& b) {
  const Index P = b.stride, lanes = b.rows * P;
  for (Index t = b.last - 1; t >= b.first; --t) {
    T *diag = b.diag[t & 1], *diag_d = Tangents ? b.diag_tangent[t & 1] : nullptr;
    const Index column = t - b.rows + 1;
    for (Index p = 0; p < P; ++p) {
      const bool up = column >= b.below_first && column <= b.below_last,
                 dg = column + 1 >= b.below_first && column + 1 <= b.below_last;
      b.up[lanes + p] = up ? b.row_up[column * P + p] : T(0);
      diag[lanes + p] = dg ? b.row_diag[(column + 1) * P + p] : T(0);
      if (Tangents) {
        b.up_tangent[lanes + p] = up ? b.row_up_tangent[column * P + p] : T(0);
        diag_d[lanes + p] = dg ? b.row_diag_tangent[(column + 1) * P + p] : T(0);
      }
    }
    for (Index k = 0; k < b.n_taps; ++k) {  // an end has no successor below (or to the right): its place is free
      const Tap& tap = b.taps[k];
      if (t < tap.first || t > tap.last) continue;
      const Index lane = tap.first_lane + (t - tap.first) * tap.lane_step, slot = tap.slot + (t - tap.first);
      (tap.along_column ? b.left[lane] : b.up[lane + P]) = b.seed[slot];
      if (Tangents) (tap.along_column ? b.left_tangent[lane] : b.up_tangent[lane + P]) = b.seed_tangent[slot];
    }
    const bool starts = Weighted && b.open_column && t < b.rows && !(b.first_strip && t == 0);
    if (starts)
      for (Index p = t * P; p < t * P + P; ++p) b.weights.left[p] = T(1);
    Index begin, count;
    active_lanes(t, b.rows, b.columns, P, begin, count);
    backward_lanes<Weighted, Tangents>(b, t, begin, count);
    if (starts)
      for (Index p = t * P; p < t * P + P; ++p) b.weights.left[p] = b.weights.plain_left;
    // Only cells may reach the sinks.
    const Index out = (t - b.first) * b.out_pitch;
    T *expected = b.expected + out, *product = Tangents ? b.product + out : nullptr;
    const Index low = t - b.columns + 1 > 0 ? (t - b.columns + 1) * P : 0,
                high = t < b.rows - 1 ? (t + 1) * P : lanes;
    for (Index k = 0; k < low; ++k) expected[k] = T(0);
    for (Index k = high; k < b.pitch; ++k) expected[k] = T(0);
    if (Tangents) {
      for (Index k = 0; k < low; ++k) product[k] = T(0);
      for (Index k = high; k < b.pitch; ++k) product[k] = T(0);
    }
    if (t < b.columns)
      for (Index p = 0; p < P; ++p) {
        b.row_up[t * P + p] = b.up[p];
        b.row_diag[t * P + p] = diag[p];
        if (Tangents) {
          b.row_up_tangent[t * P + p] = b.up_tangent[p];
          b.row_diag_tangent[t * P + p] = diag_d[p];
        }
      }
  }
}

}  // namespace SDTW_LEVEL
}  // namespace sdtw
