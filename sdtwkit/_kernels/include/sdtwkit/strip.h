// What a strip loop reads and writes. A pack is P pairs side by side; a strip is a run of rows
// of the pack. Lane i * P + p belongs to row i of the strip and pair p. At step t lane i works
// on column t - i, so the cells of a step (an anti-diagonal) do not depend on each other: left
// is the same lane one step ago, up is lane - P one step ago, diagonal is lane - P two steps ago.
// With P = 1 this is the anti-diagonal schedule of a single pair, with short series and many
// pairs the lanes run across pairs, and everything between is the same loop.
//
// Columns here count from the first column of the strip. All per-step buffers have `pitch`
// lanes, lanes rounded up; what a loop computes on lanes without a cell is never used.
#pragma once
#include "recursion.h"

namespace sdtw {

constexpr Index kSteps = 16;  // costs are produced and states renormalised in this rhythm
constexpr Index kLanes = 16;  // loops run over multiples of this many lanes
constexpr Index kTileColumns = 64;  // of a block of tiles: its row and samples stay in the first-level cache
constexpr Index round_up(Index n, Index to) { return (n + to - 1) / to * to; }

// States of many cells: mantissa (or value), exponent (scaled operators), tangent.
template <class T> struct Field {
  T* value = nullptr;
  typename Real<T>::Exponent* exponent = nullptr;
  T* tangent = nullptr;
  Field offset(Index k) const {
    return {value + k, exponent ? exponent + k : nullptr, tangent ? tangent + k : nullptr};
  }
};

// A cell of the end set, or a run of them along a row (lane fixed) or a column (lane moves):
// at step t the lane first_lane + (t - first) * lane_step has number slot + (t - first).
struct Tap {
  Index first, last;  // steps, last included
  Index first_lane, lane_step;
  Index slot;
  bool along_column;
};

template <class T> struct OperatorParameters { T gamma, inverse_gamma, rate, rate_low; };

// Per-lane weights: a start cell pays weight 1 for the step it enters by.
template <class T> struct LaneWeights { T *left, *up; T diag, plain_left; };

template <class T> struct ForwardBlock {
  Index first, last;                    // steps [first, last)
  Index rows, columns, stride, pitch;   // of the strip; stride is P
  OperatorParameters<T> op;
  Field<T> state[3];                    // IN/OUT  step t lives in state[t % 3]; P slots before lane 0
  const T* cost;                        // IN  (last - first, pitch), +inf where forbidden
  const T* direction;                   // IN  likewise, tangent only
  LaneWeights<T> weights, direction_weights;
  bool first_strip;                     // lane 0 is row 0 of the problem
  bool open_row, open_column;           // paths may start anywhere in row 0, in column 0 (present here)
  Field<T> above;                       // IN  the row above, column c at c * P
  Index above_first, above_last;        // its columns [first, last]
  Field<T> below;                       // OUT the last row; may be the same memory as `above`
  Three<T*> q, curved;                  // OUT (last - first, pitch) probabilities and their tangent
  const Tap* taps; Index n_taps;
  Field<T> ends;                        // OUT states at the taps
};

template <class T> struct BackwardBlock {
  Index first, last;
  Index rows, columns, stride, pitch;
  Three<const T*> q, curved;            // IN  (last - first, pitch)
  LaneWeights<T> weights;
  bool first_strip, open_column;
  T *left, *up, *diag[2];               // IN/OUT what successors send to a cell; P slots after the last lane
  T *left_tangent, *up_tangent, *diag_tangent[2];
  T *row_up, *row_diag;                 // IN/OUT what the strip below sent up, column c at c * P; replaced by what we send
  T *row_up_tangent, *row_diag_tangent;
  Index below_first, below_last;        // columns that the strip below did send
  const Tap* taps; Index n_taps;
  const T *seed, *seed_tangent;         // IN  d value / d end argument at the taps
  Index out_pitch;
  T* expected;                          // OUT (last - first, out_pitch): E, or d value / d C when weighted; 0 without a cell
  T* product;                           // OUT the Hessian product likewise, tangent only
  bool want_visits;                     // E itself even when weighted
};

// One strip-block of local costs (or a matrix), lane major: see fill.h.
template <class T> struct SeriesBlock {
  Index first, last, stride, pitch, channels;
  Index begin, end;                     // lanes, multiples of kLanes
  const T* x; Index x_pitch;            // (channels, x_pitch), lane of the strip at x[lane]
  const T* y; Index y_pitch;            // (channels, y_pitch) reversed: step t, lane l at y[l - t * P]
  T* cost;                              // OUT (last - first, pitch)
  T* weight;                            // IN  (last - first, weight_pitch) d value / d C, overwritten; gradients only
  Index weight_pitch;                   // kLanes zeros lie on both sides of a row of `pitch` lanes
  T *x_gradient, *y_gradient;           // IN/OUT laid out as x and y; null: not wanted
  T parameter;
};

// The steps at which each lane has an admissible cell.
template <class T> struct StepLimits {
  Index first, last, pitch;
  Index begin, end;                     // lanes, multiples of kLanes
  const typename Real<T>::Exponent *low, *high;  // IN  (pitch,)
  T* cost;                              // IN/OUT (last - first, pitch)
};

// Columns [first, last) of a strip whose lanes are whole vectors of pairs: see tile.h.
template <class T> struct TileBlock {
  Index first, last, begin, end;        // columns, rows of the strip
  Index stride, channels;
  const T* x; Index x_pitch;            // (channels, x_pitch), row i of pair p at x[i * P + p]
  const T* y; Index y_pitch;            // (channels, y_pitch), column j of pair p at y[p - j * P]
  T* row;                               // IN/OUT column j at row[j * P]: the row above `begin`, replaced by row end - 1
  T* edge;                              // IN/OUT (rows * P) values left of column `first`, replaced by those of last - 1
  T* corner;                            // IN/OUT (P) row begin - 1 left of column `first`, replaced by row end - 1 there
  T parameter;
};

}  // namespace sdtw
