// Scalar arithmetic for the cell formulas: the number formats, powers of two made from bits,
// and a branch-free polynomial for 2^f, so that a loop over cells vectorises without
// -ffast-math (infinities and NaN have meaning here).
#pragma once
#include "config.h"

namespace sdtw {

template <class T> SDTW_FN T min2(T a, T b) { return a < b ? a : b; }
template <class T> SDTW_FN T max2(T a, T b) { return a > b ? a : b; }

// What threads combine their numbers by.
struct Sum { template <class T> SDTW_FN T operator()(T a, T b) const { return a + b; } };
struct Least { template <class T> SDTW_FN T operator()(T a, T b) const { return min2(a, b); } };
struct Largest { template <class T> SDTW_FN T operator()(T a, T b) const { return max2(a, b); } };

template <class To, class From> SDTW_FN To bit_cast(From x) {
  To y;
  memcpy(&y, &x, sizeof y);
  return y;
}

// What differs between the two precisions. Exponent is the type that holds the exponents of
// scaled numbers: as wide as T, so that lanes line up; integers up to 2^53 held in a double
// need no 64-bit integer instructions, which AVX2 lacks; int32 spares float the small range
// of integers a float can hold (2^24).
template <class T> struct Real;

template <> struct Real<double> {
  using Bits = Int64;
  using Unsigned = UInt64;
  using Exponent = double;
  static constexpr double magic = 6755399441055744.0;  // 1.5 * 2^52: adding it rounds to an integer
  static constexpr Bits magic_bits = 0x4338000000000000LL;
  static constexpr Bits fraction_mask = 0x000fffffffffffffLL, one_bits = 0x3ff0000000000000LL;
  static constexpr int fraction_width = 52;
  static constexpr double exponent_limit = 1125899906842624.0;  // 2^50: sums of exponents stay exact
  SDTW_FN static Bits bits(double x) { return bit_cast<Bits>(x); }
  SDTW_FN static double unbits(Bits b) { return bit_cast<double>(b); }
  SDTW_FN static double infinity() { return unbits(0x7ff0000000000000LL); }
  SDTW_FN static Exponent lowest_exponent() { return -1e300; }
  SDTW_FN static double round(double t) { return (t + magic) - magic; }
  SDTW_FN static Exponent to_exponent(double k) { return k; }
  // 2^(e - top), e <= top, an exact 0 below 2^-1022: exp2_biased(e + exp2_bias(top)).
  SDTW_FN static Exponent exp2_bias(Exponent top) { return (magic + 1023.0) - top; }
  SDTW_FN static double exp2_biased(Exponent x) {
    return unbits(static_cast<Bits>(static_cast<UInt64>(bits(max2(x, magic))) << 52));
  }
  SDTW_FN static double exp2_difference(Exponent e, Exponent top) {
    return exp2_biased(max2(e - top, -1023.0) + (magic + 1023.0));
  }
  SDTW_FN static Exponent binary_exponent(Bits b) { return unbits((b >> 52) + magic_bits) - (magic + 1023.0); }
};

template <> struct Real<float> {
  using Bits = Int32;
  using Unsigned = UInt32;
  using Exponent = Int32;
  static constexpr float magic = 12582912.0f;  // 1.5 * 2^23
  static constexpr Bits fraction_mask = 0x007fffff, one_bits = 0x3f800000;
  static constexpr int fraction_width = 23;
  static constexpr double exponent_limit = 268435456.0;  // 2^28: no int32 sum can overflow
  SDTW_FN static Bits bits(float x) { return bit_cast<Bits>(x); }
  SDTW_FN static float unbits(Bits b) { return bit_cast<float>(b); }
  SDTW_FN static float infinity() { return unbits(0x7f800000); }
  SDTW_FN static Exponent lowest_exponent() { return -1073741824; }  // -2^30
  SDTW_FN static float round(float t) { return (t + magic) - magic; }
  SDTW_FN static Exponent to_exponent(float k) { return static_cast<Exponent>(k); }
  SDTW_FN static Exponent exp2_bias(Exponent top) { return 127 - top; }
  SDTW_FN static float exp2_biased(Exponent x) { return unbits(max2(x, 0) << 23); }
  SDTW_FN static float exp2_difference(Exponent e, Exponent top) { return exp2_biased(e + exp2_bias(top)); }
  SDTW_FN static Exponent binary_exponent(Bits b) { return (b >> 23) - 127; }
};

// 2^f for |f| <= 1/2. Minimax in relative error with p(0) = 1: 2.2e-16 and 2.0e-9, found with
// weighted least squares and Lawson's iteration.
// Even and odd powers are summed side by side: one multiplication more than Horner's scheme, but
// two thirds of its latency, and the loops are bound by latency.
SDTW_FN double exp2_series(double f, double constant) {
  const double g = f * f;
  double even = 7.0381831062537725035e-9, odd = 1.0208323198767394765e-7;
  even = even * g + 1.3215653575669627921e-6;
  odd = odd * g + 1.5252659426543829441e-5;
  even = even * g + 1.5403529994280985757e-4;
  odd = odd * g + 1.3333558225802472322e-3;
  even = even * g + 9.6181291079831125302e-3;
  odd = odd * g + 5.5504108664481804110e-2;
  even = even * g + 2.4022650695909101633e-1;
  odd = odd * g + 6.9314718055994917585e-1;
  even = even * g + constant;
  return odd * f + even;
}
SDTW_FN float exp2_series(float f, float constant) {
  const float g = f * f;
  float even = 1.5353360629290447793e-4f, odd = 1.3398874866602267562e-3f;
  even = even * g + 9.6184373664188702045e-3f;
  odd = odd * g + 5.5503324696938732247e-2f;
  even = even * g + 2.4022647913498998416e-1f;
  odd = odd * g + 6.9314720285597040080e-1f;
  even = even * g + constant;
  return odd * f + even;
}
template <class T> SDTW_FN T exp2_fraction(T f) { return exp2_series(f, T(1)); }
template <class T> SDTW_FN T exp2_fraction_minus1(T f) { return exp2_series(f, T(0)); }  // relative error 5e-15, 3e-8

// 1/x of a normal x. On the device, an approximation and a step of Newton's, to the last bit but one: a quotient has a
// branch for the rest of the numbers, and would be a quarter of the instructions of a cell.
template <class T> SDTW_FN T reciprocal(T x) { return T(1) / x; }
#if defined(__CUDACC_RTC__)
SDTW_FN float reciprocal(float x) {
  const float r = __fdividef(1.0f, x);
  return r * (2.0f - x * r);
}
#endif

// log x of a positive normal x: log m = 2 artanh((m - 1) / (m + 1)), of the mantissa m between the
// roots of 1/2 and 2, by its series.
template <class T> SDTW_FN T log_normal(T x) {
  using R = Real<T>;
  using Bits = typename R::Bits;
  const Bits b = R::bits(x) - R::bits(T(0.70710678118654752440)) + R::one_bits;
  const T k = static_cast<T>(R::binary_exponent(b));
  const T m = R::unbits(R::bits(x) - ((b & ~R::fraction_mask) - R::one_bits));
  const T s = (m - T(1)) / (m + T(1)), z = s * s;
  T sum = T(0);
  if (sizeof(T) == 8) {
    sum = sum * z + T(1. / 21);
    sum = sum * z + T(1. / 19);
    sum = sum * z + T(1. / 17);
    sum = sum * z + T(1. / 15);
    sum = sum * z + T(1. / 13);
    sum = sum * z + T(1. / 11);
  }
  sum = sum * z + T(1. / 9);
  sum = sum * z + T(1. / 7);
  sum = sum * z + T(1. / 5);
  sum = sum * z + T(1. / 3);
  return k * T(0.69314718055994530942) + (s * z * sum + s) * T(2);
}

}  // namespace sdtw
