// The alignment recursion of one cell (math-alignment page, section 3), written once for
// every operator, precision, schedule and device:
//
//     V(p) = mu( { V(p - s) + w_s C(p) }_s )           forward
//     E(p) = sum over successors of q_s E              backward, from the stored probabilities q
//     Vd(p) = <q, b>,  b_s = Vd(p - s) + v_s Z(p)       tangent in direction Z, weights v
//
// Starts are not special cells here: a schedule puts the state of an empty path where a
// predecessor does not exist (left of column 0, above row 0), with weight 1.
#pragma once
#include "scaled.h"

namespace sdtw {

// The columns [first, last] of a row that a Sakoe-Chiba band admits; a negative radius is no band.
struct Columns { Index first, last; };
SDTW_FN Columns admissible_columns(Index row, Index n, Index m, Index radius) {
  if (radius < 0) return {0, m - 1};
  const Index r = min2(radius, n + m);
  return {max2(Index(0), row - r - max2(n - m, Index(0))), min2(m - 1, row + r + max2(m - n, Index(0)))};
}

// Forward. With unit weights the cost is paid once after the reduction: mu(a + c) = mu(a) + c.
template <bool Masked, bool Weighted, class Op, class T = typename Op::Scalar>
SDTW_FN Reduced<typename Op::State, T> forward_cell(const Op& op, typename Op::State left, typename Op::State diag,
                                                    typename Op::State up, T cost, Three<T> weights) {
  const bool blocked = Masked && !(cost < Real<T>::infinity());
  const T c = Masked ? (blocked ? T(0) : cost) : cost;  // 0 * inf would be NaN
  Reduced<typename Op::State, T> r;
  if (Weighted) {
    r = op.reduce(op.arrive(left, weights.left * c), op.arrive(diag, weights.diag * c),
                  op.arrive(up, weights.up * c));
  } else {
    r = op.reduce(left, diag, up);
    r.state = op.arrive(r.state, c);
  }
  if (Masked) r.state = select(blocked, op.unreachable(), r.state);
  return r;
}

template <class T> struct Tangent { T value; Three<T> q; };

template <class Op, class T = typename Op::Scalar>
SDTW_FN Tangent<T> tangent_cell(const Op& op, Three<T> q, Three<T> incoming, T direction, Three<T> weights) {
  const Three<T> b = {incoming.left + weights.left * direction, incoming.diag + weights.diag * direction,
                      incoming.up + weights.up * direction};
  return {dot(q, b), op.curve(q, b)};
}

}  // namespace sdtw
