// The entropy operator for float32 costs of any range: mantissas in float32, exponents and products
// with 1/gamma in float64. A device cannot look at all costs beforehand, as the CPU does, to see that
// int32 exponents suffice; it finds out on the way, and repeats the pairs where they did not in this
// form. (The CPU repeats such problems in float64 altogether.)
#pragma once
#include "scaled.h"

namespace sdtw {

struct WideEntropyMin : EntropyMin<float> {
  using State = Scaled<float, double>;
  double wide_rate;  // -log2(e)/gamma

  SDTW_FN State one() const { return {1.0f, 0.0}; }
  SDTW_FN State unreachable() const { return {0.0f, Real<double>::lowest_exponent()}; }
  SDTW_FN State renormalise(State z) const { return renormalised(z); }

  SDTW_FN State arrive(State z, float c) const {
    const double t = double(c) * wide_rate;
    const bool far = !(t < 2251799813685248.0 && t > -2251799813685248.0);  // 2^51: an integer as good as any
    const double k = far ? t : Real<double>::round(t);
    return {z.mantissa * exp2_fraction(far ? 0.0f : float(t - k)), z.exponent + k};
  }

  SDTW_FN Reduced<State, float> reduce(State l, State d, State u) const {
    const double top = max2(max2(l.exponent, u.exponent), d.exponent);
    const float a = l.mantissa * power(l.exponent - top), b = u.mantissa * power(u.exponent - top),
                c = d.mantissa * power(d.exponent - top);
    const float s = (a + b) + c;
    const float r = 1.0f / (s > 0 ? s : 1.0f);
    return {{s, top}, {a * r, c * r, b * r}};
  }

  SDTW_FN ReducedTwo<State, float> reduce(State x, State y) const {
    const double top = max2(x.exponent, y.exponent);
    const float a = x.mantissa * power(x.exponent - top), b = y.mantissa * power(y.exponent - top), s = a + b;
    const float r = 1.0f / (s > 0 ? s : 1.0f);
    return {{s, top}, a * r, b * r};
  }

 private:
  // 2^e for an integer e <= 0; an exact 0 below the smallest normal number.
  SDTW_FN static float power(double e) { return Real<float>::exp2_biased(127 + Int32(max2(e, -127.0))); }
};

}  // namespace sdtw
