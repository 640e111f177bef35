// Alignment on the GPU (math-alignment page, section 3; cells in recursion.h): values, gradients and
// products with the Hessian of any number of pairs of any length.
//
// Every kernel runs as
//     grid    any number of blocks: they take tasks from a queue
//     block   one warp
//     shared  static, a tile of costs or probabilities
// and takes one `Arguments`; the launch code wraps the instances that it needs of the templates `forward`, `close` and
// `backward` in kernels of that kind. A task is a strip of 32 rows of a pair. Lane l owns one row and runs l columns
// behind lane 0: what it needs from above was computed by lane l - 1 one and two steps ago and comes by
// shuffles, so nothing waits for a barrier and no length is too long. The bottom row of a strip goes to the
// strip below through device memory; that strip may run while this one is still at work, kDepth steps behind.
// The queue hands out strips in the order in which they depend on each other, so a warp that waits waits for a
// warp that has begun, and the first of them waits for nobody: no launch can hang, whatever fits the device.
//
// Gradients take three sweeps: `forward` leaves the states of all lanes every kDepth steps, `backward` takes a
// strip from its end, block after block: forward again from there, keeping the probabilities of the block in
// shared memory, and back through it. Costs are read twice and gradients written once, by rows.
//
// All sums run in an order that the data alone decide: results repeat bitwise, on any device, with any grid.
#include "sdtwkit/costs.h"
#include "sdtwkit/node.h"

