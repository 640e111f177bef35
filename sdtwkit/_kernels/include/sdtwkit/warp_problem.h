// One continuous warp (DecDTW): which phi(t_1) .. phi(t_n) minimise
//
//     sum_i w_i [ sum_c rho(x_c(phi_i) - y_c(t_i)) + cum R(phi_i - t_i) ] + sum_j lam_j d_j S((phi_{j+1} - phi_j) / d_j - s)
//
// within bounds of each phi_i and of each slope? Here is the problem and what one node or one interval contributes:
// between two breaks of a node's cost (sample times, sign changes) everything is quadratic.
#pragma once
#include "warp_memory.h"

namespace sdtw {
namespace warp {

constexpr double kEpsilon = 0x1p-52;  // of float64

enum Shape { kSquare = 0, kAbsolute = 1, kHuber = 2 };

// rho: r^2, |r|, or Huber's: r^2 / 2 up to delta, delta (|r| - delta / 2) beyond.
struct Loss {
  int shape;
  double delta;

  double value(double r) const {
    const double a = fabs(r);
    return shape == kSquare ? r * r : shape == kAbsolute ? a : a < delta ? r * r / 2 : delta * (a - delta / 2);
  }
  // Derivative; that of |r| at 0 is the sign of `side`.
  double slope(double r, double side) const {
    if (shape == kSquare) return 2 * r;
    if (shape == kAbsolute) return r != 0 ? (r > 0) - (r < 0) : (side > 0) - (side < 0);
    return min(max(r, -delta), delta);
  }
  double curvature(double r) const {
    return shape == kSquare ? 2 : shape == kHuber && fabs(r) < delta ? 1 : 0;
  }
};

struct Problem {
  Index n, nx, ny, channels;
  const double* t;                    // (n,) warp times
  const double *x, *tx, *y, *ty;      // (nx, channels), (nx,), (ny, channels), (ny,)
  const double* reg;                  // (n - 1,) lam_j >= 0
  const double *slope_lower, *slope_upper;  // (n - 1,), of phi'
  const double *lower, *upper;        // (n,) bounds of phi, every point of which a feasible path passes
  double target;                      // s
  Loss loss, reg_loss, cum_loss;
  double cum;
  bool symmetric;                     // y is read at 2 t - phi
  Memory memory;                      // of all arrays that a solution needs

  double step(Index j) const { return t[j + 1] - t[j]; }
  double weight(Index i) const {
    return ((i > 0 ? t[i] - t[i - 1] : 0) + (i + 1 < n ? t[i + 1] - t[i] : 0)) / 2;
  }
  double penalty(Index j, double rise) const { return reg[j] * step(j) * reg_loss.value(rise / step(j) - target); }
};

// Where u lies among sample times: between times[k] and times[k + 1], at the fraction a. `shift` says from which side a
// sample time is seen, and how close to one u counts as lying on it.
struct Place {
  Index k;
  double a, length;
};
inline Place place(const double* times, Index count, double u, double shift) {
  if (count < 2) return {0, 0, kInfinity};
  const Index k = Index(upper_bound(times, times + count, u + shift) - times) - 1;
  const Index within = min(max(k, Index(0)), count - 2);
  const double length = times[within + 1] - times[within];
  return {within, (u - times[within]) / length, length};
}

// a - b, and 0 where that is no more than rounding: plateaus are flat then, and where nothing resists is seen.
inline double difference(double a, double b) {
  constexpr double kRounding = 4 * kEpsilon;
  return fabs(a - b) > kRounding * (fabs(a) + fabs(b)) ? a - b : 0;
}

// A series by its samples, read at a place: value and slope of one channel. A single sample is constant.
struct Reading {
  const double *low, *high;
  double a, inverse;
  Reading(const double* data, Index channels, const Place& at)
      : low(data + at.k * channels), high(at.length < kInfinity ? low + channels : low), a(at.a), inverse(1 / at.length) {}
  double value(Index c) const { return (1 - a) * low[c] + a * high[c]; }
  double slope(Index c) const { return difference(high[c], low[c]) * inverse; }
};

// Residual r_c = x_c(u) - y_c and its derivative in u, seen from one side of u.
struct Residual {
  Place at_x, at_y;
  Reading x, y;
  bool symmetric;
  Residual(const Problem& p, Index i, double u, double shift)
      : at_x(place(p.tx, p.nx, u, shift)),
        at_y(p.symmetric ? place(p.ty, p.ny, 2 * p.t[i] - u, -shift) : place(p.ty, p.ny, p.t[i], 0)),
        x(p.x, p.channels, at_x), y(p.y, p.channels, at_y), symmetric(p.symmetric) {}
  double value(Index c) const { return x.value(c) - y.value(c); }
  double slope(Index c) const { return symmetric ? difference(x.slope(c), -y.slope(c)) : x.slope(c); }
  // Whether r_c has a root that is closer to u than `reach`, or than rounding could tell.
  bool root(Index c, double reach) const {
    constexpr double kRounding = 16 * kEpsilon;
    return fabs(value(c)) <= reach * fabs(slope(c)) + kRounding * (fabs(x.value(c)) + fabs(y.value(c)));
  }
};

// value + slope (u - at) + curvature (u - at)^2 / 2 from `at` to the next one's.
struct Quadratic {
  double at, value, slope, curvature;
  double value_at(double u) const { return value + (u - at) * (slope + curvature * (u - at) / 2); }
  double slope_at(double u) const { return slope + curvature * (u - at); }
};

// What node i costs at u: value, and derivative and curvature on the side of u that the sign of `shift` names. Sample
// times and roots of residuals (loss kAbsolute) closer than `shift` count as lying on u. Where both do, roots may be
// seen from the other side: `root_side` -1.
SDTW_CALLED Quadratic node_at(const Problem& p, Index i, double u, double shift, double root_side = 1) {
  const Residual r(p, i, u, shift);
  const double side = root_side * shift;
  Quadratic q = {u, 0, 0, 0};
  for (Index c = 0; c < p.channels; ++c) {
    const double value = r.value(c), slope = r.slope(c);
    const bool root = p.loss.shape == kAbsolute && shift != 0 && r.root(c, fabs(shift));
    q.value += p.loss.value(value);
    q.slope += p.loss.slope(root ? 0 : value, side * slope) * slope;
    q.curvature += p.loss.curvature(value) * slope * slope;
  }
  if (p.cum > 0) {
    const double value = u - p.t[i];
    const bool root = p.cum_loss.shape == kAbsolute && fabs(value) <= fabs(shift);
    q.value += p.cum * p.cum_loss.value(value);
    q.slope += p.cum * p.cum_loss.slope(root ? 0 : value, side);
    q.curvature += p.cum * p.cum_loss.curvature(value);
  }
  const double w = p.weight(i);
  return {u, w * q.value, w * q.slope, w * q.curvature};
}

// The cost of node i over [from, to] as quadratics, for any loss. Between sample times each kink of a channel adds its
// own jump, so that a segment costs O(channels log channels).
class AnyNodes {
 public:
  explicit AnyNodes(const Problem& p) : p_(p), times_(p.memory), jumps_(p.memory) {}

