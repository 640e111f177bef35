// The alignment recursion for any set of steps on the GPU (math-alignment page, section 3; cells in graph_cell.h):
// values, gradients, products with the Hessian, gradients of the parameters, paths. It also draws the paths of the usual
// steps, whose other results alignment.cu computes much faster.
//
// The kernel runs as
//     grid    any number of blocks; block k takes the pairs k, k + gridDim, ...
//     block   whole warps, as many as an anti-diagonal keeps busy
//     shared  a flag of the barrier
// and takes one `Arguments`; what is wanted is what has an array. A step leads to a later anti-diagonal, so the cells of
// one do not depend on each other: threads share them, and meet at a barrier before the next one, which orders what they
// wrote to the tables in device memory. A block has tables of its own, in float64, for one pair at a time. Probabilities
// are kept where a backward pass reads them again; paths compute them again, a thread a path.
//
// All sums run in an order that the data alone decide: results repeat bitwise, on any device, with any grid.
#include "sdtwkit/graph_cell.h"
#include "sdtwkit/device.h"

namespace sdtw {

// One line a field: the launch code reads the layout here. Every field takes 8 bytes.
template <class T> struct Arguments {
  Index pairs;
  Index rows;                   // of the arrays, at least the longest x
  Index columns;
  const Index* x_length;        // IN  (pairs,) or null: all have `rows` rows
  const Index* y_length;
  Index op;                     // operators.h: Operator
  double gamma;
  Index steps;
  const Int64* step;            // IN  (steps, 2) di, dj
  const double* step_weight;    // IN  (steps,)
  Index radius;                 // of the band; -1: none
  Index open_begin;             // bit 0: along y (the row), bit 1: along x (the column)
  Index open_end;
  const T* given;               // IN  (pairs or 1, rows, columns) local costs
  Index given_stride;           // here and below 0: one for all pairs
  const unsigned char* mask;    // IN  (pairs or 1, rows, columns), 0 = forbidden, or null, as all below may be
  Index mask_stride;
  const unsigned char* step_mask;   // IN  (pairs or 1, rows, columns, steps)
  Index step_mask_stride;
  const double* cell_weights;       // IN  (pairs or 1, rows, columns, steps)
  Index cell_weights_stride;
  const unsigned char* begin_mask;  // IN  (pairs or 1, rows, columns)
  Index begin_mask_stride;
  const unsigned char* end_mask;
  Index end_mask_stride;
  const double* begin_weights;
  Index begin_weights_stride;
  const double* end_weights;
  Index end_weights_stride;
  const T* direction;           // IN  (pairs, rows, columns) of the tangent
  Index unweighted_direction;
  Index visits;                 // the gradient is the expected alignment, also under weights
  Index samples;                // paths of a pair; 0: the best one
  Index seed;
  double* V;                    // WORK (blocks, rows, columns)
  double* q;                    // WORK (blocks, rows, columns, steps + 1), for a gradient or product
  double* E;                    // WORK (blocks, rows, columns), likewise
  double* moved_V;              // WORK as V, as q, as E, for a direction
  double* moved_q;
  double* moved_E;
  double* ends;                 // WORK (blocks, ends) what the value is made of
  double* moved_ends;           // WORK likewise, for a direction
  Index most_ends;              // that the two have room for
  double* own;                  // WORK (blocks, threads, steps + 1) of each thread
  T* value;                     // OUT (pairs,)
  T* slope;                     // OUT (pairs,)
  T* gradient;                  // OUT (pairs, rows, columns); beyond the lengths left as it was
  T* product;                   // OUT (pairs, rows, columns), likewise
  double* parameter_gradient;   // OUT (pairs, 1 + steps) by gamma and the weights of the steps
  double* weight_gradient;      // OUT (pairs, rows, columns, steps) by the weights of the cells
  Int64* paths;                 // OUT (pairs, max(samples, 1), rows + columns - 1, 2) cells
  Int64* path_length;           // OUT (pairs, max(samples, 1))
};

// The lanes of a warp share candidates.
struct Lanes {
  SDTW_DEVICE Index first() const { return lane_of_thread(); }
  SDTW_DEVICE Index step() const { return kWarp; }
  template <class T, class Combine> SDTW_DEVICE T all(T x, Combine combine) const { return over_lanes(x, combine); }
};

// One pair and the tables of its block.
template <class T> struct General {
  const Arguments<T>& a;
  const Index id, cells;
  GraphPair<T> g;
  double *V, *q, *E, *moved_V, *moved_q, *moved_E, *ends, *moved_ends, *own;

  template <class A> SDTW_DEVICE A* of_pair(A* array, Index stride) const { return array ? array + id * stride : array; }
  template <class A> SDTW_DEVICE A* of_block(A* table, Index size) const {
    return table ? table + Index(blockIdx.x) * size : table;
  }
  SDTW_DEVICE General(const Arguments<T>& arguments, Index pair) : a(arguments), id(pair), cells(a.rows * a.columns) {
    g.n = a.x_length ? a.x_length[id] : a.rows, g.m = a.y_length ? a.y_length[id] : a.columns;
    g.columns = a.columns, g.steps = a.steps, g.radius = a.radius;
    g.op = int(a.op), g.open_begin = int(a.open_begin), g.open_end = int(a.open_end);
    g.gamma = a.gamma, g.unweighted_direction = a.unweighted_direction;
    g.step = a.step, g.step_weight = a.step_weight;
    g.given = of_pair(a.given, a.given_stride), g.direction = of_pair(a.direction, cells);
    g.mask = of_pair(a.mask, a.mask_stride), g.step_mask = of_pair(a.step_mask, a.step_mask_stride);
    g.begin_mask = of_pair(a.begin_mask, a.begin_mask_stride), g.end_mask = of_pair(a.end_mask, a.end_mask_stride);
    g.cell_weights = of_pair(a.cell_weights, a.cell_weights_stride);
    g.begin_weights = of_pair(a.begin_weights, a.begin_weights_stride);
    g.end_weights = of_pair(a.end_weights, a.end_weights_stride);
    V = of_block(a.V, cells), E = of_block(a.E, cells), q = of_block(a.q, cells * g.candidates());
    moved_V = of_block(a.moved_V, cells), moved_E = of_block(a.moved_E, cells);
    moved_q = of_block(a.moved_q, cells * g.candidates());
    ends = of_block(a.ends, a.most_ends), moved_ends = of_block(a.moved_ends, a.most_ends);
    own = of_block(a.own, blockDim.x * g.candidates()) + threadIdx.x * g.candidates();
  }
  // A length out of range: only a device array can bring one this far.
  SDTW_DEVICE bool broken() const { return g.n < 1 || g.n > a.rows || g.m < 1 || g.m > a.columns; }
  SDTW_DEVICE double* candidates_at(double* table, Index p) const { return table + p * g.candidates(); }
  SDTW_DEVICE Index diagonals() const { return g.n + g.m - 1; }

  // Calls body(i, j) for the cells of an anti-diagonal, each thread for its own.
  template <class Body> SDTW_DEVICE void each_cell(Index diagonal, Body body) const {
    const Index last = min2(diagonal, g.n - 1);
    for (Index i = max2(diagonal - (g.m - 1), Index(0)) + threadIdx.x; i <= last; i += blockDim.x) body(i, diagonal - i);
  }

  // Whether a number of a cell is none: a cost NaN or -inf, a weight not finite or < 0.
  SDTW_DEVICE bool is_wrong(Index p) const {
    const double infinity = Real<double>::infinity();
    const auto is_weight = [&](double w) { return w >= 0 && w < infinity; };
    bool wrong = !(double(g.given[p]) > -infinity);
    for (Index s = 0; g.cell_weights && s < g.steps; ++s) wrong |= !is_weight(g.cell_weights[p * g.steps + s]);
    if (g.begin_weights) wrong |= !is_weight(g.begin_weights[p]);
    if (g.end_weights) wrong |= !is_weight(g.end_weights[p]);
    return wrong;
  }

  // Returns whether a number is none: then so is the value.
  SDTW_DEVICE bool forward() const {
    bool wrong = false;
    for (Index diagonal = 0; diagonal < diagonals(); ++diagonal) {
      each_cell(diagonal, [&](Index i, Index j) {
        const Index p = g.at(i, j);
        double* const share = q ? candidates_at(q, p) : own;
        wrong |= is_wrong(p);
        V[p] = g.forward(i, j, V, share);
        if (g.direction) moved_V[p] = g.tangent(i, j, moved_V, share, candidates_at(moved_q, p));
      });
      block_barrier();
    }
    return any_thread(wrong);
  }

  // By one warp.
  SDTW_DEVICE void close(bool wrong) const {
    if (warp_of_thread() != 0) return;
    const double nan = Real<double>::unbits(0x7ff8000000000000LL);
    double value = g.close(V, ends, Lanes()), slope = 0;
    if (g.direction) slope = g.close_tangent(moved_V, ends, moved_ends, Lanes());
    if (wrong) {
      value = slope = nan;
      for (Index k = lane_of_thread(); k < g.ends(); k += kWarp) {
        ends[k] = nan;
        if (moved_ends) moved_ends[k] = nan;
      }
    }
    put(value, slope);
  }
  SDTW_DEVICE void put(double value, double slope) const {
    if (threadIdx.x != 0) return;
    a.value[id] = T(value);
    if (a.slope) a.slope[id] = T(slope);
  }

  SDTW_DEVICE void walk(bool none) const {
    const Index count = max2(a.samples, Index(1)), room = a.rows + a.columns - 1;
    for (Index k = threadIdx.x; k < count; k += blockDim.x) {
      const Index path = id * count + k;
      const Draws draws(a.samples > 0, UInt64(a.seed), path);
      a.path_length[path] = none ? 0 : g.path(V, ends, own, draws, a.paths + path * room * 2);
    }
  }

  SDTW_DEVICE void backward() const {
    const bool parameters = a.parameter_gradient;
    for (Index s = 0; parameters && s < g.candidates(); ++s) own[s] = 0;
    if (parameters && warp_of_thread() == 0) {
      const double omega = g.omega_of_ends(ends, Lanes());
      if (lane_of_thread() == 0) own[0] = omega;
    }
    T* const gradient = of_pair(a.gradient, cells);
    T* const product = of_pair(a.product, cells);
    double* const of_weights = of_pair(a.weight_gradient, cells * g.steps);
    for (Index diagonal = diagonals() - 1; diagonal >= 0; --diagonal) {
      each_cell(diagonal, [&](Index i, Index j) {
        const Index p = g.at(i, j);
        const double* const share = candidates_at(q, p);
        const double e = E[p] = g.visits(i, j, ends, q, E);
        if (gradient) gradient[p] = T(a.visits ? e : e * g.paid(p, share) + g.paid_at_end(i, j, ends));
        if (parameters) g.add_parameters(p, e, share, own, of_weights ? of_weights + p * g.steps : nullptr);
        if (!product) return;
        const double d = moved_E[p] = g.moved_visits(i, j, moved_ends, q, moved_q, E, moved_E);
        product[p] = T(d * g.paid(p, share) + e * g.paid(p, candidates_at(moved_q, p)) +
                       g.paid_at_end(i, j, moved_ends));
      });
      block_barrier();
    }
    // The parts of the threads, in their order.
    const double* const parts = of_block(a.own, blockDim.x * g.candidates());
    for (Index s = threadIdx.x; parameters && s < g.candidates(); s += blockDim.x) {
      double sum = 0;
      for (Index thread = 0; thread < blockDim.x; ++thread) sum += parts[thread * g.candidates() + s];
      a.parameter_gradient[id * g.candidates() + s] = sum;
    }
  }
};

// grid (any), block (whole warps). IN and OUT as in `Arguments`.
template <class T> SDTW_DEVICE void general(const Arguments<T>& a) {
  for (Index id = blockIdx.x; id < a.pairs; id += gridDim.x) {
    const General<T> pair(a, id);
    const bool broken = pair.broken();
    if (broken) {
      const double nan = Real<double>::unbits(0x7ff8000000000000LL);
      pair.put(nan, nan);
      if (a.paths) pair.walk(true);
      continue;
    }
    const bool wrong = pair.forward();
    pair.close(wrong);
    block_barrier();
    if (a.paths) pair.walk(wrong);
    if (a.q) pair.backward();
    block_barrier();  // the next pair takes the tables
  }
}

}  // namespace sdtw