namespace sdtw {

struct Given {};  // in the place of a local cost of costs.h: there are no series, the costs are given
template <class Cost> constexpr bool kFused = true;
template <> constexpr bool kFused<Given> = false;

// One line a field: the launch code reads the layout here. Every field takes 8 bytes.
template <class T> struct Arguments {
  Index pairs;
  Index rows;                  // of the tables, at least the longest x
  Index columns;
  const Index* x_length;       // IN  (series,) or null: all are `rows` long
  const Index* y_length;
  const Index* x_index;        // IN  (pairs,) or null: pair b aligns series b
  const Index* y_index;
  const T* given;              // IN  (pairs or 1, rows, columns) local costs, or what is added to those of series
  Index given_stride;          // 0: one matrix for all pairs
  const unsigned char* mask;   // IN  (pairs or 1, rows, columns), 0 = forbidden, or null
  Index mask_stride;
  double cost_parameter;       // of the fused cost
  Index channels;
  const T* x;                  // IN  (samples, channels)
  const T* y;
  const Index* x_start;        // IN  (series,) first sample, or null: series b begins at sample b * rows
  const Index* y_start;
  Index radius;                // of the band; -1: none
  double left;                 // step weights
  double diag;
  double up;
  Index open_begin;            // bit 0: along y (the row), bit 1: along x (the column)
  Index open_end;
  double gamma;
  double rate;                 // -log2(e)/gamma
  double limit;                // a larger cost counts as this one
  Index visits;                // the gradient is the expected alignment, also under weights
  const T* direction;          // IN  (pairs, rows, columns) of the tangent, or null: along the costs
  Index unweighted_direction;
  Index* counters;             // WORK zero on entry, see `Counters`
  void* edges;                 // WORK (pairs, strips or 1, columns) nodes: bottom rows of the strips
  Index edges_of_pair;         // nodes
  Index edge_step;             // nodes from strip to strip; 0: they share a row
  void* checkpoints;           // WORK (pairs, strips, blocks, 2, 32) nodes for `backward`, or null
  void* ends;                  // WORK (pairs, end cells) nodes
  Index node_bytes;            // that the three have room for
  T* seed;                     // WORK (pairs, end cells) d value / d end argument, and in a second part its derivative
  T* sent;                     // WORK (pairs, 2 or 4, columns) what a strip sends to the one above
  T* value;                    // OUT (pairs,)
  T* slope;                    // OUT (pairs,) directional derivative
  T* gradient;                 // OUT (pairs, rows, columns) or null; beyond bands and lengths left as it was
  T* product;                  // OUT (pairs, rows, columns) Hessian product, along the costs plus the gradient, or null
  T* x_gradient;               // IN/OUT laid out as x, zero on entry, or null; under a direction of the product
  T* y_gradient;
};

// ---- where things lie

template <class T> constexpr int kDepth = 128 / sizeof(T);  // steps of a block: a row of its tile is 128 bytes
constexpr int kPitch = kWarp + 1;                           // of a tile: rows and columns hit all banks
template <class T> constexpr int kTile = kDepth<T> * kPitch;

template <class T> SDTW_DEVICE Index strips_of(const Arguments<T>& a) { return (a.rows + kWarp - 1) / kWarp; }
template <class T> SDTW_DEVICE Index blocks_of(const Arguments<T>& a) {
  return (a.columns + kWarp - 1 + kDepth<T> - 1) / kDepth<T>;
}
template <class T> SDTW_DEVICE Index end_cells_of(const Arguments<T>& a) {
  return a.open_end ? ((a.open_end & 1) ? a.columns : 0) + ((a.open_end & 2) ? a.rows : 0) : 1;
}

// counters: [0] whether a pair needs float64 exponents; [1..4] queues of the passes; from 8 on (pairs,) the
// largest |cost| as bits; then for each pass (pairs, strips) how far the strips are.
enum Pass { kForward = 0, kWideForward = 1, kBackward = 2, kWideBackward = 3 };
template <class T> struct Counters {
  Index *any_wide, *queue, *range, *progress;
  SDTW_DEVICE Counters(const Arguments<T>& a, int pass)
      : any_wide(a.counters), queue(a.counters + 1 + pass), range(a.counters + 8),
        progress(a.counters + 8 + a.pairs + pass * a.pairs * strips_of(a)) {}
};

// Which arithmetic. For float32 and entropy there are two: the kernels of the narrow one come first, and those of
// the wide one repeat the pairs whose range is too large for int32 exponents.
template <class Op> struct Range { static constexpr bool narrow = false, wide = false; };
template <> struct Range<EntropyMin<float>> { static constexpr bool narrow = true, wide = false; };
template <> struct Range<WideEntropyMin> { static constexpr bool narrow = false, wide = true; };

template <class T> SDTW_DEVICE HardMin<T> make(const Arguments<T>&, HardMin<T>*) { return {}; }
template <class T> SDTW_DEVICE SparseMin<T> make(const Arguments<T>& a, SparseMin<T>*) {
  return {T(a.gamma), T(1 / a.gamma)};
}
// rate in two parts, of which the second is what T loses of the first. (For float64 the rounding of 1/gamma is lost:
// an error of 1e-16 of |C|/gamma in an exponent.)
template <class Op, class T> SDTW_DEVICE void set_rates(Op& op, const Arguments<T>& a) {
  op.gamma = T(a.gamma), op.inverse_gamma = T(1 / a.gamma);
  op.rate = T(a.rate), op.rate_low = T(a.rate - double(T(a.rate)));
}
template <class T, bool Far> SDTW_DEVICE EntropyMin<T, Far> make(const Arguments<T>& a, EntropyMin<T, Far>*) {
  EntropyMin<T, Far> op;
  set_rates(op, a);
  return op;
}
SDTW_DEVICE WideEntropyMin make(const Arguments<float>& a, WideEntropyMin*) {
  WideEntropyMin op;
  set_rates(op, a);
  op.wide_rate = a.rate;
  return op;
}

// Narrow and wide nodes differ in size; the places of a pair must not.
template <class N, class T>
SDTW_DEVICE N* nodes_of_pair(const Arguments<T>& a, void* base, Index pair, Index per_pair) {
  return reinterpret_cast<N*>(static_cast<char*>(base) + pair * per_pair * a.node_bytes);
}

struct Pair {
  Index id, x, y, n, m;  // of series x and y
  bool broken;           // a length out of range: only a device array can bring one this far
};
template <class T> SDTW_DEVICE Pair pair_of(const Arguments<T>& a, Index id) {
  Pair p = {id, a.x_index ? a.x_index[id] : id, a.y_index ? a.y_index[id] : id, a.rows, a.columns, false};
  if (a.x_length) p.n = a.x_length[p.x];
  if (a.y_length) p.m = a.y_length[p.y];
  p.broken = p.n < 1 || p.n > a.rows || p.m < 1 || p.m > a.columns;
  if (p.broken) p.n = p.m = 0;
  return p;
}

// Rows [row, row + rows) of a pair, and the columns that hold an admissible cell of any of them.
struct Strip {
  Pair pair;
  Index number, row;
  int rows;
  Index first, last;
  SDTW_DEVICE Index steps() const { return last - first + rows; }
  SDTW_DEVICE bool is_first() const { return number == 0; }
  SDTW_DEVICE bool is_last() const { return row + rows == pair.n; }
};
template <class T> SDTW_DEVICE Strip strip_of(const Arguments<T>& a, const Pair& pair, Index number) {
  Strip s;
  s.pair = pair, s.number = number, s.row = number * kWarp;
  s.rows = int(min2(Index(kWarp), pair.n - s.row));
  s.first = admissible_columns(s.row, pair.n, pair.m, a.radius).first;
  s.last = admissible_columns(s.row + s.rows - 1, pair.n, pair.m, a.radius).last;
  return s;
}

// ---- the range of the costs, and those that are none

constexpr Index kPoison = 0x7fffffffffffffffLL;  // NaN or -inf among the costs: the value is NaN

// |c| as bits, which order as the numbers do: those of -inf and of NaN come last. 0 of what is forbidden.
template <class T> SDTW_DEVICE typename Real<T>::Bits measured(T c) {
  using R = Real<T>;
  const auto size = static_cast<typename R::Unsigned>(R::bits(c)) << 1 >> 1;
  return c == R::infinity() ? 0 : static_cast<typename R::Bits>(size);
}
template <class T> SDTW_DEVICE Index range_of(typename Real<T>::Bits measure) {
  return measure < Real<T>::bits(Real<T>::infinity()) ? Index(measure) : kPoison;
}
template <class T> SDTW_DEVICE bool is_wide(const Arguments<T>& a, const Pair& p, Index range) {
  if (range == kPoison) return false;
  const double heaviest = max2(max2(a.left, a.up), max2(a.diag, 1.0));
  const double turns = double(Real<T>::unbits(typename Real<T>::Bits(range))) * heaviest * -a.rate;
  return !(turns * double(p.n + p.m) < Real<T>::exponent_limit && turns < double(Real<T>::magic) / 4);
}
// Whether the kernels of this operator are to serve a pair, once its range is known.
template <class Op, class T> SDTW_DEVICE bool serves(const Arguments<T>& a, const Pair& p) {
  if (!Range<Op>::narrow && !Range<Op>::wide) return true;
  return is_wide(a, p, *static_cast<const volatile Index*>(a.counters + 8 + p.id)) == Range<Op>::wide;
}

// ---- costs of a block: tile[k * kPitch + l] is step t0 + k, lane l

template <class Cost, class T> SDTW_DEVICE T finished(T sum) {
  sum = Cost::finish(sum);
  return Cost::needs_cost ? T(sqrt(sum)) : sum;
}
template <class Cost, class T> SDTW_DEVICE T cost_between(const T* x, const T* y, Index channels, T parameter) {
  T sum = 0;
  for (Index c = 0; c < channels; ++c) sum = Cost::add(sum, x[c], y[c], parameter);
  return finished<Cost>(sum);
}
template <class T> SDTW_DEVICE Index first_sample(const Index* start, Index series, Index length) {
  return start ? start[series] : series * length;
}

// The steps of a strip from t0 on. Columns count from `corner`, that of lane 0 at the first of them: step k takes lane
// r to column k - r.
template <class T> struct Block {
  Index t0, corner;
  int count;      // steps that the strip has left, of kDepth
  unsigned rows;  // bit r: at step `lane % kDepth`, lane r is at an admissible cell
  bool full;      // all lanes are, at all steps
  SDTW_DEVICE Block(const Arguments<T>& a, const Strip& s, Index t0) : t0(t0), corner(s.first + t0), rows(~0u) {
    constexpr int D = kDepth<T>;
    const int lane = lane_of_thread();
    const Columns own = admissible_columns(s.row + lane, s.pair.n, s.pair.m, a.radius);
    count = int(min2(Index(D), s.steps() - t0));
    const int from = step(own.first - corner + lane, 0), to = step(own.last - corner + lane, -1);
    full = !any_lane(lane >= s.rows || from > 0 || to < D - 1);
    for (int k = 0; k < D && !full; ++k) {
      const unsigned there = lanes_where(lane < s.rows && from <= k && k <= to);
      if (k == lane % D) rows = there;
    }
  }
  // k, or what is nearest to it from `before` up to 32 more: small numbers, whatever the columns.
  SDTW_DEVICE static int step(Index k, int before) { return int(max2(min2(k, Index(before + kWarp)), Index(before))); }
};

// A cell of a block: its place in the tile, and in a table that begins at the row of lane 0 and at `corner`.
struct Cell {
  int slot, row, column;
  Index at;
  SDTW_DEVICE Cell below(int rows, Index columns) const {  // at the same step
    return {slot + rows, row + rows, column - rows, at + rows * (columns - 1)};
  }
};

// For Batch cells at a time: fetch(cell, inside, fetched) fills in numbers, put(cell[j], fetched[j], inside[j]) takes
// them, where inside[j] tells whether cell[j] is admissible. Neighbouring lanes meet neighbouring columns, so rows are
// read and written in one go, and all loads are on their way before the first number is needed.
template <int Batch, bool Full, class T, class Fetch, class Put>
SDTW_DEVICE void each_batch(const Arguments<T>& a, const Block<T>& b, Fetch fetch, Put put) {
  constexpr int D = kDepth<T>, kRows = kWarp / D;  // a turn takes kRows rows
  const int k = lane_of_thread() % D;
#pragma unroll 1
  for (int turn = 0; turn < D; turn += Batch) {
    const int row = lane_of_thread() / D + turn * kRows;
    const unsigned rows = b.rows >> row;
    Cell cell[Batch];
    bool inside[Batch];
    T fetched[Batch];
    cell[0] = {k * kPitch + row, row, k - row, row * (a.columns - 1) + k};
#pragma unroll
    for (int j = 1; j < Batch; ++j) cell[j] = cell[j - 1].below(kRows, a.columns);
#pragma unroll
    for (int j = 0; j < Batch; ++j) inside[j] = Full || (rows >> (j * kRows) & 1);
    fetch(cell, inside, fetched);
#pragma unroll
    for (int j = 0; j < Batch; ++j) put(cell[j], fetched[j], inside[j]);
  }
}
template <int Batch, class T, class Fetch, class Put>
SDTW_DEVICE void each_batch(const Arguments<T>& a, const Block<T>& b, Fetch fetch, Put put) {
  if (b.full) each_batch<Batch, true>(a, b, fetch, put);
  else each_batch<Batch, false>(a, b, fetch, put);
}
// put(cell, fetch(cell), true) for the admissible cells of a block, put(cell, nothing, false) for the rest of the tile.
template <class T, class Fetch, class Put>
SDTW_DEVICE void each_cell(const Arguments<T>& a, const Block<T>& b, T nothing, Fetch fetch, Put put) {
  constexpr int kBatch = 64 / sizeof(T);
  each_batch<kBatch>(a, b, [&](const Cell (&cell)[kBatch], const bool (&inside)[kBatch], T (&fetched)[kBatch]) {
#pragma unroll
    for (int j = 0; j < kBatch; ++j) fetched[j] = inside[j] ? fetch(cell[j]) : nothing;
  }, put);
}

// Fills a tile with costs, +inf where there is no cell or it is forbidden, and raises the lane's measure of them.
template <class Cost, class T>
SDTW_DEVICE void load_costs(const Arguments<T>& a, const Strip& s, const Block<T>& b, Shared<T> tile,
                            typename Real<T>::Bits& measure) {
  using R = Real<T>;
  const Pair& p = s.pair;
  const T infinity = R::infinity();
  const Index corner = s.row * a.columns + b.corner;
  const T* given = a.given ? a.given + p.id * a.given_stride + corner : nullptr;
  const T limit = a.limit < double(infinity) ? T(a.limit) : infinity;
  const auto put = [&](const Cell& cell, T c, bool) {
    measure = max2(measure, measured(c));
    if (sizeof(T) == 8 && c < infinity) c = min2(max2(c, -limit), limit);  // float32 has no larger ones
    tile[cell.slot] = c;
  };
  if constexpr (kFused<Cost>) {
    const Index d = a.channels;
    const T* const x = a.x + (first_sample<T>(a.x_start, p.x, a.rows) + s.row) * d;
    const T* const y = a.y + (first_sample<T>(a.y_start, p.y, a.columns) + b.corner) * d;
    constexpr int kBatch = 4;  // on sm_120 the addresses of sixteen alone take all registers, of eight nearly so
    each_batch<kBatch>(a, b, [&](const Cell (&cell)[kBatch], const bool (&inside)[kBatch], T (&costs)[kBatch]) {
#pragma unroll
      for (int j = 0; j < kBatch; ++j) costs[j] = 0;
#pragma unroll 1  // a loop for each cell would be written out for all of them, and loads would wait for each other
      for (Index c = 0; c < d; ++c) {
#pragma unroll
        for (int j = 0; j < kBatch; ++j)
          if (inside[j])
            costs[j] = Cost::add(costs[j], x[cell[j].row * d + c], y[cell[j].column * d + c], T(a.cost_parameter));
      }
#pragma unroll
      for (int j = 0; j < kBatch; ++j) {
        T& cost = costs[j];
        cost = inside[j] ? finished<Cost>(cost) : infinity;
        if (inside[j] && !(cost < infinity)) measure = R::bits(infinity);  // samples that are none, or too far apart
        if (inside[j] && given) cost += given[cell[j].at];
      }
    }, put);
  } else {
    each_cell<T>(a, b, infinity, [&](const Cell& cell) -> T { return given[cell.at]; }, put);
  }
  if (a.mask) {
    const unsigned char* mask = a.mask + p.id * a.mask_stride + corner;
    each_cell<T>(a, b, T(0), [&](const Cell& cell) { return T(mask[cell.at] != 0); },
                 [&](const Cell& cell, T admitted, bool) { if (admitted == T(0)) tile[cell.slot] = infinity; });
  }
}

// The direction of the tangent over the same cells; along the costs, 0 where they forbid one. A lane looks only at
// those costs that it filled in itself.
template <class T> SDTW_DEVICE void load_direction(const Arguments<T>& a, const Strip& s, const Block<T>& b,
                                                   Shared<T> tile, Shared<T> costs) {
  const T* direction =
      a.direction ? a.direction + (s.pair.id * a.rows + s.row) * a.columns + b.corner : nullptr;
  each_cell<T>(a, b, T(0), [&](const Cell& cell) -> T {
    const T c = costs[cell.slot];
    return direction ? direction[cell.at] : c < Real<T>::infinity() ? c : T(0);
  }, [&](const Cell& cell, T z, bool) { tile[cell.slot] = z; });
}

template <class T>
SDTW_DEVICE void write_tile(const Arguments<T>& a, const Strip& s, const Block<T>& b, Shared<T> tile, T* table) {
  T* const corner = table + (s.pair.id * a.rows + s.row) * a.columns + b.corner;
  each_cell<T>(a, b, T(0), [&](const Cell& cell) -> T { return tile[cell.slot]; },
               [&](const Cell& cell, T e, bool inside) { if (inside) corner[cell.at] = e; });
}

// ---- the row above a strip, the row it leaves, its end cells

// The columns that the strip above leaves nodes in.
template <class T> SDTW_DEVICE Columns columns_above(const Arguments<T>& a, const Strip& s) {
  if (s.is_first()) return {0, -1};
  const Pair& p = s.pair;
  return {admissible_columns(s.row - kWarp, p.n, p.m, a.radius).first,
          admissible_columns(s.row - 1, p.n, p.m, a.radius).last};
}
// The node of the row above a strip in a column: a start, what the strip above left, or nothing.
template <class Op, bool Tangents, class T>
SDTW_DEVICE Node<Op, Tangents> node_above(const Arguments<T>& a, const Op& op, const Strip& s,
                                          const Node<Op, Tangents>* row, Columns above, Index column) {
  using N = Node<Op, Tangents>;
  if (s.is_first())
    return node<N>(column == 0 || (a.open_begin & 1) ? op.one() : op.unreachable(), T(0));
  return column >= above.first && column <= above.last ? load_node(row + column) : node<N>(op.unreachable(), T(0));
}
// Places of the nodes of a strip. Without a gradient one row a pair is enough: a strip overwrites what it has read.
template <class N, class T> SDTW_DEVICE N* row_of_strip(const Arguments<T>& a, const Strip& s) {
  return nodes_of_pair<N>(a, a.edges, s.pair.id, a.edges_of_pair) + s.number * a.edge_step;
}
template <class N, class T> SDTW_DEVICE N* checkpoint(const Arguments<T>& a, const Strip& s, Index block) {
  const Index per_strip = blocks_of(a) * 2 * kWarp;
  return nodes_of_pair<N>(a, a.checkpoints, s.pair.id, strips_of(a) * per_strip) + s.number * per_strip +
         block * 2 * kWarp + lane_of_thread();
}
// The number of a cell of a strip among the ends of its pair, or -1.
template <class T> SDTW_DEVICE Index end_slot(const Arguments<T>& a, const Strip& s, Index column) {
  const Pair& p = s.pair;
  const Index row = s.row + lane_of_thread();
  if (row >= p.n || column < s.first || column > s.last) return -1;
  const bool last_row = row == p.n - 1, last_column = column == p.m - 1;
  if (!a.open_end) return last_row && last_column ? 0 : -1;
  if ((a.open_end & 1) && last_row) return column;
  if ((a.open_end & 2) && last_column) return ((a.open_end & 1) ? a.columns : 0) + row;
  return -1;
}

// ---- one step of all lanes

template <class T> struct Steps {
  Three<T> weights, direction_weights;
  bool open_column, row0;  // paths may start in column 0; this lane's row is row 0
  template <class A> SDTW_DEVICE Steps(const A& a, const Strip& s)
      : weights{T(a.left), T(a.diag), T(a.up)}, direction_weights(weights), open_column(a.open_begin & 2),
        row0(s.is_first() && lane_of_thread() == 0) {
    if (a.unweighted_direction) direction_weights = {T(1), T(1), T(1)};
    if (row0) weights.up = direction_weights.up = T(1);  // what stands above row 0 is a start
  }
};

// The cells of a step, one a lane: `here` is the lane's last one, `before` what was above it.
template <class Op, bool Weighted, bool Tangents, class T = typename Op::Scalar> struct Front {
  using N = Node<Op, Tangents>;
  N here, before;

  SDTW_DEVICE void begin(const Op& op) { here = before = node<N>(op.unreachable(), T(0)); }

  // `edge`: lane 0's node above. Returns the probabilities of the step, and in `curved` their tangent.
  template <bool Plain>
  SDTW_DEVICE Three<T> advance(const Op& op, const Steps<T>& steps, bool column0, const N& edge, T cost, T direction,
                               Three<T>& curved) {
    N up = node<N>(from_lane_above(here.state), Tangents ? from_lane_above(here.moved()) : T(0));
    if (lane_of_thread() == 0) up = edge;
    // Starts of column 0 stand in the place of left, those of row 0 in the place of up; before them lies nothing.
    const bool start = !Plain && steps.open_column && column0 && !steps.row0;
    const bool row0 = !Plain && steps.row0;
    Three<T> weights = steps.weights;
    if (!Plain && column0) weights.left = T(1);
    auto r = forward_cell<true, Weighted>(op, select(start, op.one(), here.state),
                                          select(row0, op.unreachable(), before.state), up.state, cost, weights);
    if constexpr (!Op::smooth) {  // ties go to any predecessor before a start
      if (start && r.q.left > 0 && op.arrive(up.state, weights.up * cost).value == cost) r.q = {T(0), T(0), T(1)};
    }
    T moved = 0;
    if constexpr (Tangents) {
      Three<T> v = steps.direction_weights;
      if (!Plain && column0) v.left = T(1);
      const Three<T> incoming = {start ? T(0) : here.moved(), before.moved(), up.moved()};
      const auto d = tangent_cell(op, r.q, incoming, direction, v);
      moved = d.value;
      curved = d.q;
    }
    before = up;
    here = node<N>(r.state, moved);
    return r.q;
  }
};
SDTW_DEVICE bool renormalises(int k) { return (k & 15) == 15; }

// Whether no path may start or end in a block.
template <class T> SDTW_DEVICE bool is_plain(const Arguments<T>& a, const Strip& s, const Block<T>& b) {
  const bool starts = (s.is_first() && ((a.open_begin & 1) || b.t0 == 0)) || ((a.open_begin & 2) && b.corner < kWarp);
  const bool ends =
      a.open_end ? (a.open_end & (s.is_last() ? 3 : 2)) != 0 : s.is_last() && b.t0 + kDepth<T> >= s.steps();
  return !starts && !ends;
}

// step(plain, k) for the steps of a block. A plain one takes all kDepth, the last of which may lie beyond its strip,
// and the compiler knows that there are no starts and ends: half of the instructions.
template <bool Value> struct Constant { static constexpr bool value = Value; };
template <class T, class Step> SDTW_DEVICE void along_steps(bool plain, int count, Step step) {
  if (plain) {
#pragma unroll 4
    for (int k = 0; k < kDepth<T>; ++k) step(Constant<true>(), k);
  } else {
#pragma unroll 1
    for (int k = 0; k < count; ++k) step(Constant<false>(), k);
  }
}
template <class T, class Step> SDTW_DEVICE void back_along_steps(bool plain, int count, Step step) {
  if (plain) {
#pragma unroll 4
    for (int k = kDepth<T> - 1; k >= 0; --k) step(Constant<true>(), k);
  } else {
#pragma unroll 1
    for (int k = count - 1; k >= 0; --k) step(Constant<false>(), k);
  }
}

// ---- forward

// grid (any), block (32,). IN costs or series; OUT `ends`, and for `backward` `edges` and `checkpoints`.
template <class Op, class Cost, bool Weighted, bool Tangents>
SDTW_DEVICE void forward(const Arguments<typename Op::Scalar>& a) {
  using T = typename Op::Scalar;
  using N = Node<Op, Tangents>;
  constexpr int D = kDepth<T>;
  SDTW_SHARED(T, tile, (Tangents ? 2 : 1) * kTile<T>);
  SDTW_SHARED(N, above, D);
  SDTW_SHARED(N, below, D);
  const Counters<T> counters(a, Range<Op>::wide ? kWideForward : kForward);
  if (Range<Op>::wide && *static_cast<const volatile Index*>(counters.any_wide) == 0) return;
  const Op op = make(a, static_cast<Op*>(nullptr));
  const int lane = lane_of_thread();

  for (;;) {
    const Index task = next_task(counters.queue);
    if (task >= a.pairs * strips_of(a)) return;
    const Pair pair = pair_of(a, task % a.pairs);
    const Index number = task / a.pairs;
    if (number * kWarp >= pair.n || (Range<Op>::wide && !serves<Op>(a, pair))) continue;
    const Strip s = strip_of(a, pair, number);
    const Steps<T> steps(a, s);
    Index* const progress = counters.progress + pair.id * strips_of(a) + number;
    N* const row_below = row_of_strip<N>(a, s);
    const N* const row_above = row_below - a.edge_step;
    const Columns columns = columns_above(a, s);
    typename Real<T>::Bits measure = 0;
    Front<Op, Weighted, Tangents> front;
    front.begin(op);

    for (Index t0 = 0; t0 < s.steps(); t0 += D) {
      const Block<T> b(a, s, t0);
      const bool plain = is_plain(a, s, b);
      load_costs<Cost>(a, s, b, tile, measure);
      if (!s.is_first()) await(progress - 1, min2(b.corner + D, columns.last + 1));
      if (t0 == 0 && lane == 0 && !s.is_first() && s.first > 0)
        front.before = node_above(a, op, s, row_above, columns, s.first - 1);
      if (lane < D) above[lane] = node_above(a, op, s, row_above, columns, b.corner + lane);
      if constexpr (Tangents) load_direction(a, s, b, tile + kTile<T>, tile);
      if (a.checkpoints && t0 > 0) {
        N* const place = checkpoint<N>(a, s, t0 / D);
        store_node(place, front.here);
        store_node(place + kWarp, front.before);
      }
      __syncwarp();
      const int zero = b.step(lane - b.corner, -1);  // the step of the block at which this lane is in column 0
      along_steps<T>(plain, b.count, [&](auto plain, int k) {
        const T cost = tile[k * kPitch + lane];
        const T direction = Tangents ? T(tile[kTile<T> + k * kPitch + lane]) : T(0);
        const N edge = above[k];
        Three<T> curved;
        front.template advance<plain.value>(op, steps, k == zero, edge, cost, direction, curved);
        if (renormalises(k)) front.here.state = op.renormalise(front.here.state);
        if (lane == kWarp - 1) below[k] = front.here;
        if (!plain.value && a.open_end) {
          const Index slot = end_slot(a, s, b.corner + (k - lane));
          if (slot >= 0)
            nodes_of_pair<N>(a, a.ends, pair.id, end_cells_of(a))[slot] =
                node<N>(op.renormalise(front.here.state), front.here.moved());
        }
      });
      __syncwarp();
      if (!s.is_last()) {
        const Index column = b.corner + (lane - (kWarp - 1));
        if (lane < b.count && column >= s.first) {
          const N left = below[lane];
          store_node(row_below + column, node<N>(op.renormalise(left.state), left.moved()));
        }
        publish(progress, t0 + D < s.steps() ? b.corner + D - (kWarp - 1) : pair.m);
      }
    }
    if (!a.open_end && s.is_last() && lane == s.rows - 1)
      *nodes_of_pair<N>(a, a.ends, pair.id, 1) = node<N>(op.renormalise(front.here.state), front.here.moved());
    if (!Range<Op>::wide) {
      const Index range = range_of<T>(over_lanes(measure, Largest()));
      if (lane == 0 && range > 0) {
        atomicMax(counters.range + pair.id, range);
        if (Range<Op>::narrow && is_wide(a, pair, range)) *static_cast<volatile Index*>(counters.any_wide) = 1;
      }
    }
  }
}

// ---- the end set

// States of end cells in float64, as the candidates of a smoothed minimum.
template <class T> SDTW_DEVICE double end_mantissa(Plain<T> s) { return s.value < Real<T>::infinity() ? 1.0 : 0.0; }
template <class T, class E> SDTW_DEVICE double end_mantissa(Scaled<T, E> s) { return double(s.mantissa); }
template <class T> SDTW_DEVICE double end_level(Plain<T> s) { return -double(s.value); }  // best: largest
template <class T, class E> SDTW_DEVICE double end_level(Scaled<T, E> s) { return double(s.exponent); }

// Calls body(slot) for the end cells of a pair that a strip has reached, each lane for its own: those of the last row,
// then those of the last column. One loop, not unrolled: `close` has a dozen of them, whose powers of two the compiler
// would write out a hundred times, at twice the time of compilation.
template <class T, class Body> SDTW_DEVICE void each_end(const Arguments<T>& a, const Pair& p, Body body) {
  const bool row = a.open_end & 1, column = a.open_end & 2;
  const Strip s = strip_of(a, p, (p.n - 1) / kWarp);
  const Index first = row ? s.first : 0, of_row = row ? s.last - first + 1 : column ? 0 : 1,
              of_column = column ? p.n - row : 0;
#pragma unroll 1
  for (Index k = lane_of_thread(); k < of_row + of_column; k += kWarp) {
    const Index i = k - of_row;
    if (i < 0) body(first + k);
    else if (strip_of(a, p, i / kWarp).last == p.m - 1) body((row ? a.columns : 0) + i);
  }
}

// Value of every pair over its end cells, and its derivatives with respect to them. Sums in float64.
// grid (any), block (32,), a pair a warp. IN `ends`; OUT value, slope, `seed`.
template <class Op, bool Tangents>
SDTW_DEVICE void close(const Arguments<typename Op::Scalar>& a) {
  using T = typename Op::Scalar;
  using N = Node<Op, Tangents>;
  constexpr bool sparse = Op::smooth && !Op::scaled;
  const double infinity = Real<double>::infinity();
  for (Index id = blockIdx.x; id < a.pairs; id += gridDim.x) {
    const Pair p = pair_of(a, id);
    if (!serves<Op>(a, p)) continue;
    const Index cells = end_cells_of(a);
    const N* const ends = nodes_of_pair<N>(a, a.ends, id, cells);
    T* const seed = a.seed + id * cells;
    T* const moved_seed = Tangents ? a.seed + (a.pairs + id) * cells : nullptr;
    double value = infinity, slope = 0;
    if (p.broken || a.counters[8 + id] == kPoison) {
      value = slope = Real<double>::unbits(0x7ff8000000000000LL);
      if (!p.broken) each_end(a, p, [&](Index slot) {
        seed[slot] = T(value);
        if (Tangents) moved_seed[slot] = T(value);
      });
    } else {
      double top = -infinity;
      each_end(a, p, [&](Index slot) {
        if (end_mantissa(ends[slot].state) > 0) top = max2(top, end_level(ends[slot].state));
      });
      top = over_lanes(top, Largest());
      const bool reached = top > -infinity;
      // What a cell weighs, up to the total: its share of the sum, its part of the simplex, or 1 for the first best.
      const Index never = a.rows + a.columns;
      Index best = never;
      double tau = 1;
      if (!Op::smooth) {
        each_end(a, p, [&](Index slot) {
          if (-end_level(ends[slot].state) == -top) best = min2(best, slot);
        });
        best = over_lanes(best, Least());
      }
      if (sparse && a.open_end && reached) {  // Michelot: drop what lies above the threshold until nothing does
        for (double before = 2; tau < before;) {
          before = tau;
          double total = 0, count = 0;
          each_end(a, p, [&](Index slot) {
            const double gap = (top - end_level(ends[slot].state)) / a.gamma;
            if (gap < before) total += gap, count += 1;
          });
          tau = (1 + over_lanes(total, Sum())) / over_lanes(count, Sum());
        }
      }
      const auto weight = [&](Index slot) -> double {
        const auto state = ends[slot].state;
        if (!reached || !(end_mantissa(state) > 0)) return 0;
        if (Op::scaled) return end_mantissa(state) * exp2(end_level(state) - top);
        if (!a.open_end) return 1;
        return sparse ? max2(tau - (top - end_level(state)) / a.gamma, 0.0) : slot == best ? 1.0 : 0.0;
      };
      double total = 0, mean = 0, squares = 0;
      each_end(a, p, [&](Index slot) {
        const double w = weight(slot);
        total += w, squares += w * w;
        if (sparse && w > 0) mean += w * ((top - end_level(ends[slot].state)) / a.gamma);
      });
      total = over_lanes(total, Sum());
      if (reached && Op::scaled) value = -a.gamma * (log(total) + top * 0.69314718055994530942);
      else if (reached) value = -top;
      if (sparse && a.open_end && reached)
        value += a.gamma * (over_lanes(mean, Sum()) + 0.5 * over_lanes(squares, Sum()));
      const double scale = reached ? 1 / total : 0;
      each_end(a, p, [&](Index slot) { seed[slot] = T(weight(slot) * scale); });

      if constexpr (Tangents) {
        // Hess_min(q) b by differences to the tangent of a common cell: equal tangents then cancel exactly.
        double part = 0;
        each_end(a, p, [&](Index slot) {
          if (double(seed[slot]) > 0) part += double(seed[slot]) * double(ends[slot].moved());
        });
        slope = over_lanes(part, Sum());
        double heaviest = 0;
        each_end(a, p, [&](Index slot) { heaviest = max2(heaviest, double(seed[slot])); });
        heaviest = over_lanes(heaviest, Largest());
        Index base = never;
        each_end(a, p, [&](Index slot) { if (double(seed[slot]) == heaviest) base = min2(base, slot); });
        base = over_lanes(base, Least());
        const double origin = reached ? double(ends[base].moved()) : 0;
        double mass = 0, mean_move = 0;
        const auto share = [&](Index slot) -> double {
          return sparse ? (seed[slot] > 0 ? 1.0 : 0.0) : Op::smooth ? double(seed[slot]) : 0.0;
        };
        each_end(a, p, [&](Index slot) {
          const double w = share(slot);
          mass += w;
          if (w > 0) mean_move += w * (double(ends[slot].moved()) - origin);
        });
        mass = over_lanes(mass, Sum()), mean_move = over_lanes(mean_move, Sum());
        each_end(a, p, [&](Index slot) {
          const double w = share(slot);
          const double move = (double(ends[slot].moved()) - origin) - mean_move / mass;
          moved_seed[slot] = a.open_end && mass > 0 && w > 0 ? T(-w * move / a.gamma) : T(0);
        });
      }
    }
    if (lane_of_thread() == 0) {
      a.value[id] = T(value);
      if (Tangents && a.slope) a.slope[id] = T(slope);
    }
  }
}

// ---- backward

// gradient += sum over cells of H * slope, for a block of H in a tile. A row of x belongs to a lane of this strip;
// a column of y to all strips in turn, the lower ones first, which have published that they are done with it.
template <class Cost, class T>
SDTW_DEVICE void pull_back(const Arguments<T>& a, const Strip& s, Index t0, int count, Shared<T> tile) {
  const Pair& p = s.pair;
  const Index d = a.channels;
  const T parameter = T(a.cost_parameter);
  const Index x_row = first_sample<T>(a.x_start, p.x, a.rows) + s.row;
  const Index y_row = first_sample<T>(a.y_start, p.y, a.columns);
  const int lane = lane_of_thread();
  const Index left = s.first + t0 - lane;  // column of this lane at step 0 of the block
  const auto is_cell = [&](int r, Index column) { return r < s.rows && column >= s.first && column <= s.last; };
  if (Cost::needs_cost)  // its slope is the difference over the distance, 0 at 0
    for (int k = 0; k < count; ++k) {
      if (!is_cell(lane, left + k)) continue;
      const T distance = cost_between<Cost>(a.x + (x_row + lane) * d, a.y + (y_row + left + k) * d, d, parameter);
      const T weight = tile[k * kPitch + lane];
      tile[k * kPitch + lane] = distance > 0 ? weight / distance : T(0);
    }
  if (a.x_gradient && lane < s.rows)
    for (Index c = 0; c < d; ++c) {
      const T x = a.x[(x_row + lane) * d + c];
      T total = 0;
      for (int k = 0; k < count; ++k)
        if (is_cell(lane, left + k))
          total += tile[k * kPitch + lane] * Cost::slope(x, a.y[(y_row + left + k) * d + c], parameter);
      a.x_gradient[(x_row + lane) * d + c] += total * T(Cost::scale);
    }
  __syncwarp();
  if (a.y_gradient)
    for (int q = lane; q < kDepth<T> + kWarp - 1; q += kWarp) {  // columns of the block, from that of lane 31
      const Index column = s.first + t0 + (q - (kWarp - 1));
      if (column < s.first || column > s.last) continue;
      for (Index c = 0; c < d; ++c) {
        const T y = a.y[(y_row + column) * d + c];
        T total = 0;
        for (int r = 0; r < s.rows; ++r) {
          const int k = q - (kWarp - 1) + r;
          if (k < 0 || k >= count) continue;
          const T weight = tile[k * kPitch + r], x = a.x[(x_row + r) * d + c];
          total -= Cost::product ? weight * x : weight * Cost::slope(x, y, parameter);
        }
        T* const gradient = a.y_gradient + (y_row + column) * d + c;
        store_through(gradient, load_fresh(gradient) + total * T(Cost::scale));
      }
    }
}
template <class T> struct Message { T up, diag; };  // what a cell sends to those above it

// grid (any), block (32,). IN costs or series, `edges`, `checkpoints`, `seed`; WORK `sent`; OUT gradients, product.
template <class Op, class Cost, bool Weighted, bool Tangents>
SDTW_DEVICE void backward(const Arguments<typename Op::Scalar>& a) {
  using T = typename Op::Scalar;
  using N = Node<Op, Tangents>;
  constexpr int D = kDepth<T>;
  constexpr int kKinds = Tangents ? 2 : 1;  // of messages: visits, and their tangents
  SDTW_SHARED(T, tile, (Tangents ? 6 : 3) * kTile<T>);  // costs, which become q.left, then E; q.diag; q.up; tangents
  SDTW_SHARED(N, above, D);
  SDTW_SHARED(Message<T>, arriving, kKinds* D);  // to lane 31 from the strip below
  SDTW_SHARED(Message<T>, leaving, kKinds* D);   // from lane 0 to the strip above
  const Counters<T> counters(a, Range<Op>::wide ? kWideBackward : kBackward);
  if (Range<Op>::wide && *static_cast<const volatile Index*>(counters.any_wide) == 0) return;
  const Op op = make(a, static_cast<Op*>(nullptr));
  const int lane = lane_of_thread();

  for (;;) {
    const Index task = next_task(counters.queue);
    if (task >= a.pairs * strips_of(a)) return;
    const Pair pair = pair_of(a, task % a.pairs);
    const Index number = strips_of(a) - 1 - task / a.pairs;
    if (number * kWarp >= pair.n || !serves<Op>(a, pair)) continue;
    const Strip s = strip_of(a, pair, number);
    const Steps<T> steps(a, s);
    Index* const progress = counters.progress + pair.id * strips_of(a) + number;
    const N* const row_above = row_of_strip<N>(a, s) - a.columns;
    const T* const seed = a.seed + pair.id * end_cells_of(a);
    const T* const moved_seed = Tangents ? a.seed + (a.pairs + pair.id) * end_cells_of(a) : nullptr;
    T* const sent = a.sent + pair.id * 2 * kKinds * a.columns;
    const Columns columns = columns_above(a, s);
    typename Real<T>::Bits unused = 0;
    Index first_below = 0, last_below = -1;
    if (!s.is_last()) {
      const Strip next = strip_of(a, pair, number + 1);
      first_below = next.first, last_below = next.last;
    }
    // What a cell sends to its predecessors; and what lane l + 1 sent diagonally, one step late.
    Three<T> message = {0, 0, 0}, moved_message = {0, 0, 0};
    T diagonal = 0, moved_diagonal = 0;

    for (Index block = (s.steps() - 1) / D; block >= 0; --block) {
      const Block<T> b(a, s, block * D);
      const bool plain = is_plain(a, s, b);
      const int zero = b.step(lane - b.corner, -1);
      load_costs<Cost>(a, s, b, tile, unused);
      if constexpr (Tangents) load_direction(a, s, b, tile + 3 * kTile<T>, tile);
      if (lane < D) above[lane] = node_above(a, op, s, row_above, columns, b.corner + lane);
      Front<Op, Weighted, Tangents> front;
      front.begin(op);
      if (block > 0) {
        const N* const place = checkpoint<N>(a, s, block);
        front.here = load_node(place);
        front.before = load_node(place + kWarp);
      } else if (lane == 0 && !s.is_first() && s.first > 0) {
        front.before = node_above(a, op, s, row_above, columns, s.first - 1);
      }
      __syncwarp();
      along_steps<T>(plain, b.count, [&](auto plain, int k) {  // a lane reads and writes its own slots
        const int at = k * kPitch + lane;
        const T cost = tile[at];
        const T direction = Tangents ? T(tile[3 * kTile<T> + at]) : T(0);
        const N edge = above[k];
        Three<T> curved = {0, 0, 0};
        const Three<T> q = front.template advance<plain.value>(op, steps, k == zero, edge, cost, direction, curved);
        if (renormalises(k)) front.here.state = op.renormalise(front.here.state);
        tile[at] = q.left, tile[kTile<T> + at] = q.diag, tile[2 * kTile<T> + at] = q.up;
        if constexpr (Tangents) {
          tile[3 * kTile<T> + at] = curved.left;
          tile[4 * kTile<T> + at] = curved.diag;
          tile[5 * kTile<T> + at] = curved.up;
        }
      });

      // The lowest column that this block needs of the strip below, which counts columns from the right.
      const Index lowest = max2(b.corner - (kWarp - 1), first_below);
      if (lowest <= last_below) await(progress + 1, pair.m - lowest);
      if (lane < D) {
        const Index column = b.corner + (lane - (kWarp - 1));
        const bool up = column >= first_below && column <= last_below,
                   diag = column + 1 >= first_below && column + 1 <= last_below;
        for (int j = 0; j < kKinds; ++j)
          arriving[j * D + lane] = {up ? load_fresh(sent + 2 * j * a.columns + column) : T(0),
                                    diag ? load_fresh(sent + (2 * j + 1) * a.columns + column + 1) : T(0)};
      }
      __syncwarp();
      back_along_steps<T>(plain, b.count, [&](auto plain, int k) {
        const int at = k * kPitch + lane;
        T up = from_lane_below(message.up), next_diagonal = from_lane_below(message.diag);
        if (lane == kWarp - 1) {
          const Message<T> m = arriving[k];
          up = m.up, diagonal = m.diag;
        }
        T visits = (message.left + up) + diagonal;
        const Index slot = plain.value ? -1 : end_slot(a, s, b.corner + (k - lane));
        if (slot >= 0) visits += seed[slot];
        diagonal = next_diagonal;
        const Three<T> q = {tile[at], tile[kTile<T> + at], tile[2 * kTile<T> + at]};
        message = {q.left * visits, q.diag * visits, q.up * visits};
        Three<T> weights = steps.weights;
        if (!plain.value && k == zero) weights.left = T(1);
        const T weight = Weighted ? dot(q, weights) : T(1);
        tile[at] = Weighted && !a.visits ? visits * weight : visits;
        if constexpr (Tangents) {
          T moved_up = from_lane_below(moved_message.up), next = from_lane_below(moved_message.diag);
          if (lane == kWarp - 1) {
            const Message<T> m = arriving[D + k];
            moved_up = m.up, moved_diagonal = m.diag;
          }
          T moved = (moved_message.left + moved_up) + moved_diagonal;
          if (slot >= 0) moved += moved_seed[slot];
          moved_diagonal = next;
          const Three<T> c = {tile[3 * kTile<T> + at], tile[4 * kTile<T> + at], tile[5 * kTile<T> + at]};
          moved_message = {q.left * moved + c.left * visits, q.diag * moved + c.diag * visits,
                           q.up * moved + c.up * visits};
          T product = Weighted ? moved * weight + visits * dot(c, weights) : moved;
          if (!a.direction) product += tile[at];  // along the costs: d <H, C> / d C = Hess C + H
          tile[3 * kTile<T> + at] = product;
          if (lane == 0) leaving[D + k] = {moved_message.up, moved_message.diag};
        }
        if (lane == 0) leaving[k] = {message.up, message.diag};
      });
      __syncwarp();
      const auto hand_on = [&] {
        if (s.is_first()) return;
        const Index column = b.corner + lane;
        if (lane < b.count && column <= s.last)
          for (int j = 0; j < kKinds; ++j) {
            const Message<T> m = leaving[j * D + lane];
            store_through(sent + 2 * j * a.columns + column, m.up);
            store_through(sent + (2 * j + 1) * a.columns + column, m.diag);
          }
        publish(progress, block > 0 ? pair.m - b.corner : pair.m);
      };
      if constexpr (!kFused<Cost>) hand_on();  // first of all: a release waits until what was written has arrived
      if (a.gradient) write_tile(a, s, b, tile, a.gradient);
      if constexpr (Tangents) {
        if (a.product) write_tile(a, s, b, tile + 3 * kTile<T>, a.product);
      }
      if constexpr (kFused<Cost>) {
        __syncwarp();  // pull_back changes the tile
        pull_back<Cost>(a, s, b.t0, b.count, Tangents ? tile + 3 * kTile<T> : tile);
        __syncwarp();  // and the next block writes to it
        hand_on();     // the gradient of y, too
      }
    }
  }
}

}  // namespace sdtw
