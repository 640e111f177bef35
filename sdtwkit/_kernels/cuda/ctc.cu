// CTC on the GPU (math-alignment page, section 10; the cell in ctc_cell.h): values, gradients and products with the
// Hessian of any number of samples, frames and labels.
//
// Every kernel runs as
//     grid    any number of blocks: they take tasks from a queue, those of `gather` from their numbers
//     block   one warp
//     shared  static, a tile of costs or probabilities of a block of kFrames frames
// and takes one `Arguments`. A task is a strip of 32 rows of a sample; row k holds the blank before label k, and
// label k; lane l owns one row. States of a frame do not depend on each other, and what a lane needs of the row above
// was computed one frame ago: it comes by a shuffle. The label of the last row of a strip goes through device memory
// to the strip below, which runs one block of frames behind. As in alignment.cu the queue hands out strips in the
// order in which they depend on each other, so no launch can hang; and the forward pass leaves the states of all
// lanes every kFrames frames, from where the backward pass computes the probabilities of a block again.
//
// The gradient takes one more kernel. A class can be the label of many rows: `backward` leaves how probably every row
// is visited, `gather` adds up those of each class and frame, in the order of the rows. So all sums run in an order
// that the data alone decide: results repeat bitwise, on any device, with any grid.
#include "sdtwkit/ctc_cell.h"
#include "sdtwkit/node.h"

