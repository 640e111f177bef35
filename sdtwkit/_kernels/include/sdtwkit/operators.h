// How a cell combines its three predecessors: the only mathematics that differs between soft,
// sparse and hard DTW (math-alignment page, section 2; Mensch & Blondel 2018).
//
// An operator works on a State, the smoothed cost of everything up to a cell, and offers
//     one(), unreachable()          the states of an empty path and of no path at all
//     arrive(state, c)              the state after paying the cost c
//     reduce(left, diag, up)        the smoothed minimum, with the probabilities of the three
//     curve(q, b)                   Hess_min(q) b: how the probabilities move when the
//                                   arguments move by b
//     renormalise(state)            the same state in its canonical representation
// Scalar and branch-free (selections are fine), so that a loop over cells vectorises on the
// CPU and the same text compiles for the GPU. The entropy operator is in scaled.h.
#pragma once
#include "math.h"

namespace sdtw {

enum Operator { kHard = 0, kEntropy = 1, kSparse = 2, kEntropyFar = 3, kOperators = 4 };

// One number for each predecessor. A struct of scalars, never an array: an array is kept in
// memory and the loop around it does not vectorise (10 to 50 times slower with GCC 12).
template <class T> struct Three { T left, diag, up; };

template <class T> SDTW_FN T dot(Three<T> a, Three<T> b) {
  return (a.left * b.left + a.up * b.up) + a.diag * b.diag;
}
template <class T> SDTW_FN T sum(Three<T> a) { return (a.left + a.up) + a.diag; }

template <class State, class T> struct Reduced { State state; Three<T> q; };

// The state of the operators that keep the value itself.
template <class T> struct Plain { T value; };
template <class T> SDTW_FN Plain<T> select(bool first, Plain<T> a, Plain<T> b) { return {first ? a.value : b.value}; }

template <class T> struct HardMin {
  using Scalar = T;
  using State = Plain<T>;
  static constexpr bool scaled = false, smooth = false;
  SDTW_FN State one() const { return {T(0)}; }
  SDTW_FN State unreachable() const { return {Real<T>::infinity()}; }
  SDTW_FN State arrive(State s, T c) const { return {s.value + c}; }
  SDTW_FN State renormalise(State s) const { return s; }
  SDTW_FN Reduced<State, T> reduce(State l, State d, State u) const {
    const T low = min2(min2(l.value, u.value), d.value);
    const T diag = d.value == low ? T(1) : T(0);  // ties: diagonal, then left, then up
    const T left = l.value == low ? T(1) - diag : T(0);
    return {{low}, {left, diag, (T(1) - diag) - left}};
  }
  SDTW_FN Three<T> curve(Three<T>, Three<T>) const { return {T(0), T(0), T(0)}; }
};

// Smoothing by (1/2)|q|^2: q is the Euclidean projection of -x/gamma on the simplex.
template <class T> struct SparseMin {
  using Scalar = T;
  using State = Plain<T>;
  static constexpr bool scaled = false, smooth = true;
  T gamma, inverse_gamma;
  SDTW_FN State one() const { return {T(0)}; }
  SDTW_FN State unreachable() const { return {Real<T>::infinity()}; }
  SDTW_FN State arrive(State s, T c) const { return {s.value + c}; }
  SDTW_FN State renormalise(State s) const { return s; }
  SDTW_FN Reduced<State, T> reduce(State l, State d, State u) const {
    const T low = min2(min2(l.value, u.value), d.value);
    const T base = low < Real<T>::infinity() ? low : T(0);  // inf - inf would be NaN
    // Gaps to the minimum in units of gamma: 0 for the best, +inf for an unreachable one.
    const T gl = (l.value - base) * inverse_gamma, gd = (d.value - base) * inverse_gamma,
            gu = (u.value - base) * inverse_gamma;
    const T g1 = min2(max2(gl, gu), max2(min2(gl, gu), gd));  // the middle one
    const T g2 = max2(max2(gl, gu), gd);                      // the largest
    // tau is the threshold of the projection over the one, two or three smallest gaps: the middle one counts below 1,
    // the largest below tau of the other two. (Sums of large gaps may be infinite, and are not taken then.)
    const T two = (T(1) + g1) * T(0.5), three = ((T(1) + g1) + g2) * T(1.0 / 3);
    const T tau = g2 < two ? three : (g1 < T(1) ? two : T(1));
    const Three<T> q = {max2(tau - gl, T(0)), max2(tau - gd, T(0)), max2(tau - gu, T(0))};
    const T mean = ((q.left > 0 ? q.left * gl : T(0)) + (q.up > 0 ? q.up * gu : T(0))) +
                   (q.diag > 0 ? q.diag * gd : T(0));
    // Three thirds are not quite 1 in float32; over a long path mass would drift.
    const T r = T(1) / max2(sum(q), T(0.5));
    return {{low + gamma * (mean + T(0.5) * dot(q, q))}, {q.left * r, q.diag * r, q.up * r}};
  }
  SDTW_FN Three<T> curve(Three<T> q, Three<T> b) const {
    const T l = q.left > 0 ? T(1) : T(0), d = q.diag > 0 ? T(1) : T(0), u = q.up > 0 ? T(1) : T(0);
    const T scale = -inverse_gamma / max2((l + u) + d, T(1));
    const T ld = (l * d) * (b.left - b.diag), lu = (l * u) * (b.left - b.up), du = (d * u) * (b.diag - b.up);
    return {scale * (ld + lu), scale * (du - ld), -scale * (lu + du)};
  }
};

}  // namespace sdtw
