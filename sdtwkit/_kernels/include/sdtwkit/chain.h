// Smoothed Viterbi on a chain of states (math-alignment page, section 12; Mensch & Blondel 2018):
//
//     V_0 = 0,   V_{t+1}(i) = max_Omega over j of theta(t, i, j) + V_t(j),   value = max_Omega V_T.
//
// A step takes one row of candidates for each state i. The potentials are either given in full, or
// as a pair: theta(t, i, j) = unary(t, i) + transition(i, j), and theta(0, i, j) = unary(0, i) from a
// single start; the pair is never expanded. Here are the request of the door, and what the hot loops
// (chain_loops.h) read and write; the passes over a chain are in chain_run.cpp.
//
// Messages V_t are kept relative to their largest entry: differences of states keep their digits
// however long the chain is.
#pragma once
#include "chain_cell.h"
#include "level.h"
#include "request.h"

namespace sdtw {

// Shapes: B chains of at most T steps, S states. What lies beyond a length is neither read nor written.
struct ChainRequest {
  bool single_precision = false;
  std::int64_t chains = 0, steps = 0, states = 0;  // B, T, S
  const std::int64_t* length = nullptr;            // IN (B,)
  int op = 0;                                      // level.h: Operator
  double gamma = 1;
  const void* theta = nullptr;       // IN (B, T, S, S); null: the pair
  const void* unary = nullptr;       // IN (B, T, S)
  const void* transition = nullptr;  // IN (S, S)

  double* value = nullptr;                // OUT (B,)
  void* gradient = nullptr;               // OUT as theta or unary, zero on entry; null: not wanted
  double* transition_gradient = nullptr;  // OUT (S, S), zero on entry: of the sum of the values; or null
  const void* direction = nullptr;        // IN as theta or unary; null: first order only
  const void* transition_direction = nullptr;  // IN (S, S)
  double* slope = nullptr;                // OUT (B,) directional derivative
  void* product = nullptr;                // OUT as theta or unary, zero on entry: Hessian product
  double* transition_product = nullptr;   // OUT (S, S), zero on entry

  std::int64_t samples = -1;      // sequences: -1 none, 0 the best one (hard operator), else drawn from the law
  std::uint64_t seed = 0;
  std::int64_t* paths = nullptr;  // OUT (B, max(samples, 1), T) states

  int threads = 1, level = 0;
  int (*interrupted)() = nullptr;  // polled by the calling thread; non-zero stops the work
};

// kOverflow: NaN, +inf or numbers beyond the range; the outputs hold nothing then.
Status run_chains(const ChainRequest& request);  // throws std::bad_alloc

constexpr Index kScratch = 1024;  // numbers of rows that are smoothed together

// States in [first, last) smooth their rows of candidates. `pitch` is the number of states rounded up
// to whole vectors.
template <class T> struct RowsBlock {
  Index first, last, states, pitch;
  Smoothing<T> op;
  const T* rows;         // IN  row i at rows + i * row_stride, (states,)
  Index row_stride;
  const T* v;            // IN  (pitch,) messages <= 0, -inf beyond the states
  const T* shift;        // IN  (states,) added to the results; null: nothing
  T* value;              // OUT (states,)
  T* q;                  // OUT row i at q + i * q_stride, (states,) probabilities; null: not wanted
  Index q_stride;
  T *candidates, *weights;  // scratch (max(pitch, kScratch),), rows of `pitch`; candidates are -inf beyond the states
  T* mass;                  // scratch (states,)
  bool* strange;         // OUT set if a number is out of range
};

// Tangents of the same rows: OUT moved(i) = <q(i), z(i) + vd> + shift(i).
// Curvature: OUT q(i) := q(i) ud(i) + u(i) Hess_max(q(i)) (z(i) + vd).
template <class T> struct TangentBlock {
  Index first, last, states, pitch;
  Smoothing<T> op;
  T* q;                  // IN, curvature: IN/OUT
  Index q_stride;
  const T* z;            // IN  row i at z + i * z_stride; null: zeros
  Index z_stride;
  const T *vd, *shift;   // IN  (states,); shift may be null
  const T *u, *ud;       // IN  (states,), curvature only
  T* moved;              // OUT (states,), tangents only
  T *difference, *term;  // scratch (pitch,); terms are 0 beyond the states
};

// Columns in [first, last): OUT sum(j) = sum over i of q(i, j) u(i); the products go where they are wanted.
template <class T> struct PullBlock {
  Index first, last, states;
  T* q;                  // IN; with `in_place` OUT
  Index q_stride;
  const T* u;            // IN (states,)
  bool in_place;
  T* sum;                // OUT (states,)
  T* total;              // IN/OUT added to, row i at i * total_stride; null: not wanted
  Index total_stride;
};

template <class T> struct ChainLoops {
  void (*rows[3])(const RowsBlock<T>&);            // by Operator
  void (*tangents)(const TangentBlock<T>&);
  void (*curvature[3])(const TangentBlock<T>&);
  void (*pull)(const PullBlock<T>&);
  // OUT v (n,) = x - max x, relative to 0 where all are -inf; returns the maximum. n: whole vectors.
  T (*relative)(const T* x, Index n, T* v);
  // OUT out (n,) = x / sum x, or x where the sum is 0
  void (*normalise)(const T* x, Index n, T* out);
  // OUT out (n,) = exp((x - base) / gamma), an exact 0 where faint
  void (*weights)(const T* x, T base, Index n, const Smoothing<T>& op, T* out);
  // OUT out (n,) = base + gamma log y + shift
  void (*logs)(const T* y, const T* base, const T* shift, Index n, const Smoothing<T>& op, T* out);
  // OUT y (k,) for k in [first, last): sum over r < count of a(r) m(r, k). m: (count, pitch); last may be rounded
  // up to whole vectors
  void (*product)(const T* m, Index pitch, const T* a, Index count, Index first, Index last, T* y);
  // total(i, j) += k(i, j) sum over s < count of w(s, i) a(s, j), for j in [first, last) and i < states. All have
  // this pitch
  void (*outer)(const T* w, const T* a, Index count, const T* k, Index states, Index pitch, Index first, Index last,
                double* total);
  Index vector_lanes;
};

template <class T> const ChainLoops<T>& chain_loops(int level);

}  // namespace sdtw
