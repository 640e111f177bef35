// Fills the table of one instruction level. The includer defines SDTW_LEVEL (a namespace),
// SDTW_TARGET (the attribute) and SDTW_VECTOR_BYTES.
#include "level.h"
#include "strip_loops.h"
#include "ctc_loops.h"
#include "tile.h"

namespace sdtw {
namespace SDTW_LEVEL {

template <class Op, class T> void fill_operator(typename Loops<T>::Forward (&f)[kVariants][kModes]) {
  f[kPlain][kValue] = forward_steps<Op, false, false, false, false>;
  f[kPlain][kStore] = forward_steps<Op, false, false, true, false>;
  f[kMasked][kValue] = forward_steps<Op, true, false, false, false>;
  f[kMasked][kStore] = forward_steps<Op, true, false, true, false>;
  f[kWeighted][kValue] = forward_steps<Op, true, true, false, false>;
  f[kWeighted][kStore] = forward_steps<Op, true, true, true, false>;
  f[kPlain][kTangent] = forward_steps<Op, false, false, false, true>;
  f[kPlain][kTangentStore] = forward_steps<Op, false, false, true, true>;
  for (int v = kMasked; v < kVariants; ++v) {
    f[v][kTangent] = forward_steps<Op, true, true, false, true>;
    f[v][kTangentStore] = forward_steps<Op, true, true, true, true>;
  }
}
// Far costs are rare: only the general variant is compiled for them.
template <class Op, class T> void fill_far(typename Loops<T>::Forward (&f)[kVariants][kModes]) {
  for (int v = 0; v < kVariants; ++v) {
    f[v][kValue] = forward_steps<Op, true, true, false, false>;
    f[v][kStore] = forward_steps<Op, true, true, true, false>;
    f[v][kTangent] = forward_steps<Op, true, true, false, true>;
    f[v][kTangentStore] = forward_steps<Op, true, true, true, true>;
  }
}

template <class T> Loops<T> make_loops() {
  Loops<T> table = {};
  fill_operator<HardMin<T>, T>(table.forward[kHard]);
  fill_operator<EntropyMin<T>, T>(table.forward[kEntropy]);
  fill_operator<SparseMin<T>, T>(table.forward[kSparse]);
  if (sizeof(T) == 8) fill_far<EntropyMin<T, true>, T>(table.forward[kEntropyFar]);  // float32 moves to float64
  table.backward[0][0] = backward_steps<T, false, false>;
  table.backward[1][0] = backward_steps<T, true, false>;
  table.backward[0][1] = backward_steps<T, false, true>;
  table.backward[1][1] = backward_steps<T, true, true>;
#define SDTW_COST(id, Type)                \
  table.cost[id] = fill_costs<Type, T>;     \
  table.pull_back[id] = pull_back<Type, T>; \
  table.hard_rows[id] = hard_rows<Type, T>;
  SDTW_COST(kSquaredEuclidean, SquaredEuclidean)
  SDTW_COST(kHalfSquaredEuclidean, HalfSquaredEuclidean)
  SDTW_COST(kEuclidean, Euclidean)
  SDTW_COST(kManhattan, Manhattan)
  SDTW_COST(kHuber, Huber)
  SDTW_COST(kNegativeDot, NegativeDot)
#undef SDTW_COST
  table.ctc_costs = ctc_costs<T>;
  table.ctc_forward[kValue] = ctc_forward<EntropyMin<T>, false>;
  table.ctc_forward[kStore] = ctc_forward<EntropyMin<T>, true>;
  if (sizeof(T) == 8) table.ctc_forward_far = ctc_forward<EntropyMin<T, true>, true>;
  table.ctc_backward = ctc_backward<T>;
  table.forbid = forbid<T>;
  table.vector_lanes = width<T>();
  return table;
}

template <class T> const Loops<T>& table() {
  static const Loops<T> loops = make_loops<T>();
  return loops;
}

}  // namespace SDTW_LEVEL
}  // namespace sdtw
