// Coupled GRUs on the GPU (equations in gru.h, a unit's formulas in gru_cell.h): states and gates of any number of
// pairs, of any length and size, and the gradient of their contrastive loss.
//
// Every kernel runs as
//     grid    any number of blocks: block k of `forward` and `backward` takes the pairs k, k + gridDim, ...; of the
//             others, the threads of all blocks share the entries of what is computed
//     block   whole warps, as many as the rows of the weights are worth
//     shared  of `forward` and `backward`, where they are launched with `near`, the weights of the states, S H numbers;
//             else none. What threads hand on goes through device memory, which the first-level cache keeps near
// and takes one `Arguments`. Only the steps follow each other, so `forward` and `backward` take a pair through all of
// them, and what is a product over all cells is left to the others: `project` gives each cell what x adds to its gates;
// `by_x` takes the derivatives inside the gates back to x; `by_weights` and `gather` to the parameters.
//
// A step is made of two kinds of work, a barrier after each. In a product with the weights a thread takes an entry of
// the result, for both sides, whose vectors lie number beside number: two reads for two products, and the threads of
// a warp read neighbouring weights, for which the forward pass takes them transposed. Backward, [U; Uc; Vc] is taken
// block by block, which keeps as many threads at work. In what follows, a thread takes a unit, and adds up the blocks.
//
// Why it is safe: products read `vectors` and write `scratch`; the rest reads `scratch` and, of the states and rows,
// what was there before, and writes `vectors`, states and rows; and a block_barrier stands between any two. Pairs have
// a place each in every array.
//
// All sums run in an order that the data alone decide: results repeat bitwise, on any device, with any grid.
#include "sdtwkit/gru_cell.h"
#include "sdtwkit/device.h"

