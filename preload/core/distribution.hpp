// Delay distributions, as in tc-netem: the value is the mean (constant, uniform ± jitter) or mean plus jitter times a
// standardised variate (normal; pareto with shape 3; paretonormal = ¼ normal + ¾ pareto). Results are never negative.
// No libm: the shim links libc only.
//
// Inverse normal: Peter Acklam's rational approximation (relative error 1.15e-9). Pareto: iproute2's netem/pareto.c.
#pragma once
#include <cstdint>

#include "chaos/abi/rule.hpp"
#include "prng.hpp"

namespace chaos::core {

namespace detail {

inline double square_root(double x) { return __builtin_sqrt(x); }  // one instruction with -fno-math-errno

inline double natural_log(double x) {  // x > 0, normal
  union { double d; std::uint64_t u; } v{x};
  int exponent = static_cast<int>(v.u >> 52) - 1023;
  v.u = (v.u & 0x000fffffffffffff) | 0x3ff0000000000000;
  if (v.d > 1.4142135623730951) { v.d *= 0.5; ++exponent; }
  const double t = (v.d - 1) / (v.d + 1), t2 = t * t;
  double sum = 0;
  for (int k = 21; k >= 1; k -= 2) sum = sum * t2 + 1.0 / k;
  return 2 * t * sum + exponent * 0.6931471805599453;
}

inline double cube_root(double x) {  // x in (0, 1]
  double y = x < 1e-3 ? 0.1 : 0.8;
  for (int i = 0; i < 40; ++i) {
    const double next = (2 * y + x / (y * y)) / 3;
    if (next == y) break;
    y = next;
  }
  return y;
}

}  // namespace detail

inline double inverse_normal(double p) {  // p in (0, 1)
  constexpr double a[] = {-3.969683028665376e+01, 2.209460984245205e+02, -2.759285104469687e+02, 1.383577518672690e+02, -3.066479806614716e+01, 2.506628277459239e+00};
  constexpr double b[] = {-5.447609879822406e+01, 1.615858368580409e+02, -1.556989798598866e+02, 6.680131188771972e+01, -1.328068155288572e+01};
  constexpr double c[] = {-7.784894002430293e-03, -3.223964580411365e-01, -2.400758277161838e+00, -2.549732539343734e+00, 4.374664141464968e+00, 2.938163982698783e+00};
  constexpr double d[] = {7.784695709041462e-03, 3.224671290700398e-01, 2.445134137142996e+00, 3.754408661907416e+00};
  constexpr double low = 0.02425;
  if (p < low || p > 1 - low) {
    const double q = detail::square_root(-2 * detail::natural_log(p < low ? p : 1 - p));
    const double x = (((((c[0] * q + c[1]) * q + c[2]) * q + c[3]) * q + c[4]) * q + c[5]) /
                     ((((d[0] * q + d[1]) * q + d[2]) * q + d[3]) * q + 1);
    return p < low ? x : -x;
  }
  const double q = p - 0.5, r = q * q;
  return (((((a[0] * r + a[1]) * r + a[2]) * r + a[3]) * r + a[4]) * r + a[5]) * q /
         (((((b[0] * r + b[1]) * r + b[2]) * r + b[3]) * r + b[4]) * r + 1);
}

// u^(-1/3), moved and scaled to the table of netem: median near 0, clamped where netem clamps.
inline double standard_pareto(double u) {
  const double x = (1.0 / detail::cube_root(u) - 1.5) * (4.0 / 3.0);
  return x > 4.0 ? 4.0 : x;
}

// A uniform draw in (0, 1), correlated with the last one as netem does it: x = rho · last + (1 - rho) · new.
inline double correlated_unit(draws& d, std::uint64_t correlation, rule_state& s) {
  double u = d.unit();
  if (correlation) {
    const double rho = correlation < abi::certain ? static_cast<double>(correlation) * 0x1.0p-32 : 1;
    const std::uint64_t last = s.memory.load(std::memory_order_relaxed);
    if (last) u = rho * (static_cast<double>(last) * 0x1.0p-63) + (1 - rho) * u;
    s.memory.store(static_cast<std::uint64_t>(u * 0x1.0p63) | 1, std::memory_order_relaxed);
  }
  return u < 0x1.0p-53 ? 0x1.0p-53 : u;
}

// What a broken page asks for may be below nothing, or beyond all time.
inline std::uint64_t whole_ns(double ns) { return ns > 0 ? static_cast<std::uint64_t>(ns < 0x1.0p62 ? ns : 0x1.0p62) : 0; }

inline std::uint64_t draw_delay(const abi::rule& r, draws& d, rule_state& s) {
  if (r.shape == abi::distribution::constant || (r.jitter_ns == 0 && r.percentile_count == 0)) return r.delay_ns;
  const double u = correlated_unit(d, r.correlation, s);
  if (r.shape == abi::distribution::percentiles) {  // linear between the points given; flat beyond the last
    const unsigned n = r.percentile_count < abi::percentile_max ? r.percentile_count : abi::percentile_max;
    double from = 0, from_value = 0;
    for (unsigned i = 0; i < n; ++i) {
      const double at = r.percentiles[i].millionths * 1e-6, value = static_cast<double>(r.percentiles[i].value_ns);
      if (u <= at) return whole_ns(from_value + (value - from_value) * (at > from ? (u - from) / (at - from) : 1));
      from = at;
      from_value = value;
    }
    return whole_ns(from_value);
  }
  double x = 0;
  switch (r.shape) {
    case abi::distribution::uniform: x = 2 * u - 1; break;
    case abi::distribution::normal: x = inverse_normal(u); break;
    case abi::distribution::pareto: x = standard_pareto(u); break;
    case abi::distribution::paretonormal: {
      const double v = d.unit();
      x = 0.25 * inverse_normal(v < 0x1.0p-53 ? 0x1.0p-53 : v) + 0.75 * standard_pareto(u);
      break;
    }
    default: break;
  }
  return whole_ns(static_cast<double>(r.delay_ns) + x * static_cast<double>(r.jitter_ns));
}

}  // namespace chaos::core