  SDTW_CALLED void pieces(Index i, double from, double to, Array<Quadratic>& out) {
    times_.clear();
    times_.push_back(from), times_.push_back(to);
    add_between(p_.tx, p_.tx + p_.nx, from, to, [](double time) { return time; });
    if (p_.symmetric) {
      const double twice = 2 * p_.t[i];
      add_between(p_.ty, p_.ty + p_.ny, twice - to, twice - from, [=](double time) { return twice - time; });
    }
    sort(times_.begin(), times_.end());
    out.clear();
    for (size_t k = 0; k + 1 < times_.size(); ++k)
      if (times_[k] < times_[k + 1]) segment(i, times_[k], times_[k + 1], out);
    if (out.empty()) out.push_back(node_at(p_, i, from, 0));
  }
  SDTW_CALLED void sample(Index i, double first, double step, Index count, double* values) const {
    for (Index j = 0; j < count; ++j)
      values[j] += node_at(p_, i, min(max(first + double(j) * step, p_.tx[0]), p_.tx[p_.nx - 1]), 0).value;
  }

 private:
  struct Jump {
    double at, slope, curvature;
  };
  const Problem& p_;
  Array<double> times_;
  Array<Jump> jumps_;

  template <class F> void add_between(const double* first, const double* last, double from, double to, F&& position) {
    for (const double* time = upper_bound(first, last, from); time < last && *time < to; ++time)
      times_.push_back(position(*time));
  }
  // Where weight * rho(r), r = change (u - root), bends within (from, to).
  void add_jumps(const Loss& loss, double weight, double root, double change, double from, double to) {
    const auto add = [&](double u, double slope, double curvature) {
      if (from < u && u < to) jumps_.push_back({u, weight * slope, weight * curvature});
    };
    const double square = change * change, reach = loss.delta / fabs(change);
    if (loss.shape == kAbsolute) add(root, 2 * fabs(change), 0);
    if (loss.shape == kHuber) add(root - reach, 0, square), add(root + reach, 0, -square);
  }
  SDTW_CALLED void segment(Index i, double from, double to, Array<Quadratic>& out) {
    jumps_.clear();
    const double w = p_.weight(i), middle = from / 2 + to / 2;
    const Residual r(p_, i, middle, 0);
    for (Index c = 0; p_.loss.shape != kSquare && c < p_.channels; ++c)
      if (const double slope = r.slope(c)) add_jumps(p_.loss, w, middle - r.value(c) / slope, slope, from, to);
    if (p_.cum > 0) add_jumps(p_.cum_loss, w * p_.cum, p_.t[i], 1, from, to);
    sort(jumps_.begin(), jumps_.end(), [](const Jump& a, const Jump& b) { return a.at < b.at; });

    // Read off in the middle of the widest gap, where no rounding can mistake the side of a kink.
    const auto start = [&](size_t k) { return k > 0 ? jumps_[k - 1].at : from; };
    const auto end = [&](size_t k) { return k < jumps_.size() ? jumps_[k].at : to; };
    size_t widest = 0;
    for (size_t k = 1; k <= jumps_.size(); ++k)
      if (end(k) - start(k) > end(widest) - start(widest)) widest = k;
    Quadratic q = node_at(p_, i, start(widest) / 2 + end(widest) / 2, 0);
    for (size_t k = widest; k > 0; --k) q = bent(q, jumps_[k - 1], -1);
    out.push_back({from, q.value_at(from), q.slope_at(from), q.curvature});
    for (const Jump& jump : jumps_) out.push_back(bent(out.back(), jump, 1));
  }
  static Quadratic bent(const Quadratic& q, const Jump& jump, double sign) {
    return {jump.at, q.value_at(jump.at), q.slope_at(jump.at) + sign * jump.slope, q.curvature + sign * jump.curvature};
  }
};

// The same for squared norms, O(1) for each: all distances between samples come from the table y(t_i) . x_k (n, nx),
// which one matrix product makes. Without a table (few channels, or no room for it) the products are made when needed.
class SquareNodes {
 public:
  SquareNodes(const Problem& p, const double* products)
      : p_(p), products_(products), xx_(p.nx, p.memory), yy_(p.n, p.memory), y_(p.n * p.channels, p.memory),
        segments_(p.memory) {
    const Index d = p.channels;
    for (Index k = 0; k < p.nx; ++k) xx_[k] = dot(p.x + k * d, p.x + k * d);
    for (Index i = 0; i < p.n; ++i) {
      const Place at = place(p.ty, p.ny, p.t[i], 0);
      const Reading y(p.y, d, at);
      for (Index c = 0; c < d; ++c) y_[i * d + c] = y.value(c);
      yy_[i] = dot(&y_[i * d], &y_[i * d]);
    }
    for (Index k = 0; k + 1 < p.nx; ++k) {
      const double length = p.tx[k + 1] - p.tx[k];
      const Reading x(p.x, d, Place{k, 0, length});
      double square = 0;
      for (Index c = 0; c < d; ++c) square += x.slope(c) * x.slope(c);
      segments_.push_back({1 / length, (xx_[k + 1] - xx_[k]) / length - length * square, square});
    }
    if (segments_.empty()) segments_.push_back({0, 0, 0});
  }

