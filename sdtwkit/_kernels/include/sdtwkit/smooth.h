// Smoothed minima of any number of candidates (math-alignment page, section 2): end sets and
// general step sets need them. Cells with three predecessors use operators.h.
//
// One thread computes one, or threads share the candidates of one: a `Team` says which are a
// member's own, and combines numbers over its members. A member reads and writes its own entries
// alone, and results may take the place of what they are computed from.
#pragma once
#include "operators.h"

namespace sdtw {

struct Alone {
  SDTW_FN Index first() const { return 0; }
  SDTW_FN Index step() const { return 1; }
  template <class T, class Combine> SDTW_FN T all(T x, Combine) const { return x; }
};

// Hess_min(q) b for the entropy and l2 operators, by pairwise differences; out may be b.
template <class T, class Team>
SDTW_FN void smooth_min_curve(int op, double gamma, const T* q, const double* b, Index n, double* out, Team team) {
  const Index first = team.first(), step = team.step();
  // <q, b> around a base candidate, the most probable one, so that equal b cancel exactly.
  double top = 0, origin = -Real<double>::infinity(), mass = 0, mean = 0;
  Index base = n;
  for (Index s = first; s < n; s += step) top = max2(top, double(q[s]));
  top = team.all(top, Largest());
  for (Index s = first; s < n; s += step)
    if (double(q[s]) == top) base = min2(base, s);
  base = team.all(base, Least());
  for (Index s = first; s < n; s += step)
    if (s == base) origin = b[s];
  origin = team.all(origin, Largest());
  const auto share = [&](Index s) -> double { return op == kSparse ? (q[s] > 0 ? 1. : 0.) : double(q[s]); };
  for (Index s = first; s < n; s += step) {
    const double w = share(s);
    mass += w;
    if (w > 0) mean += w * (b[s] - origin);
  }
  mass = team.all(mass, Sum()), mean = team.all(mean, Sum()) / mass;
  const bool bends = op != kHard && mass > 0;
  for (Index s = first; s < n; s += step) {
    const double w = share(s);
    out[s] = bends && w > 0 ? -w * ((b[s] - origin) - mean) / gamma : 0;
  }
}

// Value and probabilities q, which may be x. Candidates at +inf leave the support; all infinite: +inf and q = 0.
template <class Team>
SDTW_FN double smooth_min(int op, double gamma, const double* x, Index n, double* q, Team team) {
  const double infinity = Real<double>::infinity();
  const Index first = team.first(), step = team.step();
  double low = infinity;
  for (Index s = first; s < n; s += step) low = min2(low, x[s]);
  low = team.all(low, Least());
  if (!(low < infinity)) {
    for (Index s = first; s < n; s += step) q[s] = 0;
    return infinity;
  }
  if (op == kHard) {  // the first of the best
    Index best = n;
    for (Index s = first; s < n; s += step)
      if (x[s] == low) best = min2(best, s);
    best = team.all(best, Least());
    for (Index s = first; s < n; s += step) q[s] = s == best ? 1 : 0;
    return low;
  }
  if (op != kSparse) {
    double total = 0;
    for (Index s = first; s < n; s += step) total += q[s] = exp(-(x[s] - low) / gamma);
    total = team.all(total, Sum());
    for (Index s = first; s < n; s += step) q[s] /= total;
    return low - gamma * log(total);
  }
  // The projection on the simplex by Michelot's iteration: the threshold falls until all gaps below it have mass 1.
  double tau = 1;  // farther ones are never in the support
  for (double count = double(n) + 1;;) {
    double total = 0, below = 0;
    for (Index s = first; s < n; s += step) {
      const double gap = (x[s] - low) / gamma;
      if (gap < tau) total += gap, below += 1;
    }
    total = team.all(total, Sum()), below = team.all(below, Sum());
    if (below >= count) break;
    count = below;
    tau = (1 + total) / count;
  }
  double mean = 0, squares = 0;
  for (Index s = first; s < n; s += step) {
    const double gap = (x[s] - low) / gamma;
    q[s] = gap < tau ? tau - gap : 0;
    if (q[s] > 0) mean += q[s] * gap, squares += q[s] * q[s];
  }
  return low + gamma * (team.all(mean, Sum()) + 0.5 * team.all(squares, Sum()));
}

// Omega(q): what the smoothed minimum adds, over gamma.
template <class Team> SDTW_FN double omega(int op, const double* q, Index n, Team team) {
  double sum = 0;
  for (Index s = team.first(); s < n; s += team.step())
    if (q[s] > 0 && op != kHard) sum += op == kSparse ? 0.5 * q[s] * q[s] : q[s] * log(q[s]);
  return team.all(sum, Sum());
}

// The candidate that a number u in [0, 1) draws: the first one for 0. -1 if none is probable.
SDTW_FN Index pick(const double* q, Index n, double u) {
  Index chosen = -1;
  for (Index s = 0; s < n; ++s) {
    if (!(q[s] > 0)) continue;
    chosen = s;
    if ((u -= q[s]) < 0) break;
  }
  return chosen;
}

}  // namespace sdtw
