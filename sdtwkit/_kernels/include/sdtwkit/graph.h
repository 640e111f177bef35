// The alignment recursion for any set of steps (math-alignment page, section 3), cell by cell in
// float64 on full tables: a literal transcription, with the start as one more candidate. Step
// sets other than left, diagonal and up are rare, and so are weights and transitions that differ
// from cell to cell; this serves them all, and checks the fast sweeps in the tests.
#pragma once
#include "smooth.h"
#include "walk.h"

namespace sdtw {

template <class T> class Graph {
 public:
  explicit Graph(const Request& r) : r_(r), steps_(r.n_steps), candidates_(r.n_steps + 1) {}

  void run(Index pair) {
    pair_ = pair;
    n_ = Index(r_.x.length[pair]), m_ = Index(r_.y.length[pair]);
    forward();
    close();
    if (r_.samples >= 0) walk();
    if (r_.gradient.data || r_.direction.data || r_.parameter_gradient) backward();
  }

 private:
  const Request& r_;
  const Index steps_, candidates_;
  Index pair_ = 0, n_ = 0, m_ = 0;
  std::vector<double> value_, moved_, q_, curved_;  // V, Vd (n, m); Q, Qd (n, m, steps + start)
  std::vector<Index> ends_;                         // cells of the end set, and over them:
  std::vector<double> seed_, seed_moved_;

  T* at(const MatrixArray& a, Index i, Index j) const {
    return static_cast<T*>(a.data) + pair_ * a.pair_stride + i * a.row_stride + j;
  }
  // Entry k of a row of bytes or weights, or what stands for an array that is not there.
  bool allows(const MatrixArray& a, Index i, Index k, bool otherwise) const {
    if (!a.data) return otherwise;
    return static_cast<const unsigned char*>(a.data)[pair_ * a.pair_stride + i * a.row_stride + k] != 0;
  }
  double weigh(const MatrixArray& a, Index i, Index k, double otherwise) const {
    return a.data ? static_cast<const double*>(a.data)[pair_ * a.pair_stride + i * a.row_stride + k] : otherwise;
  }
  Index di(Index s) const { return Index(r_.steps[2 * s]); }
  Index dj(Index s) const { return Index(r_.steps[2 * s + 1]); }
  bool is_start(Index i, Index j) const {
    const bool named = (i == 0 && j == 0) || (i == 0 && (r_.open_begin & 1)) || (j == 0 && (r_.open_begin & 2));
    return allows(r_.begin_mask, i, j, named);
  }
  bool admissible(Index i, Index j) const {
    const Index r = Index(r_.radius);
    if (r >= 0 && (j - i > r + std::max(m_ - n_, Index(0)) || i - j > r + std::max(n_ - m_, Index(0)))) return false;
    return allows(r_.mask, i, j, true);
  }
  // What a path that arrives at the cell by step s pays of its cost, or of the direction there.
  double weight(Index i, Index j, Index s, bool of_direction = false) const {
    if (of_direction && r_.unweighted_direction) return 1;
    if (s == steps_) return weigh(r_.begin_weights, i, j, 1);
    return r_.step_weights[s] * weigh(r_.cell_weights, i, j * steps_ + s, 1);
  }
  double end_weight(Index p, bool of_direction = false) const {
    return of_direction && r_.unweighted_direction ? 0 : weigh(r_.end_weights, p / m_, p % m_, 0);
  }

  void forward() {
    const double infinity = Real<double>::infinity();
    const bool tangents = r_.direction.data != nullptr;
    value_.assign(std::size_t(n_ * m_), infinity);
    q_.assign(std::size_t(n_ * m_ * candidates_), 0);
    if (tangents) moved_.assign(value_.size(), 0), curved_.assign(q_.size(), 0);
    std::vector<double> x(static_cast<std::size_t>(candidates_)), b(x.size());
    for (Index i = 0; i < n_; ++i)
      for (Index j = 0; j < m_; ++j) {
        const double c = double(*at(r_.given, i, j));
        if (!admissible(i, j) || !(c < infinity)) continue;
        for (Index s = 0; s < steps_; ++s) {
          const Index a = i - di(s), z = j - dj(s);
          const bool inside = a >= 0 && z >= 0 && allows(r_.step_mask, i, j * steps_ + s, true);
          x[std::size_t(s)] = inside ? value_[std::size_t(a * m_ + z)] + weight(i, j, s) * c : infinity;
          if (tangents) b[std::size_t(s)] = inside ? moved_[std::size_t(a * m_ + z)] : 0;
        }
        x[std::size_t(steps_)] = is_start(i, j) ? weight(i, j, steps_) * c : infinity;
        b[std::size_t(steps_)] = 0;
        const Index p = i * m_ + j;
        double* q = &q_[std::size_t(p * candidates_)];
        value_[std::size_t(p)] = smooth_min(r_.op, r_.gamma, x.data(), candidates_, q);
        if (!tangents) continue;
        const double z = double(*at(r_.direction, i, j));
        for (Index s = 0; s < candidates_; ++s) {
          b[std::size_t(s)] += weight(i, j, s, true) * z;
          moved_[std::size_t(p)] += q[s] > 0 ? q[s] * b[std::size_t(s)] : 0;
        }
        smooth_min_curve(r_.op, r_.gamma, q, b.data(), candidates_, &curved_[std::size_t(p * candidates_)]);
      }
  }

  void close() {
    ends_.clear();
    const bool open = r_.open_end || r_.end_mask.data;
    if (r_.end_mask.data)
      for (Index p = 0; p < n_ * m_; ++p) {
        if (allows(r_.end_mask, p / m_, p % m_, false)) ends_.push_back(p);
      }
    else if (!open) ends_.push_back(n_ * m_ - 1);
    if (r_.open_end & 1)
      for (Index j = 0; j < m_; ++j) ends_.push_back((n_ - 1) * m_ + j);
    if (r_.open_end & 2)
      for (Index i = 0; i < n_ - ((r_.open_end & 1) ? 1 : 0); ++i) ends_.push_back(i * m_ + m_ - 1);
    std::vector<double> x, b;
    for (Index p : ends_) {
      const Index i = p / m_, j = p % m_;
      const bool reached = value_[std::size_t(p)] < Real<double>::infinity();
      x.push_back(reached ? value_[std::size_t(p)] + end_weight(p) * double(*at(r_.given, i, j)) : value_[std::size_t(p)]);
      if (r_.direction.data) b.push_back(moved_[std::size_t(p)] + end_weight(p, true) * double(*at(r_.direction, i, j)));
      else b.push_back(0);
    }
    seed_.assign(x.size(), 0), seed_moved_.assign(x.size(), 0);
    double value = x.empty() ? Real<double>::infinity() : x[0];
    if (open) value = smooth_min(r_.op, r_.gamma, x.data(), Index(x.size()), seed_.data());
    else seed_[0] = value < Real<double>::infinity() ? 1 : 0;
    static_cast<T*>(r_.value)[pair_] = T(value);
    if (!r_.direction.data) return;
    double slope = 0;
    for (std::size_t k = 0; k < x.size(); ++k) slope += seed_[k] > 0 ? seed_[k] * b[k] : 0;
    if (r_.slope) static_cast<T*>(r_.slope)[pair_] = T(slope);
    if (open) smooth_min_curve(r_.op, r_.gamma, seed_.data(), b.data(), Index(x.size()), seed_moved_.data());
  }

  void backward() {
    const bool tangents = r_.direction.data != nullptr;
    std::vector<double> visits(value_.size(), 0), moved(tangents ? value_.size() : 0, 0);
    std::vector<double> ended(visits), end_moved(moved);  // what the ends' own weights add to gradient and product
    double smoothing = omega(seed_.data(), Index(seed_.size()));
    for (std::size_t k = 0; k < ends_.size(); ++k) {
      const std::size_t p = std::size_t(ends_[k]);
      visits[p] += seed_[k], ended[p] = seed_[k] * end_weight(ends_[k]);
      if (tangents) moved[p] += seed_moved_[k], end_moved[p] = seed_moved_[k] * end_weight(ends_[k]);
    }
    double* of_parameters = r_.parameter_gradient ? r_.parameter_gradient + pair_ * (1 + steps_) : nullptr;
    for (Index p = n_ * m_ - 1; p >= 0; --p) {
      const Index i = p / m_, j = p % m_;
      const double e = visits[std::size_t(p)], d = tangents ? moved[std::size_t(p)] : 0;
      const double* q = &q_[std::size_t(p * candidates_)];
      double gradient = ended[std::size_t(p)], product = tangents ? end_moved[std::size_t(p)] : 0;
      for (Index s = 0; s < candidates_; ++s) {
        const double c = tangents ? curved_[std::size_t(p * candidates_ + s)] : 0, w = weight(i, j, s);
        gradient += e * q[s] * w;
        product += (d * q[s] + e * c) * w;
        if (s == steps_ || !(q[s] > 0)) continue;
        const Index before = p - di(s) * m_ - dj(s);
        visits[std::size_t(before)] += q[s] * e;
        if (tangents) moved[std::size_t(before)] += q[s] * d + c * e;
        if (of_parameters) add_step(of_parameters, i, j, s, e * q[s] * double(*at(r_.given, i, j)));
      }
      if (e > 0) smoothing += e * omega(q, candidates_);
      if (r_.gradient.data) *at(r_.gradient, i, j) = T(r_.visits ? e : gradient);
      if (r_.product.data) *at(r_.product, i, j) = T(product);
    }
    if (of_parameters) of_parameters[0] = smoothing;
  }
  // d value / d gamma is Omega(q) of every choice, times how often it is made (envelope theorem).
  double omega(const double* q, Index n) const {
    double sum = 0;
    for (Index s = 0; s < n; ++s)
      if (q[s] > 0 && r_.op != kHard) sum += r_.op == kSparse ? 0.5 * q[s] * q[s] : q[s] * std::log(q[s]);
    return sum;
  }
  void add_step(double* of_parameters, Index i, Index j, Index s, double paid) const {
    of_parameters[1 + s] += weigh(r_.cell_weights, i, j * steps_ + s, 1) * paid;
    const MatrixArray& out = r_.weight_gradient;
    if (out.data)
      static_cast<double*>(out.data)[pair_ * out.pair_stride + i * out.row_stride + j * steps_ + s] = r_.step_weights[s] * paid;
  }

  // Paths as in walk.h; without randomness the most probable candidate, which is the best path
  // under the hard operator.
  void walk() {
    const Index count = std::max(r_.samples, std::int64_t(1)), room = n_ + m_ - 1;
    for (Index k = 0; k < count; ++k) {
      Uniform uniform = Uniform::of_path(r_.seed, pair_ * count + k);
      std::int64_t* cells = r_.paths + 2 * (Index(r_.path_start[pair_]) + k * room);
      std::int64_t& length = r_.path_length[pair_ * count + k];
      length = 0;
      Index p = pick(seed_.data(), Index(seed_.size()), uniform);
      if (p < 0) continue;
      p = ends_[std::size_t(p)];
      for (;;) {
        cells[2 * length] = p / m_, cells[2 * length + 1] = p % m_;
        ++length;
        const Index s = pick(&q_[std::size_t(p * candidates_)], candidates_, uniform);
        if (s == steps_) break;
        p -= di(s) * m_ + dj(s);
      }
      for (Index a = 0, z = length - 1; a < z; ++a, --z) {
        std::swap(cells[2 * a], cells[2 * z]);
        std::swap(cells[2 * a + 1], cells[2 * z + 1]);
      }
    }
  }
  Index pick(const double* q, Index n, Uniform& uniform) const {
    double u = r_.samples > 0 ? uniform() : 0;
    Index chosen = -1;
    for (Index s = 0; s < n; ++s) {
      if (!(q[s] > 0)) continue;
      chosen = s;
      if ((u -= q[s]) < 0) break;
    }
    return chosen;
  }
};

}  // namespace sdtw