namespace sdtw {

// One line a field: the launch code reads the layout here. Every field takes 8 bytes. S = 3 H or, coupled, 5 H.
template <class T> struct Arguments {
  Index pairs;
  Index steps;
  Index channels;
  Index hidden;
  Index coupled;                // whether rows have a block of the coupling's gate
  Index hold;                   // a partner that has ended goes on driving
  Index whole;                  // all steps are run; else those up to the longer length
  Index parts;                  // of the sums over sequences
  double kappa;
  double margin;
  double beta;
  const Index* lengths1;        // IN  (pairs,) or null: all have `steps`
  const Index* lengths2;        // IN  likewise
  const double* same;           // IN  (pairs,) 1 or 0
  const T* x;                   // IN  (2, pairs, steps, channels), 0 beyond the lengths
  const T* input_weights;       // IN  (row - H, channels) Wc, W_n, W_r, W_z
  const T* bias;                // IN  (row,) bc, b_in, b_ir + b_hr, b_iz + b_hz, b_hn
  const T* state_weights;       // IN  (S, H) U_r, U_z, U_n, Uc, Vc
  const T* input_columns;       // IN  (channels, row - H) input_weights, transposed
  const T* state_columns;       // IN  (H, S) state_weights, transposed
  T* states;                    // (2, pairs, steps + 1, H), those of the start included; OUT forward, IN backward
  T* rows;                      // (2, pairs, steps, row) as in gru.h; the c of a step that does not couple is 0
  T* moved;                     // (2, pairs, steps, H) WORK of "pre"
  T* vectors;                   // WORK (pairs, 5 H, 2) what meets the weights in this step, side beside side
  T* scratch;                   // WORK (pairs, 2, S)
  T* before;                    // WORK (pairs, 2, H)
  double* value;                // OUT (pairs,) shares in the loss
  T* x_gradient;                // OUT as x
  T* sums;                      // WORK (parts, entries) shares in the gradient
  T* gradient;                  // OUT (entries,) as input_weights, then bias, then state_weights
};

template <class T> SDTW_DEVICE Index row_of(const Arguments<T>& a) { return (a.coupled ? 5 : 4) * a.hidden; }
template <class T> SDTW_DEVICE Index inputs_of(const Arguments<T>& a) { return row_of(a) - a.hidden; }
template <class T> SDTW_DEVICE Index state_width_of(const Arguments<T>& a) { return (a.coupled ? 5 : 3) * a.hidden; }
template <class T> SDTW_DEVICE Index entries_of(const Arguments<T>& a) {
  return inputs_of(a) * a.channels + row_of(a) + state_width_of(a) * a.hidden;
}

SDTW_DEVICE Index first_entry() { return Index(blockIdx.x) * blockDim.x + threadIdx.x; }
SDTW_DEVICE Index entry_stride() { return Index(gridDim.x) * blockDim.x; }

// Lengths of a pair. One that is out of range, which only the device knows, makes the pair's states NaN.
struct Lengths {
  Index first, second;
  bool wrong;
  template <class T>
  SDTW_DEVICE Lengths(const Arguments<T>& a, Index b)
      : first(a.lengths1 ? a.lengths1[b] : a.steps), second(a.lengths2 ? a.lengths2[b] : a.steps) {
    wrong = first < 1 || first > a.steps || second < 1 || second > a.steps;
    if (wrong) first = second = a.steps;
  }
  SDTW_DEVICE Index of(int side) const { return side ? second : first; }
  SDTW_DEVICE Index common() const { return min2(first, second); }
  SDTW_DEVICE Index longer() const { return max2(first, second); }
};

// A number of each side.
template <class T> struct alignas(2 * sizeof(T)) Both { T first, second; };

// The passes of a block over one pair; `weights` are state_columns forward, state_weights backward.
template <class T, int C, class Weights> class Pair {
 public:
  SDTW_DEVICE Pair(const Arguments<T>& a, Weights weights, Index b)
      : a_(a), weights_(weights), b_(b), H_(a.hidden), width_(state_width_of(a)), row_(row_of(a)), lengths_(a, b) {}

  SDTW_DEVICE void forward() const {
    const Index run = a_.whole ? a_.steps : lengths_.longer();
    for (Index p = threadIdx.x; p < 2 * H_; p += blockDim.x)
      put_state(side_of(p), unit_of(p), 0, lengths_.wrong ? Real<T>::infinity() - Real<T>::infinity() : T(0));
    block_barrier();
    for (Index t = 0; t < run; ++t) {
      if (C == kPre) {
        multiply(3 * H_, 5 * H_, 0);
        block_barrier();
        couple(t);
        block_barrier();
        multiply(0, 3 * H_, H_);
      } else {
        multiply(0, width_, 0);
      }
      block_barrier();
      advance(t);
      block_barrier();
    }
    for (Index p = threadIdx.x; p < 2 * H_; p += blockDim.x) stay(side_of(p), unit_of(p), run);
  }

  // Fills `value`, and puts derivatives in place of the gates.
  SDTW_DEVICE void backward() const {
    const Index run = lengths_.longer();
    const Start start = contrast();
    for (int side = 0; side < 2; ++side)
      for (Index p = run * row_ + threadIdx.x; p < a_.steps * row_; p += blockDim.x) row(side, 0)[p] = T(0);
    for (Index t = run - 1; t >= 0; --t) {
      retreat(t, t == run - 1, start);
      block_barrier();
      if (C == kPre) {
        multiply_back(0, 3 * H_);
        block_barrier();
        release(t);
        block_barrier();
        multiply_back(3 * H_, 5 * H_);
      } else {
        multiply_back(0, width_);
      }
      block_barrier();
    }
  }

 private:
  const Arguments<T>& a_;
  const Weights weights_;
  const Index b_, H_, width_, row_;
  const Lengths lengths_;

  struct Start { T last, along; };  // factors of h^1 - h^2 in the cotangent: of the last states, and at common steps

  SDTW_DEVICE int side_of(Index p) const { return p < H_ ? 0 : 1; }
  SDTW_DEVICE Index unit_of(Index p) const { return p < H_ ? p : p - H_; }
  SDTW_DEVICE T* state(int side, Index t) const {
    return a_.states + ((side * a_.pairs + b_) * (a_.steps + 1) + t) * H_;
  }
  SDTW_DEVICE Index cell(int side, Index t) const { return (side * a_.pairs + b_) * a_.steps + t; }
  SDTW_DEVICE T* row(int side, Index t) const { return a_.rows + cell(side, t) * row_; }
  SDTW_DEVICE T* moved(int side, Index t) const { return a_.moved + cell(side, t) * H_; }
  SDTW_DEVICE Both<T>* vectors() const { return reinterpret_cast<Both<T>*>(a_.vectors) + 5 * b_ * H_; }
  SDTW_DEVICE void put(Index k, int side, T x) const { a_.vectors[2 * (5 * b_ * H_ + k) + side] = x; }
  SDTW_DEVICE void put_state(int side, Index i, Index t, T x) const { state(side, t)[i] = x, put(i, side, x); }
  SDTW_DEVICE T* scratch(int side) const { return a_.scratch + (2 * b_ + side) * width_; }
  SDTW_DEVICE T* before(int side) const { return a_.before + (2 * b_ + side) * H_; }
  SDTW_DEVICE bool running(int side, Index t) const { return t < lengths_.of(side); }
  SDTW_DEVICE bool active(Index t) const { return a_.hold || t < lengths_.common(); }

  // scratch[first, last) of both sides: those rows of the weights times the vectors at `at`. Vc meets the partner's.
  SDTW_DEVICE void multiply(Index first, Index last, Index at) const {
    const Both<T>* v = vectors() + at;
    for (Index s = first + threadIdx.x; s < last; s += blockDim.x) {
      T sum1 = 0, sum2 = 0;
#pragma unroll 8
      for (Index k = 0; k < H_; ++k) {
        const T weight = weights_[k * width_ + s];
        const Both<T> x = v[k];
        sum1 += weight * x.first, sum2 += weight * x.second;
      }
      const int turned = s >= 4 * H_;
      scratch(turned)[s] = sum1;
      scratch(1 - turned)[s] = sum2;
    }
  }

  // c of a unit, and k.
  SDTW_DEVICE T coupled_by(int side, Index i, Index t) const {
    T* c = row(side, t) + i;
    if (!active(t)) return *c = T(0);
    const T* sums = scratch(side);
    *c = coupling_gate(*c, a_.bias[i], sums[3 * H_ + i], sums[4 * H_ + i]);
    return pull(T(a_.kappa), *c, state(side, t)[i], state(1 - side, t)[i]);
  }
  SDTW_DEVICE void couple(Index t) const {
    for (Index p = threadIdx.x; p < 2 * H_; p += blockDim.x) {
      const int side = side_of(p);
      const Index i = unit_of(p);
      const T reached = state(side, t)[i] + coupled_by(side, i, t);
      moved(side, t)[i] = reached;
      put(H_ + i, side, reached);
    }
  }

  // The other gates, and the next state.
  SDTW_DEVICE void advance(Index t) const {
    for (Index p = threadIdx.x; p < 2 * H_; p += blockDim.x) {
      const int side = side_of(p);
      const Index i = unit_of(p);
      const T own = state(side, t)[i], shift = C == kNone  ? T(0)
                                               : C == kPre ? moved(side, t)[i]
                                                           : coupled_by(side, i, t);
      if (!running(side, t)) {
        put_state(side, i, t + 1, own);
        continue;
      }
      const T* sums = scratch(side);
      const T *input = row(side, t) + skip() + i, *bias = a_.bias + skip() + i;
      const Cell<T> g = gates<T>({input[0], input[H_], input[2 * H_], T(0)}, read(bias), sums[i], sums[H_ + i],
                                 sums[2 * H_ + i]);
      write(side, i, t, g);
      const T reached = next_state(g, base_of<C>(own, shift));
      put_state(side, i, t + 1, C == kAdd ? reached + shift : reached);
    }
  }

  // From a step on, a unit stays where it is; its c is already 0, as x is.
  SDTW_DEVICE void stay(int side, Index i, Index t) const {
    const T last = state(side, t)[i];
    for (; t < a_.steps; ++t) state(side, t + 1)[i] = last;
  }

  // The pair's share in the loss; every warp computes the distance, the first the way there.
  SDTW_DEVICE Start contrast() const {
    const Index common = lengths_.common(), run = lengths_.longer();
    const double share = 1. / double(a_.pairs), same = a_.same[b_];
    const double square = distance_squared(run), d = sqrt(square + 1e-12), gap = max2(0., a_.margin - d);  // NaN of NaN
    const bool known = same == 0. || same == 1.;
    const double rate = same * a_.beta / double(common);
    const double nowhere = Real<double>::infinity() - Real<double>::infinity();
    if (warp_of_thread() == 0) {
      double along = 0;
      for (Index t = 1; rate > 0 && t <= common; ++t) along += distance_squared(t);
      const double loss = 0.5 * (same == 1. ? square : gap * gap) + rate * along;
      if (lane_of_thread() == 0) a_.value[b_] = known ? loss * share : nowhere;
    }
    const double last = same == 1. ? share : -share * gap / d;
    return {T(known ? last : nowhere), T(2 * share * rate)};
  }
  SDTW_DEVICE double distance_squared(Index t) const {
    double sum = 0;
    for (Index i = lane_of_thread(); i < H_; i += kWarp) {
      const double e = double(state(0, t)[i]) - double(state(1, t)[i]);
      sum += e * e;
    }
    return over_lanes(sum, Sum());
  }

  // From the cotangents of the states after step t to the derivatives inside the gates; `before` receives what reaches
  // the old states, but for what goes through the products.
  SDTW_DEVICE void retreat(Index t, bool last, Start start) const {
    for (Index i = threadIdx.x; i < H_; i += blockDim.x) {
      const T e = state(0, t + 1)[i] - state(1, t + 1)[i];
      T q1 = last ? start.last * e : C == kPre ? added(0, i, 3, 5) : added(0, i, 0, C == kNone ? 3 : 5);
      T q2 = last ? -(start.last * e) : C == kPre ? added(1, i, 3, 5) : added(1, i, 0, C == kNone ? 3 : 5);
      if (start.along != T(0) && t < lengths_.common()) q1 += start.along * e, q2 -= start.along * e;
      T rest1 = unit_back(0, i, t, q1), rest2 = unit_back(1, i, t, q2);
      if (C == kLeak) uncouple(i, t, rest1, rest2, rest1, rest2);
      if (C == kAdd) uncouple(i, t, q1, q2, rest1, rest2);
      before(0)[i] = rest1, before(1)[i] = rest2;
    }
  }
  // "pre", once the products with U have reached the moved states.
  SDTW_DEVICE void release(Index t) const {
    for (Index i = threadIdx.x; i < H_; i += blockDim.x) {
      T rest1 = added(0, i, 0, 3), rest2 = added(1, i, 0, 3);
      uncouple(i, t, rest1, rest2, rest1, rest2);
      before(0)[i] = rest1, before(1)[i] = rest2;
    }
  }
  // `before` and the products of some blocks of the weights.
  SDTW_DEVICE T added(int side, Index i, int first, int last) const {
    T sum = before(side)[i];
    for (int block = first; block < last; ++block) sum += scratch(side)[block * H_ + i];
    return sum;
  }
  SDTW_DEVICE T unit_back(int side, Index i, Index t, T q) const {
    if (!running(side, t)) {
      write_back(side, i, t, {T(0), T(0), T(0), T(0)});
      return q;
    }
    const Cell<T> g = read(row(side, t) + skip() + i);
    const T own = state(side, t)[i];
    const T shift = C == kPre    ? moved(side, t)[i]
                    : C == kLeak ? pull(T(a_.kappa), row(side, t)[i], own, state(1 - side, t)[i])
                                 : T(0);
    write_back(side, i, t, inside_gates(g, base_of<C>(own, shift), q));
    return q * g.z;
  }
  // From w, the derivatives with respect to k, to those inside c, and to what k passes on to both states.
  SDTW_DEVICE void uncouple(Index i, Index t, T w1, T w2, T& rest1, T& rest2) const {
    const T net = flow(0, i, t, w1) - flow(1, i, t, w2);
    rest1 -= net, rest2 += net;
  }
  SDTW_DEVICE T flow(int side, Index i, Index t, T w) const {
    T* c = row(side, t) + i;
    const T gate = *c, omega = running(side, t) && active(t) ? T(a_.kappa) * w : T(0);
    const T inside = inside_coupling(omega, gate, state(side, t)[i], state(1 - side, t)[i]);
    *c = inside;
    put(3 * H_ + i, side, inside), put(4 * H_ + i, 1 - side, inside);
    return omega * gate;
  }

  // scratch[first, last) of both sides: blocks of the transposed weights times the vectors of their place.
  SDTW_DEVICE void multiply_back(Index first, Index last) const {
    for (Index s = first + threadIdx.x; s < last; s += blockDim.x) {
      const Index block = s / H_, at = block * H_ * H_ + (s - block * H_);
      const Both<T>* v = vectors() + block * H_;
      T sum1 = 0, sum2 = 0;
#pragma unroll 8
      for (Index j = 0; j < H_; ++j) {
        const T weight = weights_[at + j * H_];
        const Both<T> x = v[j];
        sum1 += weight * x.first, sum2 += weight * x.second;
      }
      scratch(0)[s] = sum1;
      scratch(1)[s] = sum2;
    }
  }

  SDTW_DEVICE Index skip() const { return C == kNone ? 0 : H_; }
  SDTW_DEVICE Cell<T> read(const T* n) const { return {n[0], n[H_], n[2 * H_], n[3 * H_]}; }
  SDTW_DEVICE void write(int side, Index i, Index t, Cell<T> g) const {
    T* n = row(side, t) + skip() + i;
    n[0] = g.n, n[H_] = g.r, n[2 * H_] = g.z, n[3 * H_] = g.u;
  }
  SDTW_DEVICE void write_back(int side, Index i, Index t, Cell<T> d) const {
    write(side, i, t, d);
    put(i, side, d.r), put(H_ + i, side, d.z), put(2 * H_ + i, side, d.u);
  }
};

// The weights, in shared memory if they are to be near; a pass has a barrier before it reads them.
template <class T, bool Near> struct Kept {
  Shared<T> weights;
  SDTW_DEVICE Kept(Shared<T> room, const T* from, Index count) : weights(room) {
    for (Index k = threadIdx.x; k < count; k += blockDim.x) weights[k] = from[k];
  }
};
template <class T> struct Kept<T, false> {
  const T* weights;
  SDTW_DEVICE Kept(Shared<T>, const T* from, Index) : weights(from) {}
};

template <class T, int C, bool Near> SDTW_DEVICE void forward(const Arguments<T>& a) {
  const Index count = state_width_of(a) * a.hidden;
  SDTW_SHARED_AT_LAUNCH(T, room, Near ? count : 0);
  const Kept<T, Near> kept(room, a.state_columns, count);
  for (Index b = blockIdx.x; b < a.pairs; b += gridDim.x)
    Pair<T, C, decltype(kept.weights)>(a, kept.weights, b).forward();
}
template <class T, int C, bool Near> SDTW_DEVICE void backward(const Arguments<T>& a) {
  const Index count = state_width_of(a) * a.hidden;
  SDTW_SHARED_AT_LAUNCH(T, room, Near ? count : 0);
  const Kept<T, Near> kept(room, a.state_weights, count);
  for (Index b = blockIdx.x; b < a.pairs; b += gridDim.x)
    Pair<T, C, decltype(kept.weights)>(a, kept.weights, b).backward();
}

// What x gives to each cell's gates.
template <class T> SDTW_DEVICE void project(const Arguments<T>& a) {
  const Index inputs = inputs_of(a), entries = 2 * a.pairs * a.steps * inputs;
  for (Index e = first_entry(); e < entries; e += entry_stride()) {
    const Index cell = e / inputs, j = e - cell * inputs;
    const T *x = a.x + cell * a.channels, *column = a.input_columns + j;
    T sum = 0;
    for (Index k = 0; k < a.channels; ++k, column += inputs) sum += *column * x[k];
    a.rows[cell * row_of(a) + j] = sum;
  }
}
// And what its gradient gets from them.
template <class T> SDTW_DEVICE void by_x(const Arguments<T>& a) {
  const Index inputs = inputs_of(a), d = a.channels, entries = 2 * a.pairs * a.steps * d;
  for (Index e = first_entry(); e < entries; e += entry_stride()) {
    const Index cell = e / d;
    const T *row = a.rows + cell * row_of(a), *weight = a.input_weights + (e - cell * d);
    T sum = 0;
    for (Index j = 0; j < inputs; ++j, weight += d) sum += row[j] * *weight;
    a.x_gradient[e] = sum;
  }
}

// The share in an entry of the gradient that sequences part, part + parts, ... have: sums over their cells of a
// derivative inside a gate times what it multiplies there.
template <class T, int C> SDTW_DEVICE T share_of(const Arguments<T>& a, Index entry, Index part) {
  const Index H = a.hidden, d = a.channels, steps = a.steps, row = row_of(a);
  const Index of_inputs = inputs_of(a) * d, of_bias = of_inputs + row;
  const bool by_state = entry >= of_bias, by_input = entry < of_inputs;
  const Index e = by_state ? entry - of_bias : by_input ? entry : entry - of_inputs;
  const Index pitch = by_state ? H : by_input ? d : 1, j = e / pitch, i = e - j * pitch, block = by_state ? j / H : 0;
  // Of the state's blocks r, z and u are the last of a row, c, for Uc and for Vc, is the first.
  const Index at = !by_state ? j : block < 3 ? row - 3 * H + j : j - block * H;
  T sum = 0;
  for (Index sequence = part; sequence < 2 * a.pairs; sequence += a.parts) {
    const bool second = sequence >= a.pairs;
    const Index b = second ? sequence - a.pairs : sequence, partner = second ? b : b + a.pairs;
    const Index n = Lengths(a, b).of(second);
    const T* derivative = a.rows + sequence * steps * row + at;
    const T* factor = nullptr;
    if (by_input) factor = a.x + sequence * steps * d + i;
    if (by_state)
      factor = C == kPre && block < 3 ? a.moved + sequence * steps * H + i
                                      : a.states + (block == 4 ? partner : sequence) * (steps + 1) * H + i;
    for (Index t = 0; t < n; ++t, derivative += row) {
      sum += factor ? *derivative * *factor : *derivative;
      if (factor) factor += pitch;
    }
  }
  return sum;
}
template <class T, int C> SDTW_DEVICE void by_weights(const Arguments<T>& a) {
  const Index entries = entries_of(a);
  for (Index e = first_entry(); e < a.parts * entries; e += entry_stride()) {
    const Index part = e / entries;
    a.sums[e] = share_of<T, C>(a, e - part * entries, part);
  }
}
template <class T> SDTW_DEVICE void gather(const Arguments<T>& a) {
  const Index entries = entries_of(a);
  for (Index e = first_entry(); e < entries; e += entry_stride()) {
    T sum = 0;
    for (Index part = 0; part < a.parts; ++part) sum += a.sums[part * entries + e];
    a.gradient[e] = sum;
  }
}

}  // namespace sdtw
