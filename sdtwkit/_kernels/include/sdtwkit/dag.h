// Smoothed shortest paths in any directed graph without cycles, whose nodes come in topological order
// and whose edges are stored with their heads (CSR): a literal transcription in float64,
//
//     V(v) = min_Omega over the edges e into v of V(source of e) + cost(e),   value = V(last node),
//
// and V = 0 where no edge leads. Alignments and chains are special cases with kernels of their own.
#pragma once
#include "request.h"
#include "smooth.h"
#include <vector>

namespace sdtw {

struct DagRequest {
  std::int64_t problems = 0, nodes = 0, edges = 0;  // B, N, E
  const std::int64_t* first = nullptr;   // IN (N + 1,) the edges into v are [first[v], first[v + 1])
  const std::int64_t* source = nullptr;  // IN (E,) the node an edge leaves, always an earlier one
  int op = 0;                            // level.h: Operator
  double gamma = 1;
  const double* cost = nullptr;          // IN (B, E)
  double* value = nullptr;               // OUT (B,)
  double* marginals = nullptr;           // OUT (B, E); null: not wanted
  const double* direction = nullptr;     // IN (B, E); null: first order only
  double* slope = nullptr;               // OUT (B,)
  double* product = nullptr;             // OUT (B, E)
  int (*interrupted)() = nullptr;        // polled between problems
};

class Dag {
 public:
  explicit Dag(const DagRequest& r)
      : r_(r), value_(std::size_t(r.nodes)), moved_(std::size_t(r.nodes)), visits_(std::size_t(r.nodes)),
        visits_moved_(std::size_t(r.nodes)), q_(std::size_t(r.edges)), curved_(r.direction ? q_.size() : 0) {
    std::int64_t widest = 0;
    for (Index v = 0; v < Index(r.nodes); ++v) widest = std::max(widest, r.first[v + 1] - r.first[v]);
    x_.resize(std::size_t(widest)), b_.resize(std::size_t(widest));
  }

  void run(Index problem) {
    const Index at = problem * Index(r_.edges);
    forward(r_.cost + at, r_.direction ? r_.direction + at : nullptr);
    r_.value[problem] = value_.back();
    if (r_.direction) r_.slope[problem] = moved_.back();
    if (r_.marginals || r_.product) backward(r_.marginals ? r_.marginals + at : nullptr, r_.product ? r_.product + at : nullptr);
  }

 private:
  const DagRequest& r_;
  std::vector<double> value_, moved_, visits_, visits_moved_;  // (N,) V, Vd and the visits of a node
  std::vector<double> q_, curved_, x_, b_;  // (E,) probabilities and their tangents; candidates of a node

  void forward(const double* cost, const double* direction) {
    for (Index v = 0; v < Index(r_.nodes); ++v) {
      const Index begin = Index(r_.first[v]), count = Index(r_.first[v + 1]) - begin;
      value_[std::size_t(v)] = moved_[std::size_t(v)] = 0;
      if (count == 0) continue;
      double* q = q_.data() + begin;
      for (Index e = 0; e < count; ++e) x_[std::size_t(e)] = value_[source(begin + e)] + cost[begin + e];
      value_[std::size_t(v)] = smooth_min(r_.op, r_.gamma, x_.data(), count, q, Alone());
      if (!direction) continue;
      for (Index e = 0; e < count; ++e) {
        b_[std::size_t(e)] = moved_[source(begin + e)] + direction[begin + e];
        moved_[std::size_t(v)] += q[e] > 0 ? q[e] * b_[std::size_t(e)] : 0;
      }
      smooth_min_curve(r_.op, r_.gamma, q, b_.data(), count, curved_.data() + begin, Alone());
    }
  }

  void backward(double* marginals, double* product) {
    std::fill(visits_.begin(), visits_.end(), 0.);
    std::fill(visits_moved_.begin(), visits_moved_.end(), 0.);
    visits_.back() = value_.back() < Real<double>::infinity() ? 1 : 0;
    for (Index v = Index(r_.nodes) - 1; v >= 0; --v)
      for (Index e = Index(r_.first[v]); e < Index(r_.first[v + 1]); ++e) {
        const std::size_t k = std::size_t(e);
        const double visit = q_[k] * visits_[std::size_t(v)];
        visits_[source(e)] += visit;
        if (marginals) marginals[e] = visit;
        if (!product) continue;
        product[e] = q_[k] * visits_moved_[std::size_t(v)] + curved_[k] * visits_[std::size_t(v)];
        visits_moved_[source(e)] += product[e];
      }
  }
  std::size_t source(Index e) const { return std::size_t(r_.source[e]); }
};

inline Status run_dag(const DagRequest& request) {  // throws std::bad_alloc
  Dag dag(request);
  for (Index b = 0; b < Index(request.problems); ++b) {
    if (request.interrupted && request.interrupted()) return kInterrupted;
    dag.run(b);
  }
  return kDone;
}

}  // namespace sdtw
