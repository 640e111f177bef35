// One warp from beginning to end, behind pointers: what the door hands down, and the order of search and certificate.
#pragma once
#include "warp_optimality.h"
#include "warp_search.h"
#include <memory>

namespace sdtw {
namespace warp {

struct Warp {
  Problem problem = {};
  const double *bound_lower = nullptr, *bound_upper = nullptr;  // (n,) the user's, not tightened by slopes
  double tolerance = 0;
  std::unique_ptr<Optimality> optimality;

  // IN products (n, nx), y(t_i) . x_k, or null. OUT phi (n,).
  Found search(const double* products, Index candidates, double* phi) const {
    Search search(problem);
    if (problem.loss.shape == kSquare && !problem.symmetric && !(problem.cum > 0)) {
      SquareNodes nodes(problem, products);
      return search.run(nodes, candidates, phi);
    }
    AnyNodes nodes(problem);
    return search.run(nodes, candidates, phi);
  }

  // INOUT phi (n,), snapped to the bounds and sample times that it touches. OUT held (n,), joined (n - 1,), node (n,) and
  // slope (n - 1,) multipliers; residual, scale.
  double certify(double* phi, signed char* held, signed char* joined, double* nodes, double* slopes, double* residual,
                 double* scale) {
    optimality.reset();
    const std::vector<double> found(phi, phi + problem.n);
    for (double snap : {tolerance, tolerance / 1024}) {  // the latter where nodes are close to what does not hold them
      if (!settled()) consider(found, snap);
      if (!settled()) consider(optimality->corrected(problem.lower, problem.upper), snap);
    }
    std::copy(optimality->phi().begin(), optimality->phi().end(), phi);
    std::copy(optimality->held().begin(), optimality->held().end(), held);
    std::copy(optimality->joined().begin(), optimality->joined().end(), joined);
    for (Index i = 0; i < problem.n; ++i) nodes[i] = optimality->node_multiplier(i);
    for (Index j = 0; j + 1 < problem.n; ++j) slopes[j] = optimality->slope_multiplier(j);
    *residual = optimality->residual(), *scale = optimality->scale();
    return objective(problem, phi);
  }

 private:
  static constexpr double kRounding = 1e-12;  // share of the scale of forces: a larger residual is worth another try

  bool settled() const { return optimality && optimality->residual() <= kRounding * optimality->scale(); }
  void consider(const std::vector<double>& phi, double snap) {
    std::unique_ptr<Optimality> trial(new Optimality(problem, phi.data(), bound_lower, bound_upper, snap));
    if (!optimality || (feasible(phi) && trial->residual() < optimality->residual())) optimality = std::move(trial);
  }
  bool feasible(const std::vector<double>& phi) const {
    for (Index j = 0; j + 1 < problem.n; ++j) {
      const double rise = phi[j + 1] - phi[j], d = problem.step(j);
      if (rise < problem.slope_lower[j] * d - tolerance || rise > problem.slope_upper[j] * d + tolerance) return false;
    }
    return true;
  }
};

}  // namespace warp
}  // namespace sdtw
