// Pairs of GRUs that drive each other: what a pass over all steps reads and writes, and the table of its loops.
//
// Side a of pair b at step t, with the old states h^a and h^o of itself and of its partner:
//   c = sigma(Wc x + Uc h^a + Vc h^o + bc),  k = kappa act c (h^o - h^a)
//   moved = h^a + k (pre, leak) or h^a;  hh = moved (pre) or h^a
//   r, z = sigma(..),  u = U_n hh + b_hn,  n = tanh(W_n x + b_in + r u)
//   h <- z moved + (1 - z) n  (+ k where the coupling is "add")
// Arrays are C-contiguous, side first, then time, then pair. Pairs come longest first, so that those still running at
// a step are the first active[t] of them.
//
// A cell's row holds the blocks (c | n | r | z | u), each H wide; "none" has no c. Going forward the row receives the
// gates, going backward the derivatives with respect to what stands inside them, and of u that of the state side:
// the first blocks but u are then the derivatives on the side of x, the last three those on the side of the state, and
// each weight gradient is one long product over all cells.
#pragma once
#include "gru_cell.h"

namespace sdtw {

template <class T> struct Gru {
  using Gemm = void (*)(char*, char*, int*, int*, int*, T*, T*, int*, T*, int*, T*, T*, int*);  // of the Fortran BLAS
  Index sides, pairs, steps, channels, hidden;  // sides: 2; with "none" also 1, for single sequences
  int coupling, level;
  bool hold;  // a partner that has ended goes on driving
  T kappa;
  void* gemm;  // a Gemm
  const std::int64_t* active;     // IN (steps,) pairs still running, falling
  const std::int64_t* length[2];  // IN (pairs,)
  const T* x;                     // IN (sides, steps, pairs, channels), 0 beyond the lengths
  const T* input_weights;         // IN (row - H, channels): Wc, W_n, W_r, W_z
  const T* bias;                  // IN (row,): bc, b_in, b_ir + b_hr, b_iz + b_hz, b_hn
  const T* state_weights;         // IN (state, H): U_r, U_z, U_n, Uc, Vc
  T* states;                      // (sides, steps + 1, pairs, H), the zeros of the start included; OUT forward, IN backward
  T* rows;                        // (sides, steps, pairs, row); OUT forward, INOUT backward
  T* moved;                       // (sides, steps, pairs, H) for "pre", (sides, 1, pairs, H) for "leak" and "add": k there
  T* scratch;                     // (sides, pairs, state), state = 3 H or 5 H
  // Backward only.
  T* cotangent;            // (sides, pairs, H): IN of the last states; used up
  T* before;               // (sides, pairs, H) scratch
  const T* sync;           // IN (pairs,) or null: factor of h^1 - h^2 added to the cotangent at every common step
  T* x_gradient;           // OUT (sides, steps, pairs, channels)
  T* input_gradient;       // OUT as input_weights
  T* bias_gradient;        // OUT as bias, zero on entry
  T* state_gradient;       // OUT as state_weights

  Index row() const { return (coupling == kNone ? 4 : 5) * hidden; }
  Index inputs() const { return row() - hidden; }                          // width of the blocks on the side of x
  Index state_width() const { return (coupling == kNone ? 3 : 5) * hidden; }
  Index offset(int side, Index t) const { return (side * steps + t) * pairs; }  // of a step, in cells
  T* row_at(int side, Index t, Index b) const { return rows + (offset(side, t) + b) * row(); }
  T* state_before(int side, Index t, Index b) const { return states + ((side * (steps + 1) + t) * pairs + b) * hidden; }
  T* moved_at(int side, Index t, Index b) const {
    return moved + ((coupling == kPre ? offset(side, t) : side * pairs) + b) * hidden;
  }
  T* scratch_at(int side, Index b) const { return scratch + (side * pairs + b) * state_width(); }
  T* cotangent_at(int side, Index b) const { return cotangent + (side * pairs + b) * hidden; }
  T* before_at(int side, Index b) const { return before + (side * pairs + b) * hidden; }
  bool running(int side, Index t, Index b) const { return t < length[side][b]; }
  bool coupled(Index t, Index b) const { return hold || (running(0, t, b) && running(1, t, b)); }
};

// The loops over the cells of one step, one table for each instruction level; [coupling].
template <class T> struct GruLoops {
  using Step = void (*)(const Gru<T>&, Index t);
  Step couple[kCouplings], advance[kCouplings], retreat[kCouplings], uncouple[kCouplings];
};

template <class T> void gru_forward(const Gru<T>&);
template <class T> void gru_backward(const Gru<T>&);

}  // namespace sdtw
