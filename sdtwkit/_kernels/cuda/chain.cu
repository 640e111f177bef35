// Smoothed Viterbi on the GPU (math-alignment page, section 12; what a candidate weighs in chain_cell.h): values,
// gradients, products with the Hessian, best and drawn sequences of any number of chains, of any length, of any number
// of states.
//
// Every kernel but `gather` and `walks` runs as
//     grid    any number of blocks: block k takes the groups k, k + gridDim, ... of chains
//     block   whole warps, as many as the states are worth
//     shared  none: what threads hand on goes through device memory, which the first-level cache keeps near
// and takes one `Arguments`. A block takes a chain from end to end, step after step. Forward, a run of lanes takes a
// row of candidates: its largest, its sum or its threshold come by shuffles; and of each row its law is kept in three
// numbers. Backward, lanes lie along the columns: probabilities come from the laws, rows are added up in their order,
// warps by `part`. So potentials are read twice and a gradient is written once, all of them by rows. Sequences are
// walked by another kernel, a warp each, from what the forward pass of their chain has left.
//
// Why it is safe: a step of the forward pass reads the messages of the step before and writes its own, and a
// block_barrier stands between steps; a step back reads the visits of all states and writes its warp's part, a
// barrier, a thread adds up the parts of its states, a barrier. Whatever is decided for a whole block (that no
// sequence is left, how long a chain is) every thread decides by the same numbers. A sum over chains has a place for
// each group, which its block alone adds to, every thread to its own entries.
//
// All sums run in an order that the data alone decide: results repeat bitwise, on any device, with any grid.
#include "sdtwkit/chain_cell.h"
#include "sdtwkit/device.h"
#include "sdtwkit/uniform.h"

