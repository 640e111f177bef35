// The passes over a pack (math-alignment page, section 3):
//   1. forward over all strips: values, with checkpoints where a gradient will follow;
//   2. for each strip from the last to the first, block after block from the end: forward again
//      from the checkpoint, keeping the step probabilities q of the block,
//   3. and backward through the block: E, products with the Hessian, or walks along paths.
// Memory is the checkpoints (about a quarter of a byte a cell) and one block. Problems small
// enough keep all q in pass 1 and skip pass 2.
//
// Threads share a pack strip by strip: a strip may run up to where its neighbour has arrived.
// What is computed does not depend on who computes it, so results do not depend on the number
// of threads.
#pragma once
#include "ends.h"
#include <thread>

namespace sdtw {

// What one thread needs for itself.
template <class T> struct Scratch {
  Field<T> state[3];
  T *cost, *direction, *expected, *product;
  typename Real<T>::Exponent* limits;
  Three<T*> q, curved;
  LaneWeights<T> weights, direction_weights;
  T *left, *up, *diag[2], *left_d, *up_d, *diag_d[2];
  std::vector<Tap> taps, active;
  bool calling_thread = true;
  Index countdown = 0;

  void reserve(const Pack<T>& pack, Index kept_steps) {
    const Index pitch = pack.pitch, lanes = pitch + round_up(pack.P, kLanes) + kLanes;
    const Index out = pack.out_pitch();
    const bool tangents = pack.plan.tangents, backward = pack.plan.first_order;
    for (int k = 0; k < 3; ++k) state[k] = states_[k].reserve(lanes, tangents).offset(round_up(pack.P, kLanes));
    lead_ = round_up(pack.P, kLanes), lanes_ = lanes;
    cost = cost_.reserve(kSteps * pitch);
    limits = limits_.reserve(2 * pitch);
    T* w = weights_.reserve(4 * pitch);
    const double* u = pack.plan.request.weights;
    const bool unweighted = pack.plan.request.unweighted_direction;
    weights = {w, w + pitch, T(u[1]), T(u[0])};
    direction_weights = {w + 2 * pitch, w + 3 * pitch, unweighted ? T(1) : T(u[1]), unweighted ? T(1) : T(u[0])};
    if (tangents) direction = direction_.reserve(kSteps * pitch), product = product_.filled(kSteps * out, T(0)) + kLanes;
    else direction = product = nullptr;
    q = curved = {nullptr, nullptr, nullptr};
    if (backward || pack.plan.paths) {
      T* p = q_.reserve((tangents ? 6 : 3) * kept_steps * pitch);
      const Index n = kept_steps * pitch;
      q = {p, p + n, p + 2 * n};
      if (tangents) curved = {p + 3 * n, p + 4 * n, p + 5 * n};
    }
    expected = backward ? expected_.filled(kSteps * out, T(0)) + kLanes : nullptr;
  }
  // Nothing is reachable before the first step of a strip.
  void clear_states(bool scaled, bool tangents) {
    for (auto& s : state)
      for (Index k = -lead_; k < lanes_ - lead_; ++k) {
        s.value[k] = scaled ? T(0) : Real<T>::infinity();
        s.exponent[k] = Real<T>::lowest_exponent();
        if (tangents) s.tangent[k] = T(0);
      }
  }
  void set_weights(const Pack<T>& pack, const Strip& s) {
    const double* u = pack.plan.request.weights;
    const bool unweighted = pack.plan.request.unweighted_direction;
    for (Index k = 0; k < pack.pitch; ++k) {
      const bool starts = s.first_row == 0 && k < pack.P;  // row 0 has no cell above, but its starts
      weights.left[k] = T(u[0]);
      weights.up[k] = starts ? T(1) : T(u[2]);
      direction_weights.left[k] = unweighted ? T(1) : T(u[0]);
      direction_weights.up[k] = unweighted || starts ? T(1) : T(u[2]);
    }
  }
  void clear_messages(bool tangents) {
    T* p = messages_.filled((tangents ? 8 : 4) * lanes_, T(0));
    left = p, up = p + lanes_, diag[0] = p + 2 * lanes_, diag[1] = p + 3 * lanes_;
    left_d = up_d = diag_d[0] = diag_d[1] = nullptr;
    if (tangents) left_d = p + 4 * lanes_, up_d = p + 5 * lanes_, diag_d[0] = p + 6 * lanes_, diag_d[1] = p + 7 * lanes_;
  }
  void active_taps(Index t0, Index t1) {
    active.clear();
    for (const Tap& tap : taps)
      if (tap.first < t1 && tap.last >= t0) active.push_back(tap);
  }

 private:
  FieldBuffer<T> states_[3];
  Buffer<T> cost_, direction_, weights_, q_, expected_, product_, messages_;
  Buffer<typename Real<T>::Exponent> limits_;
  Index lead_ = 0, lanes_ = 0;
};

// How far the strips of a pass have come, for the neighbours that wait.
class Progress {
 public:
  void reset(std::size_t strips, Index start) {
    if (strips > size_) columns_.reset(new std::atomic<Index>[strips]), size_ = strips;
    for (std::size_t k = 0; k < strips; ++k) columns_[k].store(start, std::memory_order_relaxed);
  }
  void publish(std::size_t strip, Index column) { columns_[strip].store(column, std::memory_order_release); }
  template <class Arrived> void wait(std::size_t strip, const std::atomic<bool>& stop, Arrived arrived) const {
    for (int spins = 0; !arrived(columns_[strip].load(std::memory_order_acquire)); ++spins) {
      if (stop.load(std::memory_order_relaxed)) return;
      if (spins > 200) std::this_thread::yield();
    }
  }

