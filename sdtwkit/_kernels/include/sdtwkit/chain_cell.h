// One candidate of a chain's step (math-alignment page, section 12), for every schedule and device: what it
// weighs, and how the law of a row of candidates bends. A row holds x(j) = theta(t, i, j) + V_t(j); its
// smoothed maximum and law q are
//     entropy   max x + gamma log sum exp((x - max x) / gamma),   q proportional to the exponentials,
//     l2        max x + gamma sum p (u - p / 2),   u = (x - max x) / gamma,   p = (u - bar)_+,   sum p = 1.
#pragma once
#include "math.h"

namespace sdtw {

template <class T> struct Smoothing {
  T gamma, inverse_gamma;
  T rate, rate_low;  // log2(e) / gamma to twice the precision of T
  T lowest;          // exp(x / gamma) counts as 0 below
  T faint;           // likewise for factors of a product, which must not be subnormal
  T limit;           // finite numbers beyond it, in absolute value, are out of range
};

template <class T> SDTW_FN Smoothing<T> smoothing(double gamma) {
  constexpr double high = 1.4426950408889634074, low = 2.0355273740931033e-17;  // log2(e) to twice the precision
  constexpr double largest = sizeof(T) == 8 ? 1.7976931348623157e308 : 3.4028234663852886e38;
  const double rate = min2(high / gamma, largest);
  const double rest = rate < largest ? (fma(-rate, gamma, high) + low) / gamma : 0;
  Smoothing<T> op;
  op.gamma = T(gamma);
  op.inverse_gamma = T(min2(1 / gamma, largest));
  op.rate = T(rate);
  op.rate_low = T((rate - double(op.rate)) + rest);
  const double least = sizeof(T) == 8 ? -1022 : -126, faint = sizeof(T) == 8 ? -900 : -100;
  op.lowest = T(max2(least / high * gamma, -largest));
  op.faint = T(max2(faint / high * gamma, -largest));
  op.limit = sizeof(T) == 8 ? T(1e300) : T(1e37);
  return op;
}

// exp(x / gamma), x <= 0; an exact 0 below `lowest`, for -inf too. The sum with 1.5 * 2^52 rounds to an integer, and
// holds it in its last bits.
template <class T> SDTW_FN T weight(T x, const Smoothing<T>& op, T lowest) {
  using R = Real<T>;
  using Unsigned = typename R::Unsigned;
  const T rounded = x * op.rate + R::magic, k = rounded - R::magic;
  const T f = (x * op.rate - k) + x * op.rate_low;
  const Unsigned one = Unsigned(R::one_bits >> R::fraction_width);
  const Unsigned exponent = (Unsigned(R::bits(rounded)) + one) << R::fraction_width;
  const T power = exp2_fraction(f) * R::unbits(static_cast<typename R::Bits>(exponent));
  return x >= lowest ? power : T(0);
}

// The part p of the simplex that lies above the bar, and what it adds to the smoothed maximum in units of gamma. V is
// a number or a vector of them.
template <class V> SDTW_FN V part_above(const V& u, const V& bar, const V& zero) { return u > bar ? u - bar : zero; }
template <class T, class V> SDTW_FN V gain_above(const V& u, const V& bar, const V& p, const V& zero) {
  return u > bar ? p * (u - T(0.5) * p) : zero;
}

// Hess_max(q) m = w (m - <w, m> / <w, 1>) / gamma with w = q (entropy), w = 1[q > 0] (l2).
template <bool Sparse, class T> SDTW_FN T curvature_weight(T q) { return Sparse ? (q > T(0) ? T(1) : T(0)) : q; }
// d (q u), where u moves by ud and the candidate, relative to that mean, by m.
template <class T> SDTW_FN T bent(T q, T ud, T u, T w, T m, T inverse_gamma) {
  return q * ud + (u * (w * m)) * inverse_gamma;
}

}  // namespace sdtw
