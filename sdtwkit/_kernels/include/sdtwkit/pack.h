// A pack: up to kPack pairs side by side, interleaved so that lane i * P + p is row i of pair p,
// and the strips its rows are cut into. Here are the layout and the copies between the caller's
// arrays and lanes; the passes are in sweep.h.
#pragma once
#include "plan.h"
#include <algorithm>

namespace sdtw {

constexpr Index kPack = 16;

struct Strip {
  Index first_row, rows;
  Index first_column, columns;  // those that hold an admissible cell in any of its rows
  Index steps() const { return rows + columns - 1; }
};

template <class T> class Pack {
 public:
  const Plan<T>& plan;
  Index pair[kPack], n[kPack], m[kPack];  // ids and lengths
  Index P = 0, n_max = 0, m_max = 0, pitch = 0, depth = 0;  // depth: steps between checkpoints
  std::vector<Strip> strips;

  explicit Pack(const Plan<T>& p) : plan(p) {}

  Index out_pitch() const { return pitch + 2 * kLanes; }  // of blocks of gradients, zeros on both sides

  void assign(const Index* pairs, Index count) {
    P = count;
    n_max = m_max = 0;
    for (Index p = 0; p < P; ++p) {
      pair[p] = pairs[p], n[p] = plan.n(pair[p]), m[p] = plan.m(pair[p]);
      n_max = std::max(n_max, n[p]), m_max = std::max(m_max, m[p]);
    }
    cut_strips();
    if (plan.request.x.data) interleave_series();
  }

  // Local costs of steps [t0, t1) of a strip, +inf where forbidden.
  void fill_costs(const Strip& s, Index t0, Index t1, T* cost, typename Real<T>::Exponent* limits) const {
    const Request& r = plan.request;
    Index begin, end;
    lanes(s, t0, t1, begin, end);
    if (r.x.data) {
      plan.loops.cost[r.cost](series_block(s, t0, t1, cost, nullptr));
    } else {
      for (Index t = t0; t < t1; ++t) std::fill_n(cost + (t - t0) * pitch + begin, end - begin, T(0));
    }
    if (r.given.data) copy_in<true>(r.given, s, t0, t1, cost);
    if (plan.variant == kPlain) return;
    if (r.mask.data) forbid_masked(s, t0, t1, cost);
    plan.loops.forbid({t0, t1, pitch, begin, end, limits, limits + pitch, cost});
  }

  // Whether a vector of lanes is a vector of pairs throughout, and nothing but hard values is wanted: tile.h.
  bool tiled() const {
    const Request& r = plan.request;
    return plan.op_kind == kHard && plan.variant == kPlain && !plan.first_order && !plan.paths && r.x.data &&
           !r.given.data && r.open_end == 0 && P % plan.loops.vector_lanes == 0;
  }
  void hard_rows(TileBlock<T> b, const Strip& s) const {
    const SeriesBlock<T> series = series_block(s, 0, 1, nullptr, nullptr);
    b.stride = P, b.channels = series.channels, b.parameter = series.parameter;
    b.x = series.x, b.x_pitch = series.x_pitch, b.y = series.y, b.y_pitch = series.y_pitch;
    plan.loops.hard_rows[plan.request.cost](b);
  }

  // Direction of the tangent over the same steps; along the costs, 0 where they forbid a cell.
  void fill_direction(const Strip& s, Index t0, Index t1, const T* cost, T* direction) const {
    std::fill_n(direction, (t1 - t0) * pitch, T(0));
    if (!plan.request.along_costs) return copy_in<false>(plan.request.direction, s, t0, t1, direction);
    Index begin, end;
    lanes(s, t0, t1, begin, end);
    for (Index t = t0; t < t1; ++t)
      for (Index k = (t - t0) * pitch + begin; k < (t - t0) * pitch + end; ++k)
        direction[k] = cost[k] < Real<T>::infinity() ? cost[k] : T(0);
  }

  // First and last step of each lane's admissible cells, for loops.forbid.
  void step_limits(const Strip& s, typename Real<T>::Exponent* limits) const {
    using E = typename Real<T>::Exponent;
    for (Index lane = 0; lane < pitch; ++lane) {
      const Index i = lane / P, p = lane % P, row = s.first_row + i;
      Index low = 1, high = 0;
      if (i < s.rows && row < n[p]) {
        Index from, to;
        columns_of(row, p, from, to);
        low = std::max(from - s.first_column, Index(0)) + i;
        high = std::min(to - s.first_column, s.columns - 1) + i;
      }
      limits[lane] = E(low);
      limits[pitch + lane] = E(high);
    }
  }

  // Adds a block of d value / d C to the gradients of the series.
  void pull_back(const Strip& s, Index t0, Index t1, T* weight, T* cost) {
    auto block = series_block(s, t0, t1, cost, weight);
    if (plan.request.cost == kEuclidean) plan.loops.cost[kEuclidean](block);
    plan.loops.pull_back[plan.request.cost](block);
  }

  // Writes the cells of a block to the pairs' matrices.
  void copy_out(const MatrixArray& to, const Strip& s, Index t0, Index t1, const T* block) const {
    if (P == 1) {
      T* corner = static_cast<T*>(to.data) + pair[0] * to.pair_stride + s.first_row * to.row_stride + s.first_column;
      each_step(s, t0, t1, [&](Index t, Index from, Index until) {
        const T* lane = block + (t - t0) * out_pitch();
        T* cells = corner + t;
        for (Index i = from; i < until; ++i) cells[i * (to.row_stride - 1)] = lane[i];
      });
      return;
    }
    each_run(s, t0, t1, [&](Index row, Index i, Index p, Index from, Index until) {
      T* cells = static_cast<T*>(to.data) + pair[p] * to.pair_stride + row * to.row_stride + (s.first_column - i);
      const T* lane = block + i * P + p;
      for (Index t = from; t < until; ++t) cells[t] = lane[(t - t0) * out_pitch()];
    });
  }

  void clear_series_gradients() {
    const Index channels = plan.request.channels;
    x_gradient_.filled(channels * x_pitch_, T(0));
    y_gradient_.filled(channels * y_pitch_, T(0));
  }
  void write_series_gradients() {
    const Request& r = plan.request;
    if (r.x.gradient)
      each_sample(r.x, static_cast<T*>(r.x.gradient), n, x_gradient_.get(), x_pitch_, P, [](T& g, T& lane) { g = lane; });
    if (r.y.gradient)
      each_sample(r.y, static_cast<T*>(r.y.gradient), m, y_gradient_.get() + y_origin_ * P, y_pitch_, -P,
                  [](T& g, T& lane) { g = lane; });
  }

  // The admissible columns of a row (whatever a mask says further).
  void columns_of(Index row, Index p, Index& from, Index& to) const {
    const Columns c = admissible_columns(row, n[p], m[p], Index(plan.request.radius));
    from = c.first, to = c.last;
  }

 private:
  Index x_pitch_ = 0, y_pitch_ = 0, y_origin_ = 0;  // column j is reversed: (y_origin - j) * P + p
  Buffer<T> x_, y_, x_gradient_, y_gradient_;

  Index start(const SeriesArray& s, Index p) const { return Index(s.start[s.index ? s.index[pair[p]] : pair[p]]); }

  void cut_strips() {
    // Lanes of a strip: enough to hide what a step costs beside its cells, few enough for the first-level cache; the
    // probabilities that a gradient keeps for `depth` steps are to stay in the second.
    const bool backward = plan.first_order || plan.paths;
    Index target = (backward ? 1024 : plan.op_kind == kHard ? 4096 : 2048) / Index(sizeof(T));
    depth = 128;
    if (double(n_max) * double(m_max) * double(P) > 1e8) target *= 2, depth *= 4;  // fewer checkpoints
    const Index count = n_max * P <= 2 * target ? 1 : (n_max * P + target - 1) / target;
    Index rows = (n_max + count - 1) / count;
    if (count > 1) rows = round_up(rows, kLanes);  // lanes of other strips are not to be touched
    pitch = round_up(rows * P, kLanes);
    strips.clear();
    for (Index i = 0; i < n_max; i += rows) {
      Strip s = {i, std::min(rows, n_max - i), m_max, 0};
      Index last = -1;
      for (Index p = 0; p < P; ++p)
        for (Index row : {i, std::min(i + s.rows, n[p]) - 1}) {
          if (row < i || row >= n[p]) continue;
          Index from, to;
          columns_of(row, p, from, to);
          s.first_column = std::min(s.first_column, from);
          last = std::max(last, to);
        }
      s.columns = last - s.first_column + 1;
      strips.push_back(s);
    }
  }

  void interleave_series() {
    const Request& r = plan.request;
    const Index rows = strips[0].rows;
    x_pitch_ = round_up(n_max * P + pitch + kLanes, kLanes);
    // Lanes are rounded outwards for whole blocks, and a vector before them is read (fill.h): room on both sides.
    y_origin_ = m_max - 1 + rows + kSteps + (2 * kLanes + P - 1) / P;
    y_pitch_ = round_up((y_origin_ + 1) * P + pitch + kLanes, kLanes);
    T* x = x_.reserve(r.channels * x_pitch_ + kLanes) + kLanes;  // vectors may begin before lane 0
    T* y = y_.reserve(r.channels * y_pitch_);
    for (Index c = 0; c < r.channels; ++c) {
      // Lanes without a sample repeat one, so that their costs stay in the range of real ones.
      std::fill_n(x + c * x_pitch_ - kLanes, x_pitch_, samples(r.x, 0)[c]);
      std::fill_n(y + c * y_pitch_, y_pitch_, samples(r.y, 0)[c]);
    }
    const auto read = [](const T& sample, T& lane) { lane = sample; };
    each_sample(r.x, static_cast<const T*>(r.x.data), n, x, x_pitch_, P, read);
    each_sample(r.y, static_cast<const T*>(r.y.data), m, y + y_origin_ * P, y_pitch_, -P, read);
  }
  const T* samples(const SeriesArray& s, Index p) const {
    return static_cast<const T*>(s.data) + start(s, p) * plan.request.channels;
  }
  // Calls body(sample, its lane); pairs innermost, so that every line of lanes is visited once.
  template <class Sample, class Body>
  void each_sample(const SeriesArray& s, Sample* data, const Index* length, T* lanes, Index pitch_,
                   Index step, Body body) const {
    const Index channels = plan.request.channels;
    Sample* series[kPack];
    Index longest = 0, shortest = length[0];
    for (Index p = 0; p < P; ++p) {
      series[p] = data + start(s, p) * channels;
      longest = std::max(longest, length[p]), shortest = std::min(shortest, length[p]);
    }
    for (Index i = 0; i < longest; ++i)
      for (Index c = 0; c < channels; ++c) {
        T* lane = lanes + c * pitch_ + i * step;
        const Index at = i * channels + c;
        if (i < shortest) {
          for (Index p = 0; p < P; ++p) body(series[p][at], lane[p]);
        } else {
          for (Index p = 0; p < P; ++p)
            if (i < length[p]) body(series[p][at], lane[p]);
        }
      }
  }

  void lanes(const Strip& s, Index t0, Index t1, Index& begin, Index& end) const {
    begin = std::max(t0 - s.columns + 1, Index(0)) * P / kLanes * kLanes;
    end = round_up((std::min(t1 - 1, s.rows - 1) + 1) * P, kLanes);
  }

  SeriesBlock<T> series_block(const Strip& s, Index t0, Index t1, T* cost, T* weight) const {
    SeriesBlock<T> b = {};
    b.first = t0, b.last = t1, b.stride = P, b.pitch = pitch, b.channels = plan.request.channels;
    lanes(s, t0, t1, b.begin, b.end);
    const Index x = s.first_row * P, y = (y_origin_ - s.first_column) * P;
    b.x = x_.get() + kLanes + x, b.x_pitch = x_pitch_;
    b.y = y_.get() + y, b.y_pitch = y_pitch_;
    b.cost = cost, b.weight = weight, b.weight_pitch = out_pitch();
    b.x_gradient = plan.request.x.gradient ? x_gradient_.get() + x : nullptr;
    b.y_gradient = plan.request.y.gradient ? y_gradient_.get() + y : nullptr;
    b.parameter = T(plan.request.cost_parameter);
    return b;
  }

  // Calls body(row, row in strip, pair, from, until) for each lane's steps with a cell.
  template <class Body> void each_run(const Strip& s, Index t0, Index t1, Body body) const {
    for (Index i = 0; i < s.rows; ++i)
      for (Index p = 0; p < P; ++p) {
        const Index row = s.first_row + i;
        if (row >= n[p]) continue;
        const Index columns = std::min(s.columns, m[p] - s.first_column);
        const Index from = std::max(t0, i), until = std::min(t1, i + columns);
        if (from < until) body(row, i, p, from, until);
      }
  }

  // For a single pair lane after lane: an anti-diagonal is every (row_stride - 1)-th number.
  template <class Body> void each_step(const Strip& s, Index t0, Index t1, Body body) const {
    const Index columns = std::min(s.columns, m[0] - s.first_column);
    for (Index t = t0; t < t1; ++t) body(t, std::max(t - columns + 1, Index(0)), std::min(s.rows, t + 1));
  }

  template <bool Add> void copy_in(const MatrixArray& from_, const Strip& s, Index t0, Index t1, T* block) const {
    if (P == 1) {
      const T* corner =
          static_cast<const T*>(from_.data) + pair[0] * from_.pair_stride + s.first_row * from_.row_stride + s.first_column;
      each_step(s, t0, t1, [&](Index t, Index from, Index until) {
        T* lane = block + (t - t0) * pitch;
        const T* cells = corner + t;
        for (Index i = from; i < until; ++i)
          lane[i] = Add ? lane[i] + cells[i * (from_.row_stride - 1)] : cells[i * (from_.row_stride - 1)];
      });
      return;
    }
    each_run(s, t0, t1, [&](Index row, Index i, Index p, Index from, Index until) {
      const T* cells =
          static_cast<const T*>(from_.data) + pair[p] * from_.pair_stride + row * from_.row_stride + (s.first_column - i);
      T* lane = block + i * P + p;
      for (Index t = from; t < until; ++t) lane[(t - t0) * pitch] = Add ? lane[(t - t0) * pitch] + cells[t] : cells[t];
    });
  }

  void forbid_masked(const Strip& s, Index t0, Index t1, T* cost) const {
    const MatrixArray& mask = plan.request.mask;
    each_run(s, t0, t1, [&](Index row, Index i, Index p, Index from, Index until) {
      const unsigned char* cells = static_cast<const unsigned char*>(mask.data) + pair[p] * mask.pair_stride +
                                   row * mask.row_stride + (s.first_column - i);
      T* lane = cost + i * P + p;
      for (Index t = from; t < until; ++t)
        if (!cells[t]) lane[(t - t0) * pitch] = Real<T>::infinity();
    });
  }
};

}  // namespace sdtw