namespace sdtw {

// One line a field: the launch code reads the layout here. Every field takes 8 bytes.
template <class T> struct Arguments {
  Index samples;
  Index frames;               // of the arrays, at least the longest sample
  Index classes;
  Index targets;              // of the arrays, at least the longest label sequence
  Index blank;                // class
  const T* log_probs;         // IN  (samples, frames, classes)
  const Index* target;        // IN  (samples, targets) classes
  const Index* frames_of;     // IN  (samples,) or null: all have `frames`
  const Index* targets_of;    // IN  (samples,) or null: all have `targets`
  const T* direction;         // IN  (samples, frames, classes) of the tangent
  Index* counters;            // WORK zero on entry, see `Counters`
  void* edges;                // WORK (samples, strips, frames) nodes: labels of the last rows
  void* checkpoints;          // WORK (samples, strips, blocks, 2, 32) nodes for `backward`, or null
  T* seed;                    // WORK (samples, 4) shares of the last blank and label, and how they move
  T* sent;                    // WORK (samples, 2, frames) what a strip sends to the one above, and how that moves
  T* visits;                  // WORK (samples, frames, targets) of the labels (of a product: how these move)
  T* blanks;                  // WORK (samples, strips, frames) the same of all blanks of a strip
  Index* next;                // WORK (samples, targets) next row with this label, or `targets`; ~ if a row above has it
  T* value;                   // OUT (samples,)
  T* slope;                   // OUT (samples,)
  T* gradient;                // OUT (samples, frames, classes), zero on entry: the gradient or the product
};

constexpr int kFrames = 16;         // of a block: states are renormalised in this rhythm
constexpr int kPitch = kWarp + 1;   // of a tile: rows and columns hit all banks
constexpr int kTile = kFrames * kPitch;

template <class T> SDTW_DEVICE Index strips_of(const Arguments<T>& a) { return a.targets / kWarp + 1; }
template <class T> SDTW_DEVICE Index blocks_of(const Arguments<T>& a) { return (a.frames + kFrames - 1) / kFrames; }

// counters: queues of the two passes; (samples,) whether a number is none; for each pass (samples, strips) how far
// strips are.
template <class T> struct Counters {
  Index *queue, *strange, *progress;
  SDTW_DEVICE Counters(const Arguments<T>& a, int pass)
      : queue(a.counters + pass), strange(a.counters + 2),
        progress(a.counters + 2 + a.samples + pass * a.samples * strips_of(a)) {}
};

SDTW_DEVICE WideEntropyMin make(WideEntropyMin*) {  // gamma is 1
  constexpr double rate = -1.4426950408889634;
  WideEntropyMin op;
  op.gamma = op.inverse_gamma = 1.0f, op.rate = float(rate), op.rate_low = float(rate - double(float(rate)));
  op.wide_rate = rate;
  return op;
}
SDTW_DEVICE EntropyMin<double, true> make(EntropyMin<double, true>*) {
  EntropyMin<double, true> op;
  op.gamma = op.inverse_gamma = 1, op.rate = -1.4426950408889634, op.rate_low = -2.0355273740931033e-17;
  return op;
}

struct Sample {
  Index id, n, m;  // frames, labels
  bool broken;     // a length out of range: only a device array can bring one this far
};
template <class T> SDTW_DEVICE Sample sample_of(const Arguments<T>& a, Index id) {
  Sample s = {id, a.frames_of ? a.frames_of[id] : a.frames, a.targets_of ? a.targets_of[id] : a.targets, false};
  s.broken = s.n < 1 || s.n > a.frames || s.m < 0 || s.m > a.targets;
  return s;
}

// A strip of rows and what its lane sees of them.
template <class T> struct Strip {
  Sample sample;
  Index number, k, label;  // row of the lane, its class
  bool is_row, is_label, skips, wrong;
  SDTW_DEVICE bool is_first() const { return number == 0; }
  SDTW_DEVICE bool is_last() const { return number == sample.m / kWarp; }

  SDTW_DEVICE Strip(const Arguments<T>& a, const Sample& s, Index strip)
      : sample(s), number(strip), k(strip * kWarp + lane_of_thread()), label(a.blank), is_row(k <= s.m),
        is_label(k < s.m), skips(false), wrong(false) {
    if (!is_label) return;
    const Index* const targets = a.target + s.id * a.targets;
    skips = k > 0 && targets[k] != targets[k - 1];
    wrong = targets[k] < 0 || targets[k] >= a.classes || targets[k] == a.blank;  // only a device array can bring one
    if (!wrong) label = targets[k];
  }
};

// A lane's blank and label as a block of frames goes by.
template <class Op, bool Tangents> struct Front {
  using T = typename Op::Scalar;
  using N = Node<Op, Tangents>;
  N label, blank;

  SDTW_DEVICE void begin(const Op& op, Index k) {  // the empty path stands in the first blank
    label = node<N>(op.unreachable(), T(0)), blank = node<N>(k == 0 ? op.one() : op.unreachable(), T(0));
  }
  // Q: OUT stay, from the blank, from a label; stayed, left. C: OUT how they move.
  SDTW_DEVICE void advance(const Op& op, N edge, bool skips, bool is_label, T cost, T blank_cost, T z, T blank_z,
                           T (&q)[5], T (&c)[5]) {
    const T infinity = Real<T>::infinity();
    N previous = node<N>(from_lane_above(label.state), from_lane_above(label.moved()));
    if (lane_of_thread() == 0) previous = edge;
    const bool possible = blank_cost < infinity;
    const auto cell = ctc_cell(op, label.state, blank.state, previous.state, skips, is_label ? cost : infinity,
                               possible, possible ? blank_cost : T(0));
    q[0] = cell.label.q.left, q[1] = cell.label.q.diag, q[2] = cell.label.q.up, q[3] = cell.stayed, q[4] = cell.left;
    T moved = 0, blank_moved = 0;
    if constexpr (Tangents) {
      const Three<T> ones = {1, 1, 1};
      const auto l = tangent_cell(op, cell.label.q, {label.moved(), blank.moved(), previous.moved()},
                                  cost < infinity ? z : T(0), ones);
      const auto b = tangent_cell(op, {q[3], T(0), q[4]}, {blank.moved(), T(0), previous.moved()},
                                  possible ? blank_z : T(0), ones);
      moved = l.value, blank_moved = b.value;
      c[0] = l.q.left, c[1] = l.q.diag, c[2] = l.q.up, c[3] = b.q.left, c[4] = b.q.up;
    }
    label = node<N>(cell.label.state, moved), blank = node<N>(cell.blank, blank_moved);
  }
  SDTW_DEVICE void renormalise(const Op& op) {
    label.state = op.renormalise(label.state), blank.state = op.renormalise(blank.state);
  }
};

// Places of a sample and a strip.
template <class N, class T> SDTW_DEVICE N* edge_of(const Arguments<T>& a, const Sample& s, Index strip) {
  return static_cast<N*>(a.edges) + (s.id * strips_of(a) + strip) * a.frames;
}
template <class N, class T, class S> SDTW_DEVICE N* checkpoint(const Arguments<T>& a, const S& s, Index block) {
  return static_cast<N*>(a.checkpoints) +
         ((s.sample.id * strips_of(a) + s.number) * blocks_of(a) + block) * 2 * kWarp + lane_of_thread();
}

// Numbers of a block of frames, from `scores` (samples, frames, classes): OUT minus those of the lane's label, in the
// lane's column of the tile, and of the blank, for the frame of the lane.
template <class T>
SDTW_DEVICE T load_block(const Arguments<T>& a, const T* scores, const Strip<T>& s, Index t0, int count,
                         Shared<T> tile) {
  const T* const first = scores + (s.sample.id * a.frames + t0) * a.classes;
  for (int f = 0; f < count; ++f) tile[f * kPitch + lane_of_thread()] = -first[f * a.classes + s.label];
  return lane_of_thread() < count ? -first[lane_of_thread() * a.classes + a.blank] : T(0);
}
// The label of the row above a strip, one frame before t.
template <class N, class Op, class T>
SDTW_DEVICE N node_above(const Arguments<T>& a, const Op& op, const Strip<T>& s, Index t) {
  if (s.is_first() || t == 0) return node<N>(op.unreachable(), T(0));
  return load_node(edge_of<N>(a, s.sample, s.number - 1) + t - 1);
}

SDTW_DEVICE double nan() { return Real<double>::unbits(0x7ff8000000000000LL); }

// Value, and the shares of the two last states, which lie with one lane. Sums in float64.
template <class N, class T>
SDTW_DEVICE void close(const Arguments<T>& a, const Sample& s, N blank, N label, bool strange) {
  const double top = max2(double(blank.state.exponent), double(label.state.exponent));
  const double x = double(blank.state.mantissa) * exp2(double(blank.state.exponent) - top);
  const double y = double(label.state.mantissa) * exp2(double(label.state.exponent) - top);
  const double total = x + y;
  const bool reached = total > 0;
  double value = reached ? -(log(total) + top * 0.69314718055994530942) : Real<double>::infinity();
  double p = reached ? x / total : 0, q = reached ? y / total : 0;
  if (strange) value = p = q = nan();
  a.value[s.id] = T(value);
  T* const seed = a.seed + s.id * 4;
  seed[0] = T(p), seed[1] = T(q);
  if (!a.slope) return;
  const double bend = p * q * (double(blank.moved()) - double(label.moved()));
  a.slope[s.id] = T(p * double(blank.moved()) + q * double(label.moved()));
  seed[2] = T(-bend), seed[3] = T(bend);
}

// Where else the label of the lane's row stands.
template <class T> SDTW_DEVICE void link(const Arguments<T>& a, const Strip<T>& s) {
  if (!s.is_label) return;
  const Index* const targets = a.target + s.sample.id * a.targets;
  Index next = a.targets;
  bool first = true;
  for (Index k = 0; k < s.sample.m; ++k) {
    if (k == s.k || targets[k] != targets[s.k]) continue;
    if (k < s.k) first = false;
    else next = min2(next, k);
  }
  a.next[s.sample.id * a.targets + s.k] = first ? next : ~next;
}

// grid (any), block (32,). IN log_probs, target, direction; WORK edges, checkpoints; OUT value, slope, `seed`, `next`.
template <class Op, bool Tangents> SDTW_DEVICE void forward(const Arguments<typename Op::Scalar>& a) {
  using T = typename Op::Scalar;
  using N = Node<Op, Tangents>;
  SDTW_SHARED(T, tile, (Tangents ? 2 : 1) * kTile);
  SDTW_SHARED(T, blank_tile, (Tangents ? 2 : 1) * kFrames);
  SDTW_SHARED(N, above, kFrames);
  const Counters<T> counters(a, 0);
  const Op op = make(static_cast<Op*>(nullptr));
  const int lane = lane_of_thread();

  for (;;) {
    const Index task = next_task(counters.queue);
    if (task >= a.samples * strips_of(a)) return;
    const Sample sample = sample_of(a, task % a.samples);
    const Index number = task / a.samples;
    if (sample.broken) {
      if (number > 0 || lane > 0) continue;
      a.value[sample.id] = T(nan());
      if (a.slope) a.slope[sample.id] = a.value[sample.id];
      continue;
    }
    if (number > sample.m / kWarp) continue;
    const Strip<T> s(a, sample, number);
    Index* const progress = counters.progress + sample.id * strips_of(a) + number;
    bool strange = s.wrong;
    if (a.checkpoints) link(a, s);
    Front<Op, Tangents> front;
    front.begin(op, s.k);

    for (Index t0 = 0; t0 < sample.n; t0 += kFrames) {
      const int count = int(min2(Index(kFrames), sample.n - t0));
      const T blank_cost = load_block(a, a.log_probs, s, t0, count, tile);
      strange |= lane < count && !(blank_cost > -Real<T>::infinity());
      if (lane < kFrames) blank_tile[lane] = blank_cost;
      if constexpr (Tangents) {
        const T blank_z = load_block(a, a.direction, s, t0, count, tile + kTile);
        if (lane < kFrames) blank_tile[kFrames + lane] = blank_z;
      }
      if (!s.is_first()) await(progress - 1, t0 + count - 1);
      if (lane < count) above[lane] = node_above<N>(a, op, s, t0 + lane);
      if (a.checkpoints) {
        N* const place = checkpoint<N>(a, s, t0 / kFrames);
        store_node(place, front.label);
        store_node(place + kWarp, front.blank);
      }
      __syncwarp();
      for (int f = 0; f < count; ++f) {
        const int at = f * kPitch + lane;
        const T cost = tile[at], all_blank = blank_tile[f];
        const T z = Tangents ? T(tile[(Tangents ? kTile : 0) + at]) : T(0);
        const T blank_z = Tangents ? T(blank_tile[(Tangents ? kFrames : 0) + f]) : T(0);
        const N edge = above[f];
        strange |= s.is_label && !(cost > -Real<T>::infinity());
        T q[5], c[5];
        front.advance(op, edge, s.skips, s.is_label, cost, all_blank, z, blank_z, q, c);
        if (lane == kWarp - 1 && !s.is_last()) {
          N leaving = front.label;
          leaving.state = op.renormalise(leaving.state);
          store_node(edge_of<N>(a, sample, number) + t0 + f, leaving);
        }
      }
      front.renormalise(op);
      if (!s.is_last()) publish(progress, t0 + count);
      else __syncwarp();  // as publish does: the next block writes to the tiles
    }
    // What is strange above is known by now: a strip is done when the one above is.
    if (any_lane(strange) && lane == 0) atomicMax(counters.strange + sample.id, Index(1));
    if (!s.is_first()) await(progress - 1, sample.n + 1);
    if (!s.is_last()) {
      publish(progress, sample.n + 1);
      continue;
    }
    N label = node<N>(from_lane_above(front.label.state), from_lane_above(front.label.moved()));
    if (lane == 0) label = node_above<N>(a, op, s, sample.n);
    const bool any = any_lane(strange);
    if (s.k == sample.m)
      close(a, sample, front.blank, label, any || *static_cast<volatile Index*>(counters.strange + sample.id) != 0);
  }
}

// grid (any), block (32,). IN log_probs, target, direction, `edges`, `checkpoints`, `seed`; WORK sent; OUT `visits`,
// `blanks`.
template <class Op, bool Tangents> SDTW_DEVICE void backward(const Arguments<typename Op::Scalar>& a) {
  using T = typename Op::Scalar;
  using N = Node<Op, Tangents>;
  constexpr int kMessages = Tangents ? 2 : 1;
  SDTW_SHARED(T, tile, (Tangents ? 10 : 5) * kTile);  // costs and directions, then probabilities and how they move
  SDTW_SHARED(T, blank_tile, kMessages * kFrames);
  SDTW_SHARED(N, above, kFrames);
  SDTW_SHARED(T, arriving, kMessages * kFrames);  // to lane 31 from the strip below
  SDTW_SHARED(T, leaving, kMessages * kFrames);   // from lane 0 to the strip above
  const Counters<T> counters(a, 1);
  const Op op = make(static_cast<Op*>(nullptr));
  const int lane = lane_of_thread();

  for (;;) {
    const Index task = next_task(counters.queue);
    if (task >= a.samples * strips_of(a)) return;
    const Sample sample = sample_of(a, task % a.samples);
    const Index number = strips_of(a) - 1 - task / a.samples;
    if (sample.broken || number > sample.m / kWarp) continue;
    const Strip<T> s(a, sample, number);
    Index* const progress = counters.progress + sample.id * strips_of(a) + number;
    const T* const seed = a.seed + sample.id * 4;
    T* const sent = a.sent + sample.id * 2 * a.frames;
    T blank = s.k == sample.m ? seed[0] : T(0), label = s.k + 1 == sample.m ? seed[1] : T(0);
    T moved_blank = 0, moved_label = 0;
    if (Tangents) {
      moved_blank = s.k == sample.m ? seed[2] : T(0), moved_label = s.k + 1 == sample.m ? seed[3] : T(0);
    }

    for (Index block = (sample.n - 1) / kFrames; block >= 0; --block) {
      const Index t0 = block * kFrames;
      const int count = int(min2(Index(kFrames), sample.n - t0));
      const T blank_cost = load_block(a, a.log_probs, s, t0, count, tile);
      if (lane < kFrames) blank_tile[lane] = blank_cost;
      if constexpr (Tangents) {
        const T blank_z = load_block(a, a.direction, s, t0, count, tile + 5 * kTile);
        if (lane < kFrames) blank_tile[kFrames + lane] = blank_z;
      }
      if (lane < count) above[lane] = node_above<N>(a, op, s, t0 + lane);
      Front<Op, Tangents> front;
      const N* const place = checkpoint<N>(a, s, block);
      front.label = load_node(place), front.blank = load_node(place + kWarp);
      __syncwarp();
      for (int f = 0; f < count; ++f) {  // a lane reads and writes its own slots
        const int at = f * kPitch + lane;
        const T cost = tile[at], all_blank = blank_tile[f];
        const T z = Tangents ? T(tile[(Tangents ? 5 * kTile : 0) + at]) : T(0);
        const T blank_z = Tangents ? T(blank_tile[(Tangents ? kFrames : 0) + f]) : T(0);
        const N edge = above[f];
        T q[5], c[5];
        front.advance(op, edge, s.skips, s.is_label, cost, all_blank, z, blank_z, q, c);
        for (int j = 0; j < 5; ++j) tile[j * kTile + at] = q[j];
        if constexpr (Tangents)
          for (int j = 0; j < 5; ++j) tile[(5 + j) * kTile + at] = c[j];
      }

      if (!s.is_last()) await(progress + 1, sample.n - t0);
      if (lane < count)
        for (int j = 0; j < kMessages; ++j)
          arriving[j * kFrames + lane] = s.is_last() ? T(0) : load_fresh(sent + j * a.frames + t0 + lane);
      __syncwarp();
      for (int f = count - 1; f >= 0; --f) {
        const int at = f * kPitch + lane;
        const T stay = tile[at], from_blank = tile[kTile + at], from_label = tile[2 * kTile + at],
                stayed = tile[3 * kTile + at], left = tile[4 * kTile + at];
        const T message = left * blank + from_label * label;
        T below = from_lane_below(message);
        if (lane == kWarp - 1) below = arriving[f];
        if (lane == 0) leaving[f] = message;
        T out = label, out_blank = blank;
        if constexpr (Tangents) {
          out = moved_label, out_blank = moved_blank;
          const T c_stay = tile[5 * kTile + at], c_from_blank = tile[6 * kTile + at],
                  c_from_label = tile[7 * kTile + at], c_stayed = tile[8 * kTile + at], c_left = tile[9 * kTile + at];
          const T moved = (left * moved_blank + c_left * blank) + (from_label * moved_label + c_from_label * label);
          T moved_below = from_lane_below(moved);
          if (lane == kWarp - 1) moved_below = arriving[kFrames + f];
          if (lane == 0) leaving[kFrames + f] = moved;
          const T next = (stay * moved_label + c_stay * label) + moved_below;
          moved_blank = (stayed * moved_blank + c_stayed * blank) + (from_blank * moved_label + c_from_blank * label);
          moved_label = next;
        }
        if (s.is_label) a.visits[(sample.id * a.frames + t0 + f) * a.targets + s.k] = out;
        tile[at] = s.is_row ? out_blank : T(0);
        const T next = stay * label + below;
        blank = stayed * blank + from_blank * label;
        label = next;
      }
      __syncwarp();
      if (lane < count) {  // a lane adds up the blanks of a frame
        T sum = 0;
        for (int l = 0; l < kWarp; ++l) sum += tile[lane * kPitch + l];
        a.blanks[(sample.id * strips_of(a) + number) * a.frames + t0 + lane] = sum;
        for (int j = 0; j < kMessages; ++j) {
          const T message = leaving[j * kFrames + lane];
          if (!s.is_first()) store_through(sent + j * a.frames + t0 + lane, message);
        }
      }
      if (!s.is_first()) publish(progress, sample.n - t0);
      else __syncwarp();  // as publish does: the next block writes to the tiles
    }
  }
}

// grid (any), block (32,), a frame a warp. IN target, `visits`, `blanks`, `next`; OUT gradient.
template <class T> SDTW_DEVICE void gather(const Arguments<T>& a) {
  const int lane = lane_of_thread();
  for (Index task = blockIdx.x; task < a.samples * a.frames; task += gridDim.x) {
    const Sample s = sample_of(a, task / a.frames);
    const Index t = task % a.frames;
    if (s.broken || t >= s.n) continue;
    T* const row = a.gradient + (s.id * a.frames + t) * a.classes;
    const T* const visits = a.visits + (s.id * a.frames + t) * a.targets;
    const Index *const next = a.next + s.id * a.targets, *const targets = a.target + s.id * a.targets;
    T blanks = 0;
    for (Index strip = lane; strip <= s.m / kWarp; strip += kWarp)
      blanks += a.blanks[(s.id * strips_of(a) + strip) * a.frames + t];
    blanks = over_lanes(blanks, Sum());
    if (lane == 0) row[a.blank] = -blanks;
    for (Index k = lane; k < s.m; k += kWarp) {
      const Index label = targets[k];
      if (next[k] < 0 || label < 0 || label >= a.classes || label == a.blank) continue;
      T sum = 0;
      for (Index j = k; j < a.targets; j = next[j] < 0 ? ~next[j] : next[j]) sum += visits[j];
      row[label] = -sum;
    }
  }
}

}  // namespace sdtw