 private:
  std::unique_ptr<std::atomic<Index>[]> columns_;
  std::size_t size_ = 0;
};

template <class T> class Sweep {
 public:
  Pack<T> pack;
  Ends<T> ends;
  double value[kPack], slope[kPack];

  explicit Sweep(const Plan<T>& p) : pack(p), plan_(p) {}

  // Prepares the passes over these pairs; returns whether pass 1 keeps all probabilities.
  void assign(const Index* pairs, Index count) {
    pack.assign(pairs, count);
    ends.assign(pack);
    std::fill_n(value, count, 0.), std::fill_n(slope, count, 0.);
    Index cells = 0;
    offset_.clear();
    for (const Strip& s : pack.strips) {
      offset_.push_back(cells);
      cells += s.steps() * pack.pitch;
    }
    const bool again = plan_.first_order || plan_.paths;
    keep_all_ = again && !plan_.tangents && cells * Index(3 * sizeof(T)) <= (3 << 18);
    if (keep_all_) {
      T* p = kept_.reserve(3 * cells);
      q_ = {p, p + cells, p + 2 * cells};
    }
    checkpoints_ = again && !keep_all_;
    const Index row = pack.m_max * pack.P;
    rows_ = rows_buffer_.reserve((checkpoints_ ? Index(pack.strips.size()) : 1) * row, plan_.tangents);
    row_ = row;
    if (checkpoints_) {
      block_ = 2 * (pack.pitch + pack.P);
      first_block_.assign(1, 0);
      for (const Strip& s : pack.strips) first_block_.push_back(first_block_.back() + (s.steps() - 1) / pack.depth);
      saved_ = saved_buffer_.reserve(std::max(first_block_.back() * block_, Index(1)), plan_.tangents);
    }
    if (plan_.first_order) {
      const Index messages = (plan_.tangents ? 4 : 2) * row;
      T* p = sent_.filled(messages, T(0));
      sent_up_ = p, sent_diag_ = p + row;
      sent_up_d_ = plan_.tangents ? p + 2 * row : nullptr, sent_diag_d_ = plan_.tangents ? p + 3 * row : nullptr;
      if (plan_.request.x.data) pack.clear_series_gradients();
    }
    forward_progress_.reset(pack.strips.size(), 0);
    backward_progress_.reset(pack.strips.size(), pack.m_max + 1);
  }
  void reserve(Scratch<T>& scratch) const {
    Index steps = 0;
    for (const Strip& s : pack.strips) steps = std::max(steps, s.steps());
    scratch.reserve(pack, keep_all_ ? 0 : std::min(pack.depth, round_up(steps, kSteps)));
  }

  // Pass 1 over strip k.
  void forward(Index k, Scratch<T>& scratch) {
    const Strip& s = pack.strips[std::size_t(k)];
    prepare(k, scratch);
    if (pack.tiled()) return forward_tiles(k, scratch);
    scratch.clear_states(plan_.scaled(), plan_.tangents);
    if (k > 0) enter_corner(k, scratch);
    const Index steps = s.steps();
    for (Index t = 0; t < steps; t += kSteps) {
      const Index end = std::min(t + kSteps, steps);
      if (k > 0) wait_for_row(k, s.first_column + std::min(end, s.columns));
      if (plan_.stopped(scratch.calling_thread, scratch.countdown, (end - t) * pack.pitch)) return;
      if (checkpoints_ && t > 0 && t % pack.depth == 0) save(k, t, scratch);
      run_forward(k, t, end, scratch, keep_all_ ? kept(k, t) : Three<T*>{nullptr, nullptr, nullptr}, {},
                  keep_all_ ? kStore : kValue);
      forward_progress_.publish(std::size_t(k), s.first_column + std::max(end - s.rows + 1, Index(0)));
    }
    forward_progress_.publish(std::size_t(k), pack.m_max);
  }

  void close() { ends.close(pack, value, slope); }

  // Passes 2 and 3 over strip k: calls visit(strip, t0, t1, q of the block) from the end to the start.
  template <class Visit> void backward_blocks(Index k, Scratch<T>& scratch, Visit visit) {
    const Strip& s = pack.strips[std::size_t(k)];
    prepare(k, scratch);
    const Index steps = s.steps();
    for (Index block = (steps - 1) / pack.depth * pack.depth; block >= 0; block -= pack.depth) {
      const Index end = std::min(block + pack.depth, steps);
      if (!keep_all_) recompute(k, block, end, scratch);
      for (Index t = block + (end - block - 1) / kSteps * kSteps; t >= block; t -= kSteps) {
        if (plan_.stopped(scratch.calling_thread, scratch.countdown, kSteps * pack.pitch)) return;
        const Index at = (t - block) * pack.pitch;
        visit(s, t, std::min(t + kSteps, end), keep_all_ ? kept(k, t) : shift(scratch.q, at), shift(scratch.curved, at));
      }
    }
  }

  void backward(Index k, Scratch<T>& scratch) {
    scratch.clear_messages(plan_.tangents);
    const bool last = k + 1 == Index(pack.strips.size());
    backward_blocks(k, scratch, [&](const Strip& s, Index t0, Index t1, Three<T*> q, Three<T*> curved) {
      if (!last) {
        const Strip& below = pack.strips[std::size_t(k + 1)];
        const Index need = std::max(s.first_column + t0 - s.rows + 1, below.first_column);
        backward_progress_.wait(std::size_t(k + 1), plan_.stop, [need](Index done) { return done <= need; });
        if (plan_.stop.load(std::memory_order_relaxed)) return;
      }
      run_backward(k, t0, t1, scratch, q, curved);
      deliver(s, t0, t1, scratch);
      backward_progress_.publish(std::size_t(k), s.first_column + t0);
    });
    backward_progress_.publish(std::size_t(k), 0);
  }

 private:
  const Plan<T>& plan_;
  bool keep_all_ = false, checkpoints_ = false;
  Field<T> rows_, saved_;  // last rows of the strips; states at the checkpoints
  FieldBuffer<T> rows_buffer_, saved_buffer_;
  Buffer<T> kept_, sent_;
  Three<T*> q_ = {nullptr, nullptr, nullptr};
  T *sent_up_ = nullptr, *sent_diag_ = nullptr, *sent_up_d_ = nullptr, *sent_diag_d_ = nullptr;
  Index row_ = 0, block_ = 0;
  std::vector<Index> offset_, first_block_;
  Progress forward_progress_, backward_progress_;

  static Three<T*> shift(Three<T*> a, Index n) {
    return a.left ? Three<T*>{a.left + n, a.diag + n, a.up + n} : a;
  }
  Three<T*> kept(Index k, Index t) const { return shift(q_, offset_[std::size_t(k)] + t * pack.pitch); }
  Field<T> row(Index k) const { return rows_.offset(checkpoints_ ? k * row_ : 0); }

  void prepare(Index k, Scratch<T>& scratch) const {
    const Strip& s = pack.strips[std::size_t(k)];
    scratch.set_weights(pack, s);
    if (plan_.variant != kPlain) pack.step_limits(s, scratch.limits);
    ends.taps_of(pack, s, scratch.taps);
  }

  // Until the strip above has come to its last column before `column`.
  void wait_for_row(Index k, Index column) const {
    const Strip& above = pack.strips[std::size_t(k - 1)];
    const Index need = std::min(column, above.first_column + above.columns);
    forward_progress_.wait(std::size_t(k - 1), plan_.stop, [need](Index done) { return done >= need; });
  }

  // Pass 1 over strip k of a pack whose hard values are computed in tiles.
  void forward_tiles(Index k, Scratch<T>& scratch) {
    const Strip& s = pack.strips[std::size_t(k)];
    const Index P = pack.P;
    const T infinity = Real<T>::infinity();
    TileBlock<T> b = {};
    b.row = row(k).value, b.edge = scratch.state[0].value, b.corner = scratch.state[1].value;
    // Before row 0 and column 0 lie nothing but the starts; that of the first cell is its diagonal neighbour.
    if (k == 0) std::fill_n(b.row, s.columns * P, plan_.request.open_begin & 1 ? T(0) : infinity);
    std::fill_n(b.edge, s.rows * P, plan_.request.open_begin & 2 ? T(0) : infinity);
    T* next = scratch.state[2].value;  // the row above at the last column of a block, which the block replaces
    std::fill_n(next, P, k == 0 ? T(0) : infinity);
    for (b.first = 0; b.first < s.columns; b.first = b.last) {
      b.last = std::min(b.first + kTileColumns, s.columns);
      if (k > 0) wait_for_row(k, b.last);
      if (plan_.stopped(scratch.calling_thread, scratch.countdown, (b.last - b.first) * pack.pitch)) return;
      std::copy_n(next, P, b.corner);
      std::copy_n(b.row + (b.last - 1) * P, P, next);
      for (b.begin = 0; b.begin < s.rows; b.begin = b.end) {
        b.end = s.rows;  // or the next row that ends a pair
        for (const Tap& tap : scratch.taps)
          if (tap.first_lane / P >= b.begin) b.end = std::min(b.end, tap.first_lane / P + 1);
        pack.hard_rows(b, s);
        for (const Tap& tap : scratch.taps) {
          const Index i = tap.first_lane / P, column = tap.first - i;
          if (i == b.end - 1 && column >= b.first && column < b.last)
            ends.states.value[tap.slot] = b.row[column * P + tap.first_lane % P];
        }
      }
      forward_progress_.publish(std::size_t(k), b.last);
    }
  }

  // The diagonal neighbour of a strip's first cell, when the strip begins beyond column 0.
  void enter_corner(Index k, Scratch<T>& scratch) const {
    const Strip &s = pack.strips[std::size_t(k)], &above = pack.strips[std::size_t(k - 1)];
    const Index column = s.first_column - 1;
    if (column < above.first_column || column >= above.first_column + above.columns) return;
    forward_progress_.wait(std::size_t(k - 1), plan_.stop, [column](Index done) { return done > column; });
    const Field<T> from = row(k - 1).offset(column * pack.P), to = scratch.state[1].offset(-pack.P);  // step -2
    copy(from, to, pack.P);
  }
  void copy(const Field<T>& from, const Field<T>& to, Index count) const {
    for (Index p = 0; p < count; ++p) {
      to.value[p] = from.value[p];
      to.exponent[p] = from.exponent[p];
      if (plan_.tangents) to.tangent[p] = from.tangent[p];
    }
  }

  // Checkpoints hold the states of the two steps before a block, border slots included.
  void save(Index k, Index t, const Scratch<T>& scratch) { move(k, t, scratch, true); }
  void move(Index k, Index t, const Scratch<T>& scratch, bool saving) const {
    const Index half = block_ / 2, at = first_block_[std::size_t(k)] + t / pack.depth - 1;
    for (Index back = 1; back <= 2; ++back) {
      const Field<T> live = scratch.state[(t + 3 - back) % 3].offset(-pack.P);
      const Field<T> kept = saved_.offset(at * block_ + (back - 1) * half);
      if (saving) copy(live, kept, half);
      else copy(kept, live, half);
    }
  }

  void recompute(Index k, Index block, Index end, Scratch<T>& scratch) {
    scratch.clear_states(plan_.scaled(), plan_.tangents);
    if (block > 0) move(k, block, scratch, false);
    else if (k > 0) enter_corner(k, scratch);
    for (Index t = block; t < end; t += kSteps) {
      const Index at = (t - block) * pack.pitch;
      run_forward(k, t, std::min(t + kSteps, end), scratch, shift(scratch.q, at), shift(scratch.curved, at), kStore);
    }
  }

  void run_forward(Index k, Index t0, Index t1, Scratch<T>& scratch, Three<T*> q, Three<T*> curved, Mode mode) {
    const Strip& s = pack.strips[std::size_t(k)];
    pack.fill_costs(s, t0, t1, scratch.cost, scratch.limits);
    if (plan_.tangents) pack.fill_direction(s, t0, t1, scratch.cost, scratch.direction);
    scratch.active_taps(t0, t1);
    ForwardBlock<T> b = {};
    b.first = t0, b.last = t1, b.rows = s.rows, b.columns = s.columns, b.stride = pack.P, b.pitch = pack.pitch;
    b.op = plan_.op;
    for (int j = 0; j < 3; ++j) b.state[j] = scratch.state[j];
    b.cost = scratch.cost, b.direction = scratch.direction;
    b.weights = scratch.weights, b.direction_weights = scratch.direction_weights;
    b.first_strip = k == 0;
    b.open_row = plan_.request.open_begin & 1;
    b.open_column = (plan_.request.open_begin & 2) && s.first_column == 0;
    const Index column = s.first_column * pack.P;
    if (k > 0) {
      const Strip& above = pack.strips[std::size_t(k - 1)];
      b.above = row(k - 1).offset(column);
      b.above_first = above.first_column - s.first_column, b.above_last = b.above_first + above.columns - 1;
    }
    b.below = row(k).offset(column);
    b.q = q, b.curved = curved;
    b.taps = scratch.active.data(), b.n_taps = Index(scratch.active.size());
    b.ends = ends.states;
    const int tangent_modes[] = {kTangent, kTangentStore};
    plan_.loops.forward[plan_.op_kind][plan_.variant][plan_.tangents ? tangent_modes[mode] : int(mode)](b);
  }

  void run_backward(Index k, Index t0, Index t1, Scratch<T>& scratch, Three<T*> q, Three<T*> curved) {
    const Strip& s = pack.strips[std::size_t(k)];
    scratch.active_taps(t0, t1);
    BackwardBlock<T> b = {};
    b.first = t0, b.last = t1, b.rows = s.rows, b.columns = s.columns, b.stride = pack.P, b.pitch = pack.pitch;
    b.q = {q.left, q.diag, q.up}, b.curved = {curved.left, curved.diag, curved.up};
    b.weights = scratch.weights;
    b.first_strip = k == 0;
    b.open_column = (plan_.request.open_begin & 2) && s.first_column == 0;
    b.left = scratch.left, b.up = scratch.up, b.left_tangent = scratch.left_d, b.up_tangent = scratch.up_d;
    for (int j = 0; j < 2; ++j) b.diag[j] = scratch.diag[j], b.diag_tangent[j] = scratch.diag_d[j];
    const Index column = s.first_column * pack.P;
    b.row_up = sent_up_ + column, b.row_diag = sent_diag_ + column;
    if (plan_.tangents) b.row_up_tangent = sent_up_d_ + column, b.row_diag_tangent = sent_diag_d_ + column;
    b.below_first = 1, b.below_last = 0;
    if (k + 1 < Index(pack.strips.size())) {
      const Strip& below = pack.strips[std::size_t(k + 1)];
      b.below_first = below.first_column - s.first_column, b.below_last = b.below_first + below.columns - 1;
    }
    b.taps = scratch.active.data(), b.n_taps = Index(scratch.active.size());
    b.seed = ends.seed.get(), b.seed_tangent = ends.seed_tangent.get();
    b.out_pitch = pack.out_pitch(), b.expected = scratch.expected, b.product = scratch.product;
    b.want_visits = plan_.request.visits;
    plan_.loops.backward[plan_.variant == kWeighted][plan_.tangents](b);
  }

  // Hands a finished block to whoever asked for it.
  void deliver(const Strip& s, Index t0, Index t1, Scratch<T>& scratch) {
    const Request& r = plan_.request;
    if (r.along_costs)
      for (Index k = 0; k < (t1 - t0) * pack.out_pitch() - 2 * kLanes; ++k) scratch.product[k] += scratch.expected[k];
    if (r.gradient.data) pack.copy_out(r.gradient, s, t0, t1, scratch.expected);
    if (r.product.data) pack.copy_out(r.product, s, t0, t1, scratch.product);
    if (r.x.gradient || r.y.gradient) pack.pull_back(s, t0, t1, plan_.tangents ? scratch.product : scratch.expected, scratch.cost);
  }
};

}  // namespace sdtw
