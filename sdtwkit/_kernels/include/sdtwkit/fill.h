// Where costs come from and where gradients go: loops over the lanes of a strip-block that turn
// samples into local costs, and d value / d cost into d value / d sample. Compiled once for each
// instruction level, like strip_loops.h. Vectors are spelled out here: sums over channels must
// stay in registers, which the auto-vectoriser does not manage for arrays of accumulators.
#include "costs.h"
#include "strip.h"
#include "vectors.h"

namespace sdtw {
namespace SDTW_LEVEL {

template <class T> SDTW_FN void square_root(T* v, Index n) {
  for (Index k = 0; k < n; ++k) v[k] = std::sqrt(v[k]);
}

// Vectors of y at `Tile` consecutive steps: each lies P lanes before the last. With P = 1 every
// load but one would cross a cache line (twice the time on Zen 5), so where the registers can be
// shifted against each other the vectors are cut from two loads.
template <int Tile, class T> struct Steps {
  Vec<T> at[Tile];
  SDTW_FN Steps(const T* y, Index stride) {
#if SDTW_VECTOR_BYTES == 64
    if (stride == 1 && Tile > 1) {
      const Vec<T> before = load(y - width<T>()), here = load(y);
      at[0] = here;
      cut<1>(before, here);
      return;
    }
#endif
    SDTW_UNROLL
    for (int s = 0; s < Tile; ++s) at[s] = load(y - s * stride);
  }

 private:
#if SDTW_VECTOR_BYTES == 64
  template <int S> SDTW_FN void cut(const Vec<T>& before, const Vec<T>& here) {
    if constexpr (S < Tile) {
      constexpr int w = int(64 / sizeof(T)) - S;
      using I = typename Real<T>::Bits;
      typedef I Mask __attribute__((vector_size(64), unused));
      if constexpr (sizeof(T) == 8) {
        at[S] = SDTW_SHUFFLE(Mask, before, here, w, w + 1, w + 2, w + 3, w + 4, w + 5, w + 6, w + 7);
      } else {
        at[S] = SDTW_SHUFFLE(Mask, before, here, w, w + 1, w + 2, w + 3, w + 4, w + 5, w + 6, w + 7, w + 8, w + 9,
                             w + 10, w + 11, w + 12, w + 13, w + 14, w + 15);
      }
      cut<S + 1>(before, here);
    }
  }
#endif
};

// Costs of `Tile` steps and of channels [first, last): a vector of x serves all steps, and the sums
// stay in registers.
template <class Cost, int Tile, bool Single, class T>
SDTW_FN void cost_tile(const SeriesBlock<T>& b, Index t, Index lane, Index first, Index last) {
  const Index stride = Single ? 1 : b.stride;
  T* cost = b.cost + (t - b.first) * b.pitch + lane;
  Vec<T> sum[Tile] = {};
  if (first > 0) {
    SDTW_UNROLL
    for (int s = 0; s < Tile; ++s) sum[s] = load(cost + s * b.pitch);
  }
  const T *x = b.x + first * b.x_pitch + lane, *y = b.y + first * b.y_pitch + lane - t * stride;
  for (Index c = first; c < last; ++c, x += b.x_pitch, y += b.y_pitch) {
    const Vec<T> value = load(x);
    const Steps<Tile, T> steps(y, stride);
    SDTW_UNROLL
    for (int s = 0; s < Tile; ++s) sum[s] = Cost::add(sum[s], value, steps.at[s], b.parameter);
  }
  if (last == b.channels) {
    SDTW_UNROLL
    for (int s = 0; s < Tile; ++s) sum[s] = Cost::finish(sum[s]);
  }
  SDTW_UNROLL
  for (int s = 0; s < Tile; ++s) store(cost + s * b.pitch, sum[s]);
}

template <class Cost, bool Single, class T> SDTW_FN void fill_channels(const SeriesBlock<T>& b, Index first, Index last) {
  Index t = b.first;
  for (; t + 8 <= b.last; t += 8)
    for (Index lane = b.begin; lane < b.end; lane += width<T>()) cost_tile<Cost, 8, Single>(b, t, lane, first, last);
  for (; t < b.last; ++t)
    for (Index lane = b.begin; lane < b.end; lane += width<T>()) cost_tile<Cost, 1, Single>(b, t, lane, first, last);
}

// Many channels are summed in chunks whose samples stay in the first-level cache for the block.
template <class Cost, class T> SDTW_TARGET void fill_costs(const SeriesBlock<T>& b) {
  constexpr Index chunk = 128 / sizeof(T);
  for (Index c = 0; c < b.channels; c += chunk) {
    const Index last = c + chunk < b.channels ? c + chunk : b.channels;
    if (b.stride == 1) fill_channels<Cost, true>(b, c, last);
    else fill_channels<Cost, false>(b, c, last);
  }
  if (Cost::needs_cost)
    for (Index t = b.first; t < b.last; ++t) square_root(b.cost + (t - b.first) * b.pitch + b.begin, b.end - b.begin);
}

// +inf outside the steps [low, high] of each lane: bands, and the ends of shorter series.
template <class T> SDTW_TARGET void forbid(const StepLimits<T>& b) {
  using E = typename Real<T>::Exponent;
  for (Index t = b.first; t < b.last; ++t) {
    T* SDTW_RESTRICT cost = b.cost + (t - b.first) * b.pitch + b.begin;
    const E* SDTW_RESTRICT low = b.low + b.begin;
    const E* SDTW_RESTRICT high = b.high + b.begin;
    const E now = static_cast<E>(t);
    const Index lanes = (b.end - b.begin) & -kLanes;
    for (Index k = 0; k < lanes; ++k)
      cost[k] = now >= low[k] && now <= high[k] ? cost[k] : Real<T>::infinity();
  }
}

// The Euclidean slope is the difference over the distance, 0 at 0.
template <class T> SDTW_FN void divide_by_cost(const SeriesBlock<T>& b) {
  for (Index t = b.first; t < b.last; ++t) {
    const Index row = t - b.first;
    for (Index lane = b.begin; lane < b.end; lane += width<T>()) {
      T* g = b.weight + row * b.weight_pitch + lane;
      const Vec<T> d = load(b.cost + row * b.pitch + lane), zero = d - d;
      store(g, Vec<T>(d > zero ? load(g) / d : zero));
    }
  }
}

// Only lanes of this block may be written: another thread may be at work on the columns beside them.
template <class T> SDTW_FN void add_lanes(T* to, const Vec<T>& v, Index lanes) {
  if (lanes >= width<T>()) {
    store(to, Vec<T>(load(to) + v));
    return;
  }
  T single[width<T>()];
  store(single, v);
  for (Index k = 0; k < lanes; ++k) to[k] += single[k];
}

// gradient += sum over steps of G * slope, for `Tile` channels of one side. A lane of x is a row
// and stays; a lane of y is a (reversed) column and moves on by P lanes a step, so that the sum
// for a column runs along lane + t * P. Either way sums stay in registers; adding to y in
// memory step by step, each store overlapping the next load, took five times as long with P = 1.
template <class Cost, bool OfX, int Tile, class T>
SDTW_FN void pull_back_tile(const SeriesBlock<T>& b, Index channel, Index lane, Index lanes, Index first, Index last) {
  Vec<T> total[Tile] = {}, own[Tile];
  const T* own_data = (OfX ? b.x + channel * b.x_pitch : b.y + channel * b.y_pitch) + lane;
  const Index own_pitch = OfX ? b.x_pitch : b.y_pitch, other_pitch = OfX ? b.y_pitch : b.x_pitch;
  SDTW_UNROLL
  for (int c = 0; c < Tile; ++c) own[c] = load(own_data + c * own_pitch);
  for (Index t = first; t < last; ++t) {
    const Index at = OfX ? lane : lane + t * b.stride;  // the lane of the cell
    const Vec<T> g = load(b.weight + (t - b.first) * b.weight_pitch + at);
    const T* other = OfX ? b.y + channel * b.y_pitch + lane - t * b.stride : b.x + channel * b.x_pitch + at;
    SDTW_UNROLL
    for (int c = 0; c < Tile; ++c) {
      const Vec<T> o = load(other + c * other_pitch);
      if (OfX) total[c] += g * Cost::slope(own[c], o, b.parameter);
      else if (Cost::product) total[c] -= g * o;
      else total[c] -= g * Cost::slope(o, own[c], b.parameter);
    }
  }
  T* gradient = (OfX ? b.x_gradient + channel * b.x_pitch : b.y_gradient + channel * b.y_pitch) + lane;
  SDTW_UNROLL
  for (int c = 0; c < Tile; ++c) add_lanes(gradient + c * own_pitch, Vec<T>(total[c] * T(Cost::scale)), lanes);
}

template <class Cost, bool OfX, int Tile, class T> SDTW_FN void pull_back_channels(const SeriesBlock<T>& b, Index c) {
  constexpr Index W = width<T>();
  const Index P = b.stride;
  const Index low = OfX ? b.begin : b.begin - (b.last - 1) * P, high = OfX ? b.end : b.end - b.first * P;
  for (Index lane = low; lane < high; lane += W) {
    // Steps at which these lanes of y meet lanes of x in (begin - W, end): there G is defined, and 0 without a cell.
    Index first = b.first, last = b.last;
    if (!OfX) {
      const Index from = b.begin - lane - W + 1, until = b.end - 1 - lane;
      if (from > first * P) first = (from + P - 1) / P;
      if (until < (last - 1) * P) last = until >= 0 ? until / P + 1 : first;
    }
    pull_back_tile<Cost, OfX, Tile>(b, c, lane, high - lane, first, last);
  }
}

template <class Cost, bool OfX, class T> SDTW_FN void pull_back_side(const SeriesBlock<T>& b) {
  Index c = 0;
  for (; c + 4 <= b.channels; c += 4) pull_back_channels<Cost, OfX, 4>(b, c);
  for (; c < b.channels; ++c) pull_back_channels<Cost, OfX, 1>(b, c);
}

// x_i += sum_j G_ij dc/dx, y_j += sum_i G_ij dc/dy, of those that are wanted.
template <class Cost, class T> SDTW_TARGET void pull_back(const SeriesBlock<T>& b) {
  if (Cost::needs_cost) divide_by_cost(b);
  if (b.x_gradient) pull_back_side<Cost, true>(b);
  if (b.y_gradient) pull_back_side<Cost, false>(b);
}

}  // namespace SDTW_LEVEL
}  // namespace sdtw
