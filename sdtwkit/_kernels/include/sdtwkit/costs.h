// Local costs of one pair of samples, summed over channels (math-alignment page, section 4).
// Each offers, for Value either a scalar or a vector of lanes,
//     add(sum, x, y)      the running sum with the term of one channel
//     finish(sum)         the cost
//     slope(x, y), scale  d term / d x = scale * slope; d term / d y is minus that unless `product`
// A new fused cost goes here, and as one line in the table of level.h.
#pragma once
#include "math.h"

namespace sdtw {

template <class V> SDTW_FN V absolute(V d) { return d < 0 ? -d : d; }

struct SquaredEuclidean {
  static constexpr bool product = false, needs_cost = false;
  static constexpr int scale = 2;
  template <class V, class T> SDTW_FN static V add(V sum, V x, V y, T) { const V d = x - y; return sum + d * d; }
  template <class V> SDTW_FN static V finish(V sum) { return sum; }
  template <class V, class T> SDTW_FN static V slope(V x, V y, T) { return x - y; }
};
struct HalfSquaredEuclidean : SquaredEuclidean {
  static constexpr int scale = 1;
  template <class V> SDTW_FN static V finish(V sum) { return sum * 0.5f; }
};
// Its slope is the difference over the distance: the sink divides the weights by the cost.
struct Euclidean : SquaredEuclidean {
  static constexpr bool needs_cost = true;
  static constexpr int scale = 1;
};
struct Manhattan {
  static constexpr bool product = false, needs_cost = false;
  static constexpr int scale = 1;
  template <class V, class T> SDTW_FN static V add(V sum, V x, V y, T) { return sum + absolute(x - y); }
  template <class V> SDTW_FN static V finish(V sum) { return sum; }
  template <class V, class T> SDTW_FN static V slope(V x, V y, T) {
    const V d = x - y, zero = d - d;
    return d > zero ? zero + 1 : (d < zero ? zero - 1 : zero);
  }
};
struct Huber {
  static constexpr bool product = false, needs_cost = false;
  static constexpr int scale = 1;
  template <class V, class T> SDTW_FN static V add(V sum, V x, V y, T delta) {
    const V r = absolute(x - y), bound = (r - r) + delta, s = r < bound ? r : bound;
    return sum + s * (r - s * T(0.5));
  }
  template <class V> SDTW_FN static V finish(V sum) { return sum; }
  template <class V, class T> SDTW_FN static V slope(V x, V y, T delta) {
    const V d = x - y, bound = (d - d) + delta;
    const V low = d < -bound ? -bound : d;
    return low > bound ? bound : low;
  }
};
struct NegativeDot {
  static constexpr bool product = true, needs_cost = false;
  static constexpr int scale = 1;
  template <class V, class T> SDTW_FN static V add(V sum, V x, V y, T) { return sum - x * y; }
  template <class V> SDTW_FN static V finish(V sum) { return sum; }
  template <class V, class T> SDTW_FN static V slope(V, V y, T) { return -y; }
};

}  // namespace sdtw
