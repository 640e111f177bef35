// One unit of a coupled GRU's cell, for every schedule and device (the equations in gru.h): its gates, its next state,
// and the derivatives inside the gates.
#pragma once
#include "math.h"

namespace sdtw {

enum Coupling { kNone = 0, kPre = 1, kLeak = 2, kAdd = 3, kCouplings = 4 };

// e^v - 1 for v <= 0, to full relative precision near 0: 2^k (2^f - 1) + (2^k - 1). Below -80 or -700 it is -1 within
// rounding, and 2^k must not leave the normal numbers; NaN passes the bound.
template <class T> SDTW_FN T expm1_negative(T v) {
  using R = Real<T>;
  const T least = sizeof(T) == 4 ? T(-80) : T(-700);
  const T t = (v < least ? least : v) * T(1.4426950408889634074);
  const T k = R::round(t), f = t - k;
  const T power = R::exp2_difference(R::to_exponent(k), R::to_exponent(T(0)));
  return power * exp2_fraction_minus1(f) + (power - T(1));
}
template <class T> SDTW_FN T sigmoid(T v) {
  const T e = expm1_negative(v < T(0) ? v : -v), s = T(1) / (T(2) + e);  // s = 1 / (1 + exp(-|v|))
  return v < T(0) ? (T(1) + e) * s : s;
}
template <class T> SDTW_FN T hyperbolic_tangent(T v) {
  const T a = v < T(0) ? v : -v, e = expm1_negative(T(2) * a), s = e / (T(2) + e);  // s = -tanh |v|
  return v < T(0) ? s : -s;
}

// What stands in the blocks of a row: what x gives, the biases, the gates, or the derivatives inside them.
template <class T> struct Cell { T n, r, z, u; };

// The gates; the state gives r, z and u.
template <class T> SDTW_FN Cell<T> gates(Cell<T> input, Cell<T> bias, T r, T z, T u) {
  const T reset = sigmoid((input.r + bias.r) + r);
  const T keep = sigmoid((input.z + bias.z) + z);
  const T inner = u + bias.u;
  return {hyperbolic_tangent((input.n + bias.n) + reset * inner), reset, keep, inner};
}
// Between the base and the candidate: the next state but for the k of "add".
template <class T> SDTW_FN T next_state(Cell<T> g, T base) { return g.z * base + (T(1) - g.z) * g.n; }
// The derivatives inside the gates; q is that with respect to the next state.
template <class T> SDTW_FN Cell<T> inside_gates(Cell<T> g, T base, T q) {
  const T dz = q * (base - g.n) * (g.z * (T(1) - g.z));
  const T dn = q * (T(1) - g.z) * (T(1) - g.n * g.n);
  const T dr = dn * g.u * (g.r * (T(1) - g.r)), du = dn * g.r;
  return {dn, dr, dz, du};
}

// The state from which a step goes on: `moved` is where k moves the state to (pre), or k itself.
template <int C, class T> SDTW_FN T base_of(T own, T moved) {
  return C == kPre ? moved : C == kLeak ? own + moved : own;
}
template <class T> SDTW_FN T coupling_gate(T input, T bias, T from_own, T from_other) {
  return sigmoid((input + bias) + (from_own + from_other));
}
// How far a gate moves the state; strength = kappa act.
template <class T> SDTW_FN T pull(T strength, T gate, T own, T other) { return strength * gate * (other - own); }
// The derivative inside the coupling's gate; omega is that with respect to k, times the strength.
template <class T> SDTW_FN T inside_coupling(T omega, T gate, T own, T other) {
  return omega * (other - own) * (gate * (T(1) - gate));
}

}  // namespace sdtw