namespace sdtw {

// One line a field: the launch code reads the layout here. Every field takes 8 bytes.
template <class T> struct Arguments {
  Index chains;
  Index groups;                   // of chains: chain b belongs to group b % groups
  Index steps;                    // of the arrays, at least the longest chain
  Index states;
  const Index* length;            // IN  (chains,) or null: all have `steps`
  double gamma;
  const T* theta;                 // IN  (chains, steps, states, states), or null: the pair
  const T* unary;                 // IN  (chains, steps, states)
  const T* transition;            // IN  (states, states)
  const T* direction;             // IN  as theta or unary
  const T* transition_direction;  // IN  (states, states), or null: zeros
  T* messages;                    // WORK (groups, steps + 1, states), for values (groups, 2, states)
  T* laws;                        // WORK (groups, 3, steps, states) largest, scale and bar of each row
  T* moves;                       // WORK (groups, 3, steps + 1, states) tangents of messages; means and rests of rows
  T* visits;                      // WORK (groups, 2, warps + 1, states) visits of the states and their tangents; parts
  double* totals;                 // WORK (groups, states, states) zero on entry: moves of the chains of a group, or null
  double* value;                  // OUT (chains,)
  double* slope;                  // OUT (chains,)
  T* gradient;                    // OUT as theta or unary, zero on entry, or null
  T* product;                     // OUT likewise
  double* sums;                   // OUT (states, states) the totals of all groups
  Index samples;                  // sequences of a chain
  Index seed;
  Index first_path;               // number of the first sequence among all that are drawn under the seed
  Index* path;                    // OUT (chains, samples, steps) states, zero on entry
};

enum Wants { kValueOnly = 0, kFirst = 1, kSecond = 2, kPath = 3 };

// Lanes of the rows of candidates: `width` of them share a row, the block works on `rows` at a time.
struct Rows {
  int width, rows, row, column;
  SDTW_DEVICE explicit Rows(Index states) : width(1) {
    while (width < kWarp && width < states) width *= 2;
    rows = kWarp / width * warps_of_block();
    row = int(threadIdx.x) / width, column = int(threadIdx.x) % width;
  }
};

// What a row of candidates weighs them by: its largest; 1 over the sum of weights; l2: the threshold, hard: the best.
template <class T> struct Law { T high, scale, bar; };

template <int Op, class T> SDTW_DEVICE T probability(const Smoothing<T>& op, const Law<T>& law, T x, Index j) {
  if (Op == kHard) return T(j) == law.bar ? T(1) : T(0);
  const T base = law.high > -Real<T>::infinity() ? law.high : T(0);
  if (Op == kEntropy) return weight(x - base, op, op.lowest) * law.scale;
  return part_above((x - base) * op.inverse_gamma, law.bar, T(0)) * law.scale;
}

// The smoothed maximum of candidates x(j), j < n, by the lanes of a row; n may differ from row to row.
template <int Op, class T, class Candidate>
SDTW_DEVICE T smoothed(const Smoothing<T>& op, Candidate x, Index n, int column, int width, Law<T>& law,
                       bool& strange) {
  T high = -Real<T>::infinity();
  for (Index j = column; j < n; j += width) {
    const T v = x(j);
    high = max2(v, high);
    strange |= !(v <= op.limit);
  }
  high = over_lanes(high, Largest(), width);
  const bool reached = high > -Real<T>::infinity();
  const T base = reached ? high : T(0);
  law = {high, T(0), Real<T>::infinity()};
  if (Op == kHard) {
    Index best = n;  // ties: the first state
    for (Index j = column; j < n && best == n; j += width)
      if (x(j) == high) best = j;
    best = over_lanes(best, Least(), width);
    law.bar = reached ? T(best) : T(-1);
    return high;
  }
  if (Op == kEntropy) {
    T mass = 0;
    for (Index j = column; j < n; j += width) mass += weight(x(j) - base, op, op.lowest);
    mass = over_lanes(mass, Sum(), width);
    law.scale = reached ? T(1) / mass : T(0);
    return reached ? high + op.gamma * log_normal(mass) : high;
  }
  // Michelot's iteration: the bar rises until all candidates above it have mass 1 over it. Lanes of finished rows go
  // along with their neighbours.
  T bar = T(-1), count = T(n) + 1;
  for (bool going = true; any_lane(going);) {
    T sum = 0, above = 0;
    for (Index j = column; j < n; j += width) {
      const T u = (x(j) - base) * op.inverse_gamma;
      if (u > bar) sum += u, above += 1;
    }
    sum = over_lanes(sum, Sum(), width), above = over_lanes(above, Sum(), width);
    going = going && above > 0 && above < count;
    if (going) count = above, bar = (sum - T(1)) / above;
  }
  T mass = 0, gain = 0;
  for (Index j = column; j < n; j += width) {
    const T u = (x(j) - base) * op.inverse_gamma, p = part_above(u, bar, T(0));
    mass += p, gain += gain_above<T>(u, bar, p, T(0));
  }
  mass = over_lanes(mass, Sum(), width), gain = over_lanes(gain, Sum(), width);
  if (!reached) return high;
  law.scale = T(1) / mass, law.bar = bar;
  return high + op.gamma * gain;
}

// The mean under the law of how the candidates move, and what is left of it under the weights of the curvature:
// centring twice keeps the digits where the law is close to one-hot.
template <class T> struct Move { T mean, rest; };
template <int Op, class T, class Candidate, class Moved>
SDTW_DEVICE Move<T> mean_move(const Smoothing<T>& op, const Law<T>& law, Candidate x, Moved m, Index n, int column,
                              int width) {
  T mean = 0, mass = 0, rest = 0;
  for (Index j = column; j < n; j += width) mean += probability<Op>(op, law, x(j), j) * m(j);
  mean = over_lanes(mean, Sum(), width);
  for (Index j = column; j < n; j += width) {
    const T w = curvature_weight<Op == kSparse>(probability<Op>(op, law, x(j), j));
    mass += w, rest += w * (m(j) - mean);
  }
  mass = over_lanes(mass, Sum(), width), rest = over_lanes(rest, Sum(), width);
  return {mean, mass > 0 ? rest / mass : T(0)};
}
template <int Op, class T> SDTW_DEVICE T moved_law(const Smoothing<T>& op, T q, T u, T ud, T m, Move<T> move) {
  if (Op == kHard) return q * ud;
  return bent(q, ud, u, curvature_weight<Op == kSparse>(q), (m - move.mean) - move.rest, op.inverse_gamma);
}

// The passes of a block over one chain.
template <class T, int Op, int W> class Chain {
 public:
  SDTW_DEVICE Chain(const Arguments<T>& arguments, Index g, Index chain)
      : a(arguments), op(smoothing<T>(arguments.gamma)), on(arguments.states), S(arguments.states), group(g), b(chain),
        length(arguments.length ? arguments.length[chain] : arguments.steps), pair(arguments.theta == nullptr),
        first(pair ? 1 : 0) {}

  // Leaves value and slope; false if there is nothing to go back for.
  SDTW_DEVICE bool forward() {
    const T never = -Real<T>::infinity();
    if (length < 1 || length > a.steps) {  // only a device array can bring one this far
      finish(nan(), nan());
      return false;
    }
    bool strange = false;
    double value = 0, slope = 0;
    block_barrier();  // all have left the chain before
    const T alone = Op == kSparse ? op.gamma * T(0.5) : T(0);  // what l2 takes from a candidate without rivals
    for (Index j = threadIdx.x; j < S; j += blockDim.x) {      // of the pair the first step has one for each state
      const T x = pair ? a.unary[at(0) + j] - alone : T(0);
      strange |= out_of_range(x);
      message(first)[j] = x;
      if (W == kSecond) moved(first)[j] = pair ? a.direction[at(0) + j] : T(0);
    }
    block_barrier();
    for (Index t = first; t < length; ++t) {
      load(t);
      value += double(high), slope += double(origin);
      if (!(high > never)) break;
      for (Index base = 0; base < S; base += on.rows) {
        const Index i = base + on.row, n = i < S ? S : 0;
        const T* const scores = row(t, n ? i : 0);
        const auto x = [&](Index j) { return scores[j] + v(j); };
        Law<T> law;
        T best = smoothed<Op>(op, x, n, on.column, on.width, law, strange);
        Move<T> move = {0, 0};
        if (W == kSecond) {
          const T* const z = direction(t, n ? i : 0);
          const auto m = [&](Index j) { return (z ? z[j] : T(0)) + vd(j); };
          move = mean_move<Op>(op, law, x, m, n, on.column, on.width);
        }
        if (n == 0 || on.column != 0) continue;
        if (pair) best += a.unary[at(t) + i];
        strange |= out_of_range(best);
        message(t + 1)[i] = best;
        if (W != kValueOnly) keep(t, i, law);
        if (W == kSecond) {
          moved(t + 1)[i] = move.mean + (pair ? a.direction[at(t) + i] : T(0));
          keep(t, i, move);
        }
      }
      block_barrier();
    }
    if (any_thread(strange)) {
      finish(nan(), nan());
      poison();
      return false;
    }
    if (high > never) {
      load(length);
      value += double(high), slope += double(origin);
    }
    if (!(high > never)) {
      finish(-Real<double>::infinity(), 0);
      return false;
    }
    // The last choice, by every warp for itself.
    const auto x = [&](Index j) { return v(j); };
    const auto m = [&](Index j) { return vd(j); };
    value += double(smoothed<Op>(op, x, S, lane_of_thread(), kWarp, last, strange));
    if (W == kSecond) {
      last_move = mean_move<Op>(op, last, x, m, S, lane_of_thread(), kWarp);
      slope += double(last_move.mean);
    }
    finish(value, slope);
    return true;
  }

  // IN what `forward` left; OUT gradient, product, totals.
  SDTW_DEVICE void backward() {
    for (Index j = threadIdx.x; j < S; j += blockDim.x) {
      const T q = probability<Op>(op, last, v(j), j);
      visits()[j] = q;
      if (W == kSecond) visits_moved()[j] = moved_law<Op>(op, q, T(1), T(0), vd(j), last_move);
    }
    block_barrier();
    for (Index t = length - 1; t >= 0; --t) {
      T mass = 0;
      for (Index j = lane_of_thread(); j < S; j += kWarp) mass += visits()[j];
      mass = over_lanes(mass, Sum());
      const T scale = mass > 0 ? T(1) / mass : T(1);  // over a long chain it would drift
      if (pair)
        for (Index j = threadIdx.x; j < S; j += blockDim.x) {
          if (W == kFirst) a.gradient[at(t) + j] = visits()[j] * scale;
          if (W == kSecond) a.product[at(t) + j] = visits_moved()[j];
        }
      if (t < first) break;
      load(t);
      for (Index base = 0; base < S; base += on.width) column_of(t, base + on.column, scale);
      if (t == 0) break;
      block_barrier();
      for (Index j = threadIdx.x; j < S; j += blockDim.x) {
        T sum = 0, sum_moved = 0;
        for (int w = 0; w < warps_of_block(); ++w) {
          sum += part(w)[j];
          if (W == kSecond) sum_moved += part_moved(w)[j];
        }
        visits()[j] = sum;
        if (W == kSecond) visits_moved()[j] = sum_moved;
      }
      block_barrier();
    }
  }

  // OUT sequence k, by a warp: from the end back, each state by the law of the row of the one that follows.
  SDTW_DEVICE void walk(Index k) {
    Uniform uniform = Uniform::of_path(UInt64(a.seed), a.first_path + b * a.samples + k);
    bool strange = false;
    load(length);
    smoothed<Op>(op, [&](Index j) { return v(j); }, S, lane_of_thread(), kWarp, last, strange);
    Index state = pick(last, nullptr, uniform);
    for (Index t = length - 1;; --t) {
      if (lane_of_thread() == 0) a.path[(b * a.samples + k) * a.steps + t] = state;
      if (t == 0) return;
      if (Op != kHard) load(t);
      state = pick(law(t, state), row(t, state), uniform);
    }
  }

 private:
  const Arguments<T>& a;
  const Smoothing<T> op;
  const Rows on;
  const Index S, group, b, length;
  const bool pair;
  const Index first;          // step that has rows of candidates
  Law<T> last;                // of the last states
  Move<T> last_move;
  const T *now = nullptr, *now_moved = nullptr;  // messages of the present step
  T high = 0, origin = 0;     // the largest, and the tangent of its first state

  SDTW_DEVICE Index at(Index t) const { return (b * a.steps + t) * S; }
  SDTW_DEVICE const T* row(Index t, Index i) const { return pair ? a.transition + i * S : a.theta + (at(t) + i) * S; }
  SDTW_DEVICE const T* direction(Index t, Index i) const {
    if (!pair) return a.direction + (at(t) + i) * S;
    return a.transition_direction ? a.transition_direction + i * S : nullptr;
  }
  SDTW_DEVICE T* message(Index t) const {
    return a.messages + (W == kValueOnly ? group * 2 + t % 2 : group * (a.steps + 1) + t) * S;
  }
  SDTW_DEVICE T* moves_of(int k, Index t) const { return a.moves + ((group * 3 + k) * (a.steps + 1) + t) * S; }
  SDTW_DEVICE T* moved(Index t) const { return moves_of(0, t); }
  SDTW_DEVICE T* law_of(int k, Index t) const { return a.laws + ((group * 3 + k) * a.steps + t) * S; }
  SDTW_DEVICE T* visits() const { return a.visits + group * 2 * (warps_of_block() + 1) * S; }
  SDTW_DEVICE T* part(int warp) const { return visits() + (warp + 1) * S; }
  SDTW_DEVICE T* visits_moved() const { return part(warps_of_block()); }
  SDTW_DEVICE T* part_moved(int warp) const { return visits_moved() + (warp + 1) * S; }

  SDTW_DEVICE void keep(Index t, Index i, const Law<T>& law) const {
    law_of(0, t)[i] = law.high, law_of(1, t)[i] = law.scale, law_of(2, t)[i] = law.bar;
  }
  SDTW_DEVICE Law<T> law(Index t, Index i) const { return {law_of(0, t)[i], law_of(1, t)[i], law_of(2, t)[i]}; }
  SDTW_DEVICE void keep(Index t, Index i, Move<T> move) const {
    moves_of(1, t)[i] = move.mean, moves_of(2, t)[i] = move.rest;
  }
  SDTW_DEVICE Move<T> move(Index t, Index i) const { return {moves_of(1, t)[i], moves_of(2, t)[i]}; }

  // Messages of step t, relative to the largest; every warp finds it for itself.
  SDTW_DEVICE void load(Index t) {
    now = message(t), now_moved = W == kSecond ? moved(t) : nullptr;
    high = -Real<T>::infinity();
    for (Index j = lane_of_thread(); j < S; j += kWarp) high = max2(now[j], high);
    high = over_lanes(high, Largest());
    if (W != kSecond) return;
    Index best = S;
    for (Index j = lane_of_thread(); j < S && best == S; j += kWarp)
      if (now[j] == high) best = j;
    best = over_lanes(best, Least());
    origin = best < S ? now_moved[best] : T(0);
  }
  SDTW_DEVICE T v(Index j) const { return now[j] - high; }
  SDTW_DEVICE T vd(Index j) const { return now_moved[j] - origin; }

  // A state from the law of a row; null: the row of the end, zeros. Rounding must not lead where the law never goes: the
  // last candidate with a positive probability takes the rest.
  SDTW_DEVICE Index pick(const Law<T>& law, const T* scores, Uniform& uniform) const {
    if (Op == kHard) return Index(law.bar);
    double u = uniform();
    Index chosen = 0;
    for (Index base = 0; base < S; base += kWarp) {
      const Index j = base + lane_of_thread();
      const T q = j < S ? probability<Op>(op, law, (scores ? scores[j] : T(0)) + v(j), j) : T(0);
      const double mass = sum_up_to_lane(double(q));
      const Index found = over_lanes(q > T(0) && u < mass ? j : S, Least());
      if (found < S) return found;
      chosen = over_lanes(q > T(0) ? j : chosen, Largest());
      u -= __shfl_sync(kAllLanes, mass, kWarp - 1);
    }
    return chosen;
  }

  SDTW_DEVICE bool out_of_range(T x) const {
    return !(x <= op.limit && (x >= -op.limit || x == -Real<T>::infinity()));
  }
  SDTW_DEVICE static double nan() { return Real<double>::unbits(0x7ff8000000000000LL); }
  SDTW_DEVICE void finish(double value, double slope) const {
    if (threadIdx.x != 0) return;
    a.value[b] = value;
    if (W == kSecond) a.slope[b] = slope;
  }
  // Derivatives of a value that is NaN.
  SDTW_DEVICE void poison() const {
    T* const out = W == kFirst ? a.gradient : W == kSecond ? a.product : nullptr;
    const Index size = pair ? S : S * S;
    for (Index k = threadIdx.x; out && k < length * size; k += blockDim.x) out[b * a.steps * size + k] = T(nan());
    for (Index k = threadIdx.x; a.totals && k < S * S; k += blockDim.x) a.totals[group * S * S + k] = nan();
  }

  // Column j of step t: its probabilities over all rows, times the visits of these; their sum is the warp's part.
  SDTW_DEVICE void column_of(Index t, Index j, T scale) const {
    T sum = 0, sum_moved = 0;
    const T vj = j < S ? v(j) : T(0), vdj = W == kSecond && j < S ? vd(j) : T(0);
    for (Index i = on.row; j < S && i < S; i += on.rows) {
      const T q = probability<Op>(op, law(t, i), row(t, i)[j] + vj, j), u = visits()[i] * scale;
      T e = q * u;
      sum += e;
      if (W == kSecond) {
        const T* const z = direction(t, i);
        e = moved_law<Op>(op, q, u, visits_moved()[i], (z ? z[j] : T(0)) + vdj, move(t, i));
        sum_moved += e;
      }
      if (!pair) (W == kSecond ? a.product : a.gradient)[(at(t) + i) * S + j] = e;
      else if (a.totals) a.totals[(group * S + i) * S + j] += double(e);
    }
    sum = across_runs(sum, Sum(), on.width);
    if (W == kSecond) sum_moved = across_runs(sum_moved, Sum(), on.width);
    if (j >= S || lane_of_thread() >= on.width) return;
    part(warp_of_thread())[j] = sum;
    if (W == kSecond) part_moved(warp_of_thread())[j] = sum_moved;
  }
};

// grid (any), block (whole warps). IN potentials, direction; WORK messages, laws, moves, visits; OUT value, slope,
// gradient, product, totals.
template <class T, int Op, int W> SDTW_DEVICE void chains(const Arguments<T>& a) {
  for (Index group = blockIdx.x; group < a.groups; group += gridDim.x)
    for (Index b = group; b < a.chains; b += a.groups) {
      Chain<T, Op, W> chain(a, group, b);
      if (!chain.forward()) continue;
      if (W == kFirst || W == kSecond) chain.backward();
    }
}

// grid (any), block (whole warps), a warp a sequence, after `chains` of kPath with a group for every chain. IN
// potentials, messages, laws, value; OUT path, of chains that have a sequence.
template <class T, int Op> SDTW_DEVICE void walks(const Arguments<T>& a) {
  const Index warps = Index(gridDim.x) * warps_of_block(), sequences = a.chains * a.samples;
  for (Index s = Index(blockIdx.x) * warps_of_block() + warp_of_thread(); s < sequences; s += warps) {
    const Index b = s / a.samples;
    if (a.value[b] > -Real<double>::infinity()) Chain<T, Op, kPath>(a, b, b).walk(s % a.samples);
  }
}

// grid (any), block (any), a thread an entry. IN totals; OUT sums.
template <class T> SDTW_DEVICE void gather(const Arguments<T>& a) {
  const Index entries = a.states * a.states;
  for (Index k = Index(blockIdx.x) * blockDim.x + threadIdx.x; k < entries; k += Index(gridDim.x) * blockDim.x) {
    double sum = 0;
    for (Index group = 0; group < a.groups; ++group) sum += a.totals[group * entries + k];
    a.sums[k] = sum;
  }
}

}  // namespace sdtw