  SDTW_CALLED void pieces(Index i, double from, double to, Array<Quadratic>& out) const {
    out.clear();
    Index k = place(p_.tx, p_.nx, from, 0).k;
    const double w = p_.weight(i);
    double here = product(i, k);
    for (double at = from;;) {
      const double there = k + 1 < p_.nx ? product(i, k + 1) : here;
      const Quadratic q = segment(i, k, here, there);
      out.push_back({at, w * q.value_at(at), w * q.slope_at(at), w * q.curvature});
      ++k;
      if (k + 1 >= p_.nx || p_.tx[k] >= to) break;
      at = p_.tx[k], here = there;
    }
  }
  // OUT values (count,) += cost of node i at first, first + step, ..., as seen within [tx_1, tx_nx].
  SDTW_CALLED void sample(Index i, double first, double step, Index count, double* values) const {
    Index k = place(p_.tx, p_.nx, first, 0).k;
    const double w = p_.weight(i), last = p_.tx[p_.nx - 1];
    for (Index j = 0; j < count; ++j) {
      const double u = min(max(first + double(j) * step, p_.tx[0]), last);
      while (k + 2 < p_.nx && p_.tx[k + 1] <= u) ++k;
      const double here = product(i, k);
      values[j] += w * segment(i, k, here, k + 1 < p_.nx ? product(i, k + 1) : here).value_at(u);
    }
  }

 private:
  struct Segment {
    double inverse, slope, square;
  };
  const Problem& p_;
  const double* products_;
  Array<double> xx_, yy_, y_;
  Array<Segment> segments_;

  double dot(const double* a, const double* b) const {
    double sum = 0;
    for (Index c = 0; c < p_.channels; ++c) sum += a[c] * b[c];
    return sum;
  }
  double product(Index i, Index k) const {
    return products_ ? products_[i * p_.nx + k] : dot(&y_[i * p_.channels], p_.x + k * p_.channels);
  }
  // ||x(u) - y_i||^2 on the segment k, from its left end; IN the products at both ends.
  Quadratic segment(Index i, Index k, double here, double there) const {
    const Segment& s = segments_[k];
    return {p_.tx[k], xx_[k] + yy_[i] - 2 * here, s.slope - 2 * (there - here) * s.inverse, 2 * s.square};
  }
};

}  // namespace warp
}  // namespace sdtw
