// One warp from beginning to end: the search, then the certificate and what it leaves for derivatives.
#pragma once
#include "warp_optimality.h"
#include "warp_search.h"

namespace sdtw {
namespace warp {

// IN products (n, nx), y(t_i) . x_k, or null. OUT phi (n,). On a device by one lane.
inline Found search(const Problem& problem, const double* products, Index candidates, double* phi) {
  Search search(problem);
  if (problem.loss.shape == kSquare && !problem.symmetric && !(problem.cum > 0)) {
    SquareNodes nodes(problem, products);
    return search.run(nodes, candidates, phi);
  }
  AnyNodes nodes(problem);
  return search.run(nodes, candidates, phi);
}

// On a device by all lanes, on an object that all of them see.
class Certificate {
 public:
  explicit Certificate(const Problem& p) : p_(p), kept_{Optimality(p), Optimality(p)}, pull_(p.memory), moved_(p.memory) {}

  // IN found (n,); bound_lower, bound_upper (n,), the user's, not tightened by slopes.
  void certify(const double* found, const double* bound_lower, const double* bound_upper, double tolerance) {
    if (Lanes::lead()) best_ = -1;
    Lanes::meet();
    const double snaps[] = {tolerance, tolerance / 1024};  // the latter where nodes are close to what does not hold them
    for (double snap : snaps) {
      if (!settled()) consider(found, bound_lower, bound_upper, tolerance, snap);
      if (settled()) break;
      if (Lanes::lead()) {
        pull_.assign(size_t(p_.n), 0), moved_.assign(size_t(p_.n), 0);
        best().correct(p_.lower, p_.upper, pull_.data(), moved_.data());
      }
      Lanes::meet();
      consider(moved_.data(), bound_lower, bound_upper, tolerance, snap);
    }
  }
  const Optimality& best() const { return kept_[best_]; }

 private:
  static constexpr double kRounding = 1e-12;  // share of the scale of forces: a larger residual is worth another try
  const Problem& p_;
  Optimality kept_[2];
  int best_ = -1;
  Array<double> pull_, moved_;

  bool settled() const { return best_ >= 0 && best().residual() <= kRounding * best().scale(); }
  void consider(const double* phi, const double* bound_lower, const double* bound_upper, double tolerance, double snap) {
    const int trial = best_ == 0;
    kept_[trial].examine(phi, bound_lower, bound_upper, snap);
    const bool better =
        best_ < 0 || (feasible(phi, tolerance) && kept_[trial].residual() < kept_[best_].residual());
    Lanes::meet();
    if (Lanes::lead() && better) best_ = trial;
    Lanes::meet();
  }
  bool feasible(const double* phi, double tolerance) const {
    for (Index j = 0; j + 1 < p_.n; ++j) {
      const double rise = phi[j + 1] - phi[j], d = p_.step(j);
      if (rise < p_.slope_lower[j] * d - tolerance || rise > p_.slope_upper[j] * d + tolerance) return false;
    }
    return true;
  }
};

// A problem and its certificate, behind pointers.
struct Warp {
  Problem problem = {};
  const double *bound_lower = nullptr, *bound_upper = nullptr;  // (n,) of phi, not tightened by slopes
  double tolerance = 0;
  Certificate certificate;

  explicit Warp(Memory memory = Memory()) : certificate((problem.memory = memory, problem)) {}

  // INOUT phi (n,), snapped to the bounds and sample times that it touches. OUT held (n,),
  // joined (n - 1,), node (n,) and slope (n - 1,) multipliers; residual, scale. -> objective.
  double certify(double* phi, signed char* held, signed char* joined, double* nodes, double* slopes, double* residual,
                 double* scale) {
    certificate.certify(phi, bound_lower, bound_upper, tolerance);
    return report(phi, held, joined, nodes, slopes, residual, scale);
  }
  // The same of what has been certified; phi is OUT alone.
  double report(double* phi, signed char* held, signed char* joined, double* nodes, double* slopes, double* residual,
                double* scale) const {
    const Optimality& best = certificate.best();
    for (Index i = Lanes::first(); i < problem.n; i += Lanes::stride())
      phi[i] = best.phi(i), held[i] = best.held(i), nodes[i] = best.node_multiplier(i);
    for (Index j = Lanes::first(); j + 1 < problem.n; j += Lanes::stride())
      joined[j] = best.joined(j), slopes[j] = best.slope_multiplier(j);
    Lanes::meet();
    *residual = best.residual(), *scale = best.scale();
    return objective(problem, phi);
  }
};

}  // namespace warp
}  // namespace sdtw
