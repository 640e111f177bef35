// The passes over chains (chain.h) and their threads: batches over chains, one large chain over states.
//
// In the entropy case the pair has a form of its own: with K = exp(transition / gamma), row maxima
// divided out, and a = exp(V_t / gamma), a step is the matrix-vector product y = K a, going back is
// its transpose, and the gradient of the transition is K times a sum of outer products. A row whose
// sum would lose terms to underflow takes its candidates one by one instead (`deep`).
#include "sdtwkit/buffer.h"
#include "sdtwkit/chain.h"
#include "sdtwkit/team.h"
#include "sdtwkit/uniform.h"
#include <atomic>
#include <numeric>
#include <vector>

namespace sdtw {
namespace {

constexpr Index kBlock = 64;  // steps whose transition marginals are added up before they join the total

// Sums of products below it may have lost terms that are faint.
template <class T> constexpr T deep_below() { return sizeof(T) == 8 ? T(0x1p-800) : T(0x1p-72); }

enum Wants { kValueOnly, kFirst, kSecond, kPaths };

template <class T> struct Job {
  const ChainRequest& request;
  const ChainLoops<T>& loops;
  const Smoothing<T> op;
  const Index S, P;  // states, and rounded up to whole vectors
  const bool full;
  const Wants wants;
  const bool scaled;  // the matrix-vector form
  double* const transition_out;
  Buffer<T> start, matrix, transposed, base;  // first row of the pair; K (S, P), its transpose, row maxima
  std::atomic<bool> stop{false}, strange{false};

  explicit Job(const ChainRequest& r)
      : request(r), loops(chain_loops<T>(r.level)), op(smoothing<T>(r.gamma)), S(r.states),
        P((r.states + loops.vector_lanes - 1) / loops.vector_lanes * loops.vector_lanes), full(r.theta != nullptr),
        wants(r.samples >= 0 ? kPaths : r.direction ? kSecond : r.gradient ? kFirst : kValueOnly),
        scaled(!full && r.op == kEntropy && (wants == kValueOnly || wants == kFirst)),
        transition_out(wants == kSecond ? r.transition_product : r.transition_gradient) {
    if (!full) start.filled(P, -Real<T>::infinity())[0] = T(0);
    if (scaled) fill_matrix();
  }
  const T* theta(Index b, Index t) const { return static_cast<const T*>(request.theta) + at(b, t) * S * S; }
  const T* unary(Index b, Index t) const { return static_cast<const T*>(request.unary) + at(b, t) * S; }
  // Where an array laid out as theta or unary holds this step.
  template <class U> U* step(U* data, Index b, Index t) const { return data + at(b, t) * (full ? S * S : S); }
  Index at(Index b, Index t) const { return b * Index(request.steps) + t; }
  // Otherwise two suffice: the probabilities are kept.
  bool keeps_messages() const { return wants == kSecond || wants == kPaths || (wants == kFirst && !full); }
  void poll() {
    if (request.interrupted && request.interrupted()) stop.store(true);
  }

 private:
  void fill_matrix() {
    const T *a = static_cast<const T*>(request.transition), never = -Real<T>::infinity();
    Buffer<T> row;
    row.filled(P, never);
    T *k = matrix.reserve(S * P), *kt = transposed.filled(S * P, T(0)), *high = base.filled(P, T(0));
    for (Index i = 0; i < S; ++i, k += P) {
      std::copy_n(a + i * S, S, row.get());
      high[i] = *std::max_element(a + i * S, a + (i + 1) * S);
      loops.weights(row.get(), high[i] > never ? high[i] : T(0), P, op, k);
      for (Index j = 0; j < S; ++j) kt[j * P + i] = k[j];
    }
  }
};

// What the members of a team share while they work on a chain.
template <class T> struct Shared {
  Buffer<T> messages, moved;      // (T + 1 or 2, P) V_t and their tangents, relative to the largest of the step before
  Buffer<T> visits, visits_moved; // (2, P) U_t and its tangent
  Buffer<T> sums;                 // (T, P) y = K a; 0 where the row is deep
  Buffer<T> q;                    // (S, P) probabilities of a step of the pair
  Buffer<T> partial;              // (S, P) transition marginals of a block of steps
  Buffer<T> w, a;                 // (kBlock, P) their factors in the matrix-vector form
  Buffer<double> total;           // (S, P) transition marginals of all steps so far

  void reserve(const Job<T>& job, Index longest) {
    const Index S = job.S, P = job.P;
    messages.filled((job.keeps_messages() ? longest + 1 : 2) * P, -Real<T>::infinity());
    if (job.wants == kValueOnly) return;
    visits.filled(2 * P, T(0));
    if (job.wants == kSecond) moved.filled((longest + 1) * P, T(0)), visits_moved.filled(2 * P, T(0));
    if (job.scaled) sums.reserve(longest * P), w.filled(kBlock * P, T(0)), a.filled(kBlock * P, T(0));
    if (!job.full || job.wants == kPaths) q.filled(S * P, T(0));
    if (!job.transition_out) return;
    if (!job.scaled) partial.filled(S * P, T(0));
    total.filled(S * P, 0);
  }
};

// One member of a team: passes over chain after chain.
template <class T> class Chain {
 public:
  Chain(Job<T>& job, Shared<T>& shared)
      : job_(job), r_(job.request), loops_(job.loops), s_(shared), S_(job.S), P_(job.P) {
    const T never = -Real<T>::infinity();
    const Index scratch = std::max(P_, kScratch);
    candidates_.filled(scratch, never), weights_.filled(scratch, T(0));
    v_.filled(P_, never), vd_.filled(P_, T(0)), u_.filled(P_, T(0)), ud_.filled(P_, T(0));
    row_.filled(P_, T(0)), ones_.filled(P_, T(1)), zeros_.filled(P_, T(0));
    mass_.filled(P_, T(1)), difference_.filled(P_, T(0)), term_.filled(P_, T(0));
    if (job.wants != kPaths) return;
    walkers_.reserve(std::size_t(std::max(r_.samples, std::int64_t(1))));
    ready_.resize(std::size_t(S_));
  }

  // Must be called before the first run.
  void join(Team team) { team_ = team, own_ = team.share(S_), columns_ = team.share(P_); }

  // False if the work is to stop.
  bool run(Index b) {
    b_ = b, length_ = Index(r_.length[b]);
    if (!forward()) return !stop_;
    if (job_.wants == kPaths && team_.rank == 0) walk();
    if (job_.wants == kFirst) backward();
    if (job_.wants == kSecond) backward_tangents();
    return !stop_;
  }

  // Moves the transition marginals of the chains so far to OUT (S, P).
  void hand_over(std::vector<double>& out) {
    team_.barrier();
    if (team_.rank == 0 && job_.transition_out) {
      out.assign(s_.total.get(), s_.total.get() + S_ * P_);
      std::fill_n(s_.total.get(), S_ * P_, 0.);
    }
    team_.barrier();
  }

 private:
  Job<T>& job_;
  const ChainRequest& r_;
  const ChainLoops<T>& loops_;
  Shared<T>& s_;
  Team team_;
  const Index S_, P_;
  Range own_ = {0, 0}, columns_ = {0, 0};  // this member's states; the same, with the padding of the last
  Index b_ = 0, length_ = 0, steps_ = 0;
  bool stop_ = false;
  Buffer<T> v_, vd_;       // messages of the present step, relative to the largest; their tangents
  Buffer<T> u_, ud_;       // U_{t+1}, its tangent
  struct Walker { Uniform uniform; Index state; };
  std::vector<Walker> walkers_;
  std::vector<Index> ready_;  // (S,) the step for which a row of q is there
  Buffer<T> row_, ones_, zeros_, candidates_, weights_, mass_, difference_, term_;

  bool pair() const { return !job_.full; }
  T* message(Index t) { return s_.messages.get() + (job_.keeps_messages() ? t : t & 1) * P_; }
  T* visits(Index t) { return s_.visits.get() + (t & 1) * P_; }
  T* visits_moved(Index t) { return s_.visits_moved.get() + (t & 1) * P_; }
  // Where the probabilities of a step are kept from the forward pass on, or computed anew.
  T* kept() const { return static_cast<T*>(job_.wants == kSecond ? r_.product : r_.gradient); }
  T* q(Index t) { return pair() ? s_.q.get() : kept() + job_.at(b_, t) * S_ * S_; }
  Index q_stride() const { return pair() ? P_ : S_; }

  // All members of a team answer alike: the flag stands still between the barriers.
  bool stopped() {
    if (++steps_ % 256 != 0) return false;
    if (thread_number() == 0) job_.poll();
    team_.barrier();
    stop_ = job_.stop.load();
    team_.barrier();
    return stop_;
  }

  // Sets v from message t (and vd from its tangent); returns by how much they were shifted.
  struct Shift { T value, tangent; };
  Shift load(Index t) {
    const T* x = message(t);
    Shift shift = {loops_.relative(x, P_, v_.get()), T(0)};
    if (job_.wants != kSecond) return shift;
    const T* moved = s_.moved.get() + t * P_;
    shift.tangent = moved[std::max_element(x, x + S_) - x];
    for (Index j = 0; j < S_; ++j) vd_.get()[j] = moved[j] - shift.tangent;
    return shift;
  }

  void smooth(Index t, Range states, T* value, T* q, Index q_stride) {
    bool strange = false;
    RowsBlock<T> block = {};
    block.first = states.first, block.last = states.last, block.states = S_, block.pitch = P_, block.op = job_.op;
    if (t == length_) block.rows = zeros_.get();
    else if (!pair()) block.rows = job_.theta(b_, t), block.row_stride = S_;
    else if (t == 0) block.rows = job_.start.get();
    else block.rows = static_cast<const T*>(r_.transition), block.row_stride = S_;
    block.v = v_.get(), block.shift = pair() && t < length_ ? job_.unary(b_, t) : nullptr;
    block.value = value, block.q = q, block.q_stride = q_stride;
    block.candidates = candidates_.get(), block.weights = weights_.get(), block.mass = mass_.get();
    block.strange = &strange;
    loops_.rows[r_.op](block);
    if (strange) job_.strange.store(true);
  }

  TangentBlock<T> tangent_block(Index t, const T* direction) {
    TangentBlock<T> block = {};
    block.first = own_.first, block.last = own_.last, block.states = S_, block.pitch = P_, block.op = job_.op;
    block.q = q(t), block.q_stride = q_stride(), block.vd = vd_.get();
    block.difference = difference_.get(), block.term = term_.get(), block.u = u_.get(), block.ud = ud_.get();
    if (!pair()) block.z = job_.step(direction, b_, t), block.z_stride = S_;
    else block.shift = job_.step(direction, b_, t);
    if (pair() && t > 0) block.z = static_cast<const T*>(r_.transition_direction), block.z_stride = S_;
    return block;
  }

  // ---- forward

  // False where the chain has no admissible sequence, or the work is stopped.
  bool forward() {
    const T* direction = static_cast<const T*>(r_.direction);
    double value = 0, slope = 0;
    team_.barrier();  // all have left the chain before
    if (team_.rank == 0) std::fill_n(message(0), S_, T(0));
    team_.barrier();
    for (Index t = 0; t < length_; ++t) {
      const Shift shift = load(t);
      value += double(shift.value), slope += double(shift.tangent);
      if (!(shift.value > -Real<T>::infinity())) return give_up();
      if (job_.scaled && t > 0) multiply(t);
      else smooth(t, own_, message(t + 1), wants_q() ? q(t) : nullptr, q_stride());
      if (job_.wants == kSecond) {
        TangentBlock<T> block = tangent_block(t, direction);
        block.moved = s_.moved.get() + (t + 1) * P_;
        loops_.tangents(block);
      }
      team_.barrier();
      if (stopped()) return false;
    }
    const Shift shift = load(length_);
    value += double(shift.value), slope += double(shift.tangent);
    T last = T(0);
    smooth(length_, {0, 1}, &last, u_.get(), P_);
    value += double(last);
    if (!(value > -Real<double>::infinity())) return give_up();
    if (team_.rank == 0) r_.value[b_] = value;
    if (job_.wants != kSecond) return true;
    TangentBlock<T> block = {};
    T one = T(1), zero = T(0), moved = T(0);
    block.last = 1, block.states = S_, block.pitch = P_, block.op = job_.op, block.vd = vd_.get();
    block.q = u_.get(), block.u = &one, block.ud = &zero, block.moved = &moved;
    block.difference = difference_.get(), block.term = term_.get();
    loops_.tangents(block);
    if (team_.rank == 0) r_.slope[b_] = slope + double(moved);
    std::copy_n(u_.get(), S_, ud_.get());
    block.q = ud_.get();
    loops_.curvature[r_.op](block);
    return true;
  }
  bool wants_q() const { return job_.wants == kSecond || (job_.wants == kFirst && !pair()); }

  bool give_up() {
    team_.barrier();
    if (team_.rank != 0) return false;
    r_.value[b_] = -Real<double>::infinity();
    if (r_.slope) r_.slope[b_] = 0;
    if (!pair() && kept()) std::fill_n(kept() + job_.at(b_, 0) * S_ * S_, length_ * S_ * S_, T(0));
    return false;
  }

  // y = K a for the member's states, V_{t+1} = row maximum + gamma log y + unary.
  void multiply(Index t) {
    const T deep = deep_below<T>();
    T* next = message(t + 1);
    T* y = job_.wants == kFirst ? s_.sums.get() + t * P_ : term_.get();
    loops_.weights(v_.get(), T(0), P_, job_.op, weights_.get());
    loops_.product(job_.transposed.get(), P_, weights_.get(), S_, columns_.first, columns_.last, y);
    const Index first = own_.first;
    loops_.logs(y + first, job_.base.get() + first, job_.unary(b_, t) + first, own_.last - first, job_.op,
                next + first);
    for (Index i = first; i < own_.last; ++i) {
      if (!(y[i] >= deep)) {
        y[i] = T(0);
        smooth(t, {i, i + 1}, next, nullptr, 0);
      }
      if (!(next[i] <= job_.op.limit && (next[i] >= -job_.op.limit || next[i] == -Real<T>::infinity())))
        job_.strange.store(true);
    }
  }

  // ---- backward

  void backward() {
    T* out = static_cast<T*>(r_.gradient);
    Index pending = 0;
    for (Index t = length_ - 1; t >= 0; --t) {
      if (pair()) std::copy(u_.get() + own_.first, u_.get() + own_.last, job_.step(out, b_, t) + own_.first);
      if (pair() && t == 0) break;
      if (pair()) load(t);
      if (job_.scaled) {
        multiply_back(t, pending++);
      } else {
        if (pair()) {
          smooth(t, own_, row_.get(), s_.q.get(), P_);
          team_.barrier();
          ++pending;
        }
        pull(q(t), u_.get(), job_.full, partial(), visits(t));
      }
      team_.barrier();
      loops_.normalise(visits(t), P_, u_.get());
      if (pending == kBlock) settle(pending);
      if (stopped()) return;
    }
    settle(pending);
    team_.barrier();
  }
  T* partial() const { return job_.transition_out ? s_.partial.get() : nullptr; }

  void pull(T* q, const T* u, bool in_place, T* total, T* sum) {
    PullBlock<T> block = {own_.first, own_.last, S_, q, q_stride(), u, in_place, sum, total, P_};
    loops_.pull(block);
  }

  // U_t = a . K^T w with w = U_{t+1} / y; E_t(i, j) = w(i) K(i, j) a(j).
  void multiply_back(Index t, Index slot) {
    const T* y = s_.sums.get() + t * P_;
    T *w = row_.get(), *a = weights_.get(), *sum = visits(t);
    for (Index i = 0; i < S_; ++i) w[i] = y[i] > T(0) ? u_.get()[i] / y[i] : T(0);
    loops_.weights(v_.get(), T(0), P_, job_.op, a);
    loops_.product(job_.matrix.get(), P_, w, S_, columns_.first, columns_.last, sum);
    for (Index j = columns_.first; j < columns_.last; ++j) sum[j] *= a[j];
    if (job_.transition_out) {
      std::copy(w + columns_.first, w + columns_.last, s_.w.get() + slot * P_ + columns_.first);
      std::copy(a + columns_.first, a + columns_.last, s_.a.get() + slot * P_ + columns_.first);
    }
    for (Index i = 0; i < S_; ++i) {
      const T u = u_.get()[i];
      if (y[i] > T(0) || !(u > T(0))) continue;
      T* p = term_.get();
      smooth(t, {i, i + 1}, row_.get(), p, 0);
      for (Index j = own_.first; j < own_.last; ++j) sum[j] += u * p[j];
      if (!job_.transition_out) continue;
      double* total = s_.total.get() + i * P_;
      for (Index j = own_.first; j < own_.last; ++j) total[j] += double(u) * double(p[j]);
    }
  }

  // Adds the transition marginals of the pending steps to the total.
  void settle(Index& pending) {
    if (!job_.transition_out || pending == 0) {
      pending = 0;
      return;
    }
    if (job_.scaled) {
      loops_.outer(s_.w.get(), s_.a.get(), pending, job_.matrix.get(), S_, P_, columns_.first, columns_.last,
                   s_.total.get());
      team_.barrier();  // before the factors are written again
    } else {
      for (Index i = 0; i < S_; ++i)
        for (Index j = own_.first; j < own_.last; ++j) {
          s_.total.get()[i * P_ + j] += double(s_.partial.get()[i * P_ + j]);
          s_.partial.get()[i * P_ + j] = T(0);
        }
    }
    pending = 0;
  }

  void backward_tangents() {
    T* out = static_cast<T*>(r_.product);
    Index pending = 0;
    for (Index t = length_ - 1; t >= 0; --t) {
      if (pair()) std::copy(ud_.get() + own_.first, ud_.get() + own_.last, job_.step(out, b_, t) + own_.first);
      if (pair() && t == 0) break;
      load(t);
      if (pair()) {
        smooth(t, own_, row_.get(), s_.q.get(), P_);
        team_.barrier();
        ++pending;
      }
      pull(q(t), u_.get(), false, nullptr, visits(t));
      team_.barrier();
      loops_.curvature[r_.op](tangent_block(t, static_cast<const T*>(r_.direction)));
      team_.barrier();
      pull(q(t), ones_.get(), false, partial(), visits_moved(t));
      team_.barrier();
      loops_.normalise(visits(t), P_, u_.get());
      std::copy_n(visits_moved(t), S_, ud_.get());
      if (pending == kBlock) settle(pending);
      if (stopped()) return;
    }
    settle(pending);
    team_.barrier();
  }

  // ---- sequences

  // The best sequence (hard operator), or draws: from the end back with the probabilities of the rows. Rows that
  // several sequences meet at a step are smoothed once.
  void walk() {
    const Index count = std::max(Index(r_.samples), Index(1));
    std::int64_t* path = r_.paths + b_ * count * Index(r_.steps);
    walkers_.clear();
    for (Index k = 0; k < count; ++k) {
      walkers_.push_back({Uniform::of_path(r_.seed, b_ * count + k), 0});
      walkers_.back().state = pick(u_.get(), walkers_.back().uniform);
    }
    std::fill(ready_.begin(), ready_.end(), length_);
    for (Index t = length_ - 1; t >= 0; --t) {
      for (Index k = 0; k < count; ++k) path[k * Index(r_.steps) + t] = walkers_[std::size_t(k)].state;
      if (t == 0) break;
      load(t);
      for (Walker& walker : walkers_) {
        const Index i = walker.state;
        if (ready_[std::size_t(i)] != t) smooth(t, {i, i + 1}, row_.get(), s_.q.get(), P_);
        ready_[std::size_t(i)] = t;
        walker.state = pick(s_.q.get() + i * P_, walker.uniform);
      }
    }
  }
  // Rounding must not lead where the law never goes: the last candidate with a positive probability takes the rest.
  Index pick(const T* q, Uniform& uniform) const {
    double u = r_.samples > 0 ? uniform() : 0;
    Index chosen = 0;
    for (Index s = 0; s < S_; ++s) {
      if (!(q[s] > T(0))) continue;
      chosen = s;
      if ((u -= double(q[s])) < 0) break;
    }
    return chosen;
  }
};

// Gradients of the transition are sums over chains. Chains are added up in groups, and groups in their
// order, whatever the threads: no bit depends on them.
template <class T> Status run_as(const ChainRequest& r) {
  Job<T> job(r);
  const Index chains = Index(r.chains), longest = Index(*std::max_element(r.length, r.length + chains));
  const Index fit = std::max((Index(1) << 24) / (job.S * job.P), Index(8));  // their totals take 128 MB
  const Index groups = job.transition_out ? std::min(chains, std::min(Index(64), fit)) : chains;
  const Index large = job.scaled ? 256 : 128;  // states whose step takes longer than the threads need to meet
  const bool together = groups < r.threads && job.S >= large;
  const double work = double(std::accumulate(r.length, r.length + chains, std::int64_t(0))) * double(job.S * job.S);
  const Index worth = Index(std::min(work / 32768, double(r.threads))) + 1;  // below, waking a thread takes longer
  const Index threads = together ? r.threads : std::min({Index(r.threads), groups, worth});

  std::vector<Shared<T>> shared(static_cast<std::size_t>(together ? 1 : threads));
  for (auto& s : shared) s.reserve(job, longest);
  std::vector<std::vector<double>> totals(static_cast<std::size_t>(job.transition_out ? groups : 0));
  for (auto& total : totals) total.reserve(static_cast<std::size_t>(job.S * job.P));
  std::vector<Chain<T>> members;
  members.reserve(static_cast<std::size_t>(threads));
  for (Index k = 0; k < threads; ++k) members.emplace_back(job, shared[std::size_t(together ? 0 : k)]);

  std::atomic<Index> next{0};
#pragma omp parallel num_threads(int(threads)) if (threads > 1)
  {
    Chain<T>& member = members[std::size_t(thread_number())];
    member.join(together ? Team{thread_number(), team_size()} : Team{});
    bool going = true;
    for (Index g = together ? 0 : next++; going && g < groups; g = together ? g + 1 : next++) {
      for (Index b = g * chains / groups; going && b < (g + 1) * chains / groups; ++b) going = member.run(b);
      if (going && job.transition_out) member.hand_over(totals[std::size_t(g)]);
    }
  }
  if (job.stop.load()) return kInterrupted;
  if (job.strange.load()) return kOverflow;
  for (const auto& total : totals)
    for (Index i = 0; i < job.S; ++i)
      for (Index j = 0; j < job.S; ++j) job.transition_out[i * job.S + j] += total[std::size_t(i * job.P + j)];
  return kDone;
}

}  // namespace

Status run_chains(const ChainRequest& request) {
  if (request.chains == 0) return kDone;
  return request.single_precision ? run_as<float>(request) : run_as<double>(request);
}

}  // namespace sdtw
