// Smoothed minima of any number of candidates (math-alignment page, section 2): end sets and
// general step sets need them. Cells with three predecessors use operators.h.
#pragma once
#include "level.h"

namespace sdtw {

// Hess_min(q) b for the entropy and l2 operators, by pairwise differences.
template <class T>
void smooth_min_curve(int op, double gamma, const T* q, const double* b, Index n, double* out) {
  for (Index s = 0; s < n; ++s) out[s] = 0;
  if (op == kHard) return;
  double mass = 0, mean = 0;  // <q, b> around a base candidate, so that equal b cancel exactly
  Index base = 0;
  for (Index s = 0; s < n; ++s)
    if (q[s] > q[base]) base = s;
  for (Index s = 0; s < n; ++s) {
    const double w = op == kSparse ? (q[s] > 0 ? 1. : 0.) : q[s];
    mass += w;
    if (w > 0) mean += w * (b[s] - b[base]);
  }
  if (!(mass > 0)) return;
  mean /= mass;
  for (Index s = 0; s < n; ++s) {
    const double w = op == kSparse ? (q[s] > 0 ? 1. : 0.) : q[s];
    if (w > 0) out[s] = -w * ((b[s] - b[base]) - mean) / gamma;
  }
}

// Value and probabilities q. Candidates at +inf leave the support; all infinite: +inf and q = 0.
inline double smooth_min(int op, double gamma, const double* x, Index n, double* q) {
  const double infinity = Real<double>::infinity();
  Index best = 0;
  for (Index s = 0; s < n; ++s) {
    q[s] = 0;
    if (x[s] < x[best]) best = s;
  }
  const double low = n ? x[best] : infinity;
  if (!(low < infinity)) return infinity;
  if (op == kHard) {
    q[best] = 1;
    return low;
  }
  if (op != kSparse) {
    double total = 0;
    for (Index s = 0; s < n; ++s) total += q[s] = std::exp(-(x[s] - low) / gamma);
    for (Index s = 0; s < n; ++s) q[s] /= total;
    return low - gamma * std::log(total);
  }
  // The projection on the simplex by Michelot's iteration: the threshold falls until all gaps below it have mass 1.
  double tau = 1;  // farther ones are never in the support
  for (Index count = n + 1;;) {
    double total = 0;
    Index below = 0;
    for (Index s = 0; s < n; ++s) {
      const double gap = (x[s] - low) / gamma;
      if (gap < tau) total += gap, ++below;
    }
    if (below >= count) break;
    count = below;
    tau = (1 + total) / double(count);
  }
  double mean = 0, squares = 0;
  for (Index s = 0; s < n; ++s) {
    const double gap = (x[s] - low) / gamma;
    if (!(gap < tau)) continue;
    q[s] = tau - gap;
    mean += q[s] * gap;
    squares += q[s] * q[s];
  }
  return low + gamma * (mean + 0.5 * squares);
}

}  // namespace sdtw
