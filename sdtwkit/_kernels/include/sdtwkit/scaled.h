// The entropy operator in scaled form (math-alignment page, section 9): instead of the soft
// minimum V itself we carry Z = exp(-V/gamma) as a mantissa and a separate integer exponent,
//     Z(i,j) = exp(-C(i,j)/gamma) * [ (Z(i,j-1) + Z(i-1,j)) + Z(i-1,j-1) ],
// so that a cell costs one polynomial instead of three exponentials and a logarithm, nothing
// underflows at any gamma, and multiplying by powers of two loses no digit.
//
// An unreachable state has mantissa 0 AND an exponent below every real one: with exponent 0
// it would win the alignment of exponents and erase real values. Mantissas drift by at most a
// factor of 4.3 a cell; renormalise() is called every 16th step and where a state leaves its
// strip.
#pragma once
#include "operators.h"

namespace sdtw {

template <class T, class E = typename Real<T>::Exponent> struct Scaled { T mantissa; E exponent; };
template <class T, class E> SDTW_FN Scaled<T, E> select(bool first, Scaled<T, E> a, Scaled<T, E> b) {
  return {first ? a.mantissa : b.mantissa, first ? a.exponent : b.exponent};
}

template <class State, class T> struct ReducedTwo { State state; T first, second; };  // with probabilities

template <class T, class E> SDTW_FN Scaled<T, E> renormalised(Scaled<T, E> z) {
  using R = Real<T>;
  const bool zero = z.mantissa == T(0);
  const typename R::Bits b = R::bits(z.mantissa);
  return {zero ? T(0) : R::unbits((b & R::fraction_mask) | R::one_bits),
          zero ? z.exponent : z.exponent + R::binary_exponent(b)};
}

// Far: |cost|/gamma is so large (2^50 and more over a path) that sums of exponents round; the
// ordinary form stays exact below that and is a third faster.
template <class T, bool Far = false> struct EntropyMin {
  using Scalar = T;
  using R = Real<T>;
  using Exponent = typename R::Exponent;
  using State = Scaled<T>;
  static constexpr bool scaled = true, smooth = true;
  T gamma, inverse_gamma;
  T rate, rate_low;  // -log2(e)/gamma to twice the precision of T

  SDTW_FN State one() const { return {T(1), Exponent(0)}; }
  SDTW_FN State unreachable() const { return {T(0), R::lowest_exponent()}; }
  SDTW_FN State renormalise(State z) const { return renormalised(z); }

  SDTW_FN State arrive(State z, T c) const {
    const T t = c * rate;
    T k = R::round(t);
    T f = (c * rate - k) + c * rate_low;  // contracted to a fused multiply-add where there is one
    if (Far) {
      const bool far = !(t < T(2251799813685248.0) && t > T(-2251799813685248.0));
      k = far ? t : k;
      f = far ? T(0) : f;
    }
    return {z.mantissa * exp2_fraction(f), z.exponent + R::to_exponent(k)};
  }

  SDTW_FN Reduced<State, T> reduce(State l, State d, State u) const {
    const Exponent top = max2(max2(l.exponent, u.exponent), d.exponent);
    T a, b, c;
    if (Far) {
      a = l.mantissa * R::exp2_difference(l.exponent, top);
      b = u.mantissa * R::exp2_difference(u.exponent, top);
      c = d.mantissa * R::exp2_difference(d.exponent, top);
    } else {
      const Exponent w = R::exp2_bias(top);
      a = l.mantissa * R::exp2_biased(l.exponent + w);
      b = u.mantissa * R::exp2_biased(u.exponent + w);
      c = d.mantissa * R::exp2_biased(d.exponent + w);
    }
    const T s = (a + b) + c;  // left + up first: transposing the problem changes no bit
    const T r = reciprocal(s > 0 ? s : T(1));
    return {{s, top}, {a * r, c * r, b * r}};
  }

  SDTW_FN ReducedTwo<State, T> reduce(State x, State y) const {  // where there is no third
    const Exponent top = max2(x.exponent, y.exponent);
    const T a = x.mantissa * R::exp2_difference(x.exponent, top), b = y.mantissa * R::exp2_difference(y.exponent, top);
    const T s = a + b;
    const T r = reciprocal(s > 0 ? s : T(1));
    return {{s, top}, a * r, b * r};
  }

  // Pairwise differences: the printed form q.b - q<q,b> cancels at small gamma.
  SDTW_FN Three<T> curve(Three<T> q, Three<T> b) const {
    const T ld = (q.left * q.diag) * (b.left - b.diag), lu = (q.left * q.up) * (b.left - b.up),
            du = (q.diag * q.up) * (b.diag - b.up);
    return {-inverse_gamma * (ld + lu), inverse_gamma * (ld - du), inverse_gamma * (lu + du)};
  }
};

}  // namespace sdtw
