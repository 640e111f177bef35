// Hard values of many pairs: the lanes of a vector are pairs, and the recursion runs down a tile of
// rows while their states stay in registers. A cell then takes five operations on vectors and a
// fraction of a load, against four loads and two stores of the loops over anti-diagonals (0.08 to
// 0.23 ns a cell of float64, 16 pairs of length 275, AVX-512). Smoothing operators gain nothing:
// their arithmetic outweighs the loads. Compiled once for each instruction level.
#include "fill.h"

namespace sdtw {
namespace SDTW_LEVEL {

constexpr int kTileRows = SDTW_VECTOR_BYTES == 64 ? 8 : 4;  // the states and samples of so many rows fit the registers

template <class V> SDTW_FN V least(const V& a, const V& b) { return a < b ? a : b; }

template <class Cost, class T> SDTW_FN Vec<T> finished(Vec<T> sum) {
  sum = Cost::finish(sum);
  if (!Cost::needs_cost) return sum;
  T lanes[width<T>()];
  store(lanes, sum);
  square_root(lanes, width<T>());
  return load(lanes);
}

// Rows [row, row + Rows) of the strip and one vector of pairs, over the columns of the block.
template <class Cost, int Rows, class T> SDTW_FN void hard_tile(const TileBlock<T>& b, Index row, Index pair) {
  const Index P = b.stride;
  const T* x = b.x + row * P + pair;
  T* edge = b.edge + row * P + pair;
  Vec<T> sample[Rows], value[Rows];
  SDTW_UNROLL
  for (int r = 0; r < Rows; ++r) sample[r] = load(x + r * P), value[r] = load(edge + r * P);
  Vec<T> diag = load(b.corner + pair);
  store(b.corner + pair, value[Rows - 1]);  // of the tile below
  for (Index j = b.first; j < b.last; ++j) {
    const T* y = b.y + pair - j * P;
    T* above = b.row + j * P + pair;
    Vec<T> up = load(above), cost[Rows] = {};
    const Vec<T> own = load(y);
    SDTW_UNROLL
    for (int r = 0; r < Rows; ++r) cost[r] = Cost::add(cost[r], sample[r], own, b.parameter);
    for (Index c = 1; c < b.channels; ++c) {
      const Vec<T> other = load(y + c * b.y_pitch);
      SDTW_UNROLL
      for (int r = 0; r < Rows; ++r) cost[r] = Cost::add(cost[r], load(x + c * b.x_pitch + r * P), other, b.parameter);
    }
    const Vec<T> corner = up;
    SDTW_UNROLL
    for (int r = 0; r < Rows; ++r) {
      const Vec<T> before = least(value[r], diag);  // not after `up`: the chain down the rows is the longest
      diag = value[r];
      value[r] = up = least(before, up) + finished<Cost, T>(cost[r]);
    }
    diag = corner;
    store(above, up);
  }
  SDTW_UNROLL
  for (int r = 0; r < Rows; ++r) store(edge + r * P, value[r]);
}

template <class Cost, int Rows, class T> SDTW_FN Index hard_tiles(const TileBlock<T>& b, Index row, Index end) {
  for (; row + Rows <= end; row += Rows)
    for (Index pair = 0; pair < b.stride; pair += width<T>()) hard_tile<Cost, Rows>(b, row, pair);
  return row;
}

template <class Cost, class T> SDTW_TARGET void hard_rows(const TileBlock<T>& b) {
  Index row = hard_tiles<Cost, kTileRows>(b, b.begin, b.end);
  hard_tiles<Cost, 1>(b, row, b.end);
}

}  // namespace SDTW_LEVEL
}  // namespace sdtw
