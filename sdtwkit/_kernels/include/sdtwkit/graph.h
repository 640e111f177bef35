// Cells of graph_cell.h on the CPU: a pair after the other, row by row, on full tables.
#pragma once
#include "graph_cell.h"
#include "request.h"
#include <vector>

namespace sdtw {

template <class T> class Graph {
 public:
  explicit Graph(const Request& r) : r_(r) {}

  void run(Index pair) {
    assign(pair);
    forward();
    close();
    if (r_.samples >= 0) walk();
    if (r_.gradient.data || r_.direction.data || r_.parameter_gradient) backward();
  }

 private:
  const Request& r_;
  Index pair_ = 0;
  GraphPair<T> g_ = {};
  std::vector<double> value_, moved_, q_, curved_;  // V, its tangent (n, columns); q, its (n, columns, candidates)
  std::vector<double> seed_, seed_moved_;           // (ends,)

  template <class A> A* of_pair(const MatrixArray& a) const {
    return a.data ? static_cast<A*>(a.data) + pair_ * Index(a.pair_stride) : nullptr;
  }
  void assign(Index pair) {
    pair_ = pair;
    g_.n = Index(r_.x.length[pair]), g_.m = Index(r_.y.length[pair]), g_.columns = Index(r_.given.row_stride);
    g_.steps = Index(r_.n_steps), g_.radius = Index(r_.radius);
    g_.op = r_.op, g_.gamma = r_.gamma, g_.open_begin = r_.open_begin, g_.open_end = r_.open_end;
    g_.unweighted_direction = r_.unweighted_direction;
    g_.step = r_.steps, g_.step_weight = r_.step_weights;
    g_.given = of_pair<T>(r_.given), g_.direction = of_pair<T>(r_.direction);
    g_.mask = of_pair<unsigned char>(r_.mask), g_.step_mask = of_pair<unsigned char>(r_.step_mask);
    g_.begin_mask = of_pair<unsigned char>(r_.begin_mask), g_.end_mask = of_pair<unsigned char>(r_.end_mask);
    g_.cell_weights = of_pair<double>(r_.cell_weights);
    g_.begin_weights = of_pair<double>(r_.begin_weights), g_.end_weights = of_pair<double>(r_.end_weights);
  }
  double* candidates_at(std::vector<double>& table, Index p) { return table.data() + p * g_.candidates(); }

  void forward() {
    const std::size_t cells = std::size_t(g_.n * g_.columns), of_all = cells * std::size_t(g_.candidates());
    value_.resize(cells), q_.resize(of_all);
    if (g_.direction) moved_.resize(cells), curved_.resize(of_all);
    for (Index i = 0; i < g_.n; ++i)
      for (Index j = 0; j < g_.m; ++j) {
        const Index p = g_.at(i, j);
        double* q = candidates_at(q_, p);
        value_[std::size_t(p)] = g_.forward(i, j, value_.data(), q);
        if (g_.direction) moved_[std::size_t(p)] = g_.tangent(i, j, moved_.data(), q, candidates_at(curved_, p));
      }
  }

  void close() {
    seed_.resize(std::size_t(g_.ends()));
    static_cast<T*>(r_.value)[pair_] = T(g_.close(value_.data(), seed_.data(), Alone()));
    if (!g_.direction) return;
    seed_moved_.resize(seed_.size());
    const double slope = g_.close_tangent(moved_.data(), seed_.data(), seed_moved_.data(), Alone());
    if (r_.slope) static_cast<T*>(r_.slope)[pair_] = T(slope);
  }

  void backward() {
    std::vector<double> E(value_.size()), D(moved_.size());
    T *gradient = of_pair<T>(r_.gradient), *product = of_pair<T>(r_.product);
    double* parameters = r_.parameter_gradient ? r_.parameter_gradient + pair_ * g_.candidates() : nullptr;
    double* of_weights = of_pair<double>(r_.weight_gradient);
    if (parameters) parameters[0] = g_.omega_of_ends(seed_.data(), Alone());
    for (Index i = g_.n - 1; i >= 0; --i)
      for (Index j = g_.m - 1; j >= 0; --j) {
        const Index p = g_.at(i, j);
        const double* q = candidates_at(q_, p);
        const double e = E[std::size_t(p)] = g_.visits(i, j, seed_.data(), q_.data(), E.data());
        if (gradient) gradient[p] = T(r_.visits ? e : e * g_.paid(p, q) + g_.paid_at_end(i, j, seed_.data()));
        if (parameters) g_.add_parameters(p, e, q, parameters, of_weights ? of_weights + p * g_.steps : nullptr);
        if (!g_.direction) continue;
        const double d = D[std::size_t(p)] =
            g_.moved_visits(i, j, seed_moved_.data(), q_.data(), curved_.data(), E.data(), D.data());
        if (product)
          product[p] = T(d * g_.paid(p, q) + e * g_.paid(p, candidates_at(curved_, p)) +
                         g_.paid_at_end(i, j, seed_moved_.data()));
      }
  }

  // Paths as in walk.h.
  void walk() {
    const Index count = Index(r_.samples > 1 ? r_.samples : 1), room = g_.n + g_.m - 1;
    std::vector<double> q(std::size_t(g_.candidates()));
    for (Index k = 0; k < count; ++k) {
      const Draws draws(r_.samples > 0, r_.seed, pair_ * count + k);
      std::int64_t* cells = r_.paths + 2 * (Index(r_.path_start[pair_]) + k * room);
      r_.path_length[pair_ * count + k] = g_.path(value_.data(), seed_.data(), q.data(), draws, cells);
    }
  }
};

}  // namespace sdtw
