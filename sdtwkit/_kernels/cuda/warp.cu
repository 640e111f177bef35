// Continuous warps on the GPU (math-decdtw page): the solver of the CPU, many pairs at a time.
//
// Both kernels run as
//     grid    any number of blocks: they take pairs from a queue
//     block   one warp, for one pair at a time
//     shared  none
// and take one `Arguments`. Each block has a room of its own in device memory, where all arrays of the pair at hand lie.
//
// The exact recursion goes from piece to piece of a function, and what comes next hangs on what came before: lane 0 walks
// alone. (A lane a pair would keep all lanes busy, but 32 pairs take 32 ways: as long as there are fewer pairs than the
// device holds warps, a warp that follows one pair is as fast.) What is independent is shared out to the lanes: centres and
// products of samples, nodes and intervals of the certificate, channels of the gradients.
//
// Whatever lanes write for each other lies in device memory, and a __syncwarp stands between (Lanes::meet). Blocks share
// nothing but the queue. All sums run in an order that the data alone decide, multiplications and additions are not fused,
// and the headers are those of the CPU: the same bits every time, and those of the CPU where it does without BLAS.
#define SDTW_ARENA
#include "sdtwkit/device.h"
#include "sdtwkit/warp.h"

namespace sdtw {

// One line a field: the launch code reads the layout here. Every field takes 8 bytes. T is double.
// Pairs with the same lengths and options share a frame: times, bounds and weights of one warp, of n nodes. What is laid
// out by nodes of frames has n entries from Frame::nodes on; by nodes of pairs, from node_start on.
template <class T> struct Arguments {
  Index pairs;
  Index channels;
  const Index* frame;          // IN  (pairs,)
  const Index* frame_sizes;    // IN  (frames, 8) as warp::Frame
  const T* target;             // IN  (frames,)
  const T* tolerance;          // IN  (frames,) times that are closer are the same
  const T* t;                  // IN  by nodes of frames
  const T* x_times;            // IN  by samples of frames
  const T* y_times;
  const T* reg;                // IN  by nodes of frames, one fewer: of intervals
  const T* slope_lower;
  const T* slope_upper;
  const T* bound_lower;        // IN  by nodes of frames, as given
  const T* bound_upper;
  const T* lower;              // IN  by nodes of frames, tightened by the slopes
  const T* upper;
  const T* band_lower_unit;    // IN  by nodes of frames: how fast bound_lower moves with the band; 0 if it is not the band's
  const T* band_upper_unit;
  const Index* x_start;        // IN  (pairs,) first sample
  const Index* y_start;
  const Index* node_start;     // IN  (pairs,)
  const T* x;                  // IN  (samples, channels)
  const T* y;
  Index loss;                  // as warp::Shape
  double loss_delta;
  Index reg_loss;
  double reg_delta;
  Index cum_loss;
  double cum_delta;
  double cum;
  Index symmetric;
  char* rooms;                 // WORK (blocks, room_bytes)
  Index room_bytes;
  Index* queue;                // WORK (1,) zero on entry
  Index again;                 // only pairs that did not find room enough
  T* centered_x;               // OUT (samples, channels) of `solve`, IN of `differentiate`
  T* centered_y;
  T* found;                    // OUT by nodes of pairs, likewise: phi as the search found it
  Index* outcome;              // OUT (pairs,) likewise: warp::Found, or kNoRoom or kBroken
  T* phi;                      // OUT by nodes of pairs
  T* warped;                   // OUT (nodes of pairs, channels)
  T* objective;                // OUT (pairs,)
  T* residual;                 // OUT (pairs,)
  signed char* held;           // OUT by nodes of pairs, warp::Held
  signed char* joined;         // OUT by nodes of pairs, one fewer, warp::Joined
  T* node_multipliers;         // OUT by nodes of pairs
  T* slope_multipliers;
  const T* cotangent;          // IN  by nodes of pairs, or null: of the objective
  T* x_gradient;               // IN/OUT (samples, channels), zero on entry
  T* y_gradient;
  T* reg_gradient;             // IN/OUT by nodes of pairs, zero on entry
  T* band_lower_gradient;
  T* band_upper_gradient;
  T* slope_lower_gradient;
  T* slope_upper_gradient;
};

enum Outcome : Index { kNoRoom = -1, kBroken = -2 };  // beside warp::Found

namespace warp {

struct Frame {
  Index n, nx, ny;                // nodes, samples of x and of y
  Index nodes, x_times, y_times;  // where they begin
  Index candidates;               // of the coarse search, 0: none
  bool table;                     // whether products of samples are tabled
  double target, tolerance;
};
SDTW_DEVICE Frame frame_of(const Arguments<double>& a, Index pair) {
  const Index f = a.frame[pair];
  const Index* s = a.frame_sizes + 8 * f;
  return {s[0], s[1], s[2], s[3], s[4], s[5], s[6], s[7] != 0, a.target[f], a.tolerance[f]};
}

// The memory of a block: what every pair needs, then, for the search, the products of samples, then an arena.
struct Room {
  char *begin, *end;
  Arena* arena;
  Warp* warp;
  SDTW_DEVICE explicit Room(const Arguments<double>& a)
      : begin(a.rooms + Index(blockIdx.x) * a.room_bytes), end(begin + a.room_bytes),
        arena(reinterpret_cast<Arena*>(begin)), warp(reinterpret_cast<Warp*>(begin + sizeof(Arena))) {}
  SDTW_DEVICE double* scratch() const { return reinterpret_cast<double*>(begin + kHead); }
  static constexpr Index kHead = 4096;
  // By one lane. Arrays lie from here on.
  SDTW_DEVICE void open(double* from) const {
    const Index offset = (reinterpret_cast<char*>(from) - begin + 15) / 16 * 16;
    arena->next = begin + offset, arena->end = end, arena->full = false;
  }
};
static_assert(sizeof(Arena) % 16 == 0 && sizeof(Arena) + sizeof(Warp) <= Room::kHead, "");

SDTW_DEVICE Problem problem_of(const Arguments<double>& a, const Frame& f, Index pair, Memory memory) {
  Problem p = {};
  p.n = f.n, p.nx = f.nx, p.ny = f.ny, p.channels = a.channels;
  p.t = a.t + f.nodes, p.tx = a.x_times + f.x_times, p.ty = a.y_times + f.y_times;
  p.x = a.centered_x + a.x_start[pair] * a.channels, p.y = a.centered_y + a.y_start[pair] * a.channels;
  p.reg = a.reg + f.nodes, p.slope_lower = a.slope_lower + f.nodes, p.slope_upper = a.slope_upper + f.nodes;
  p.lower = a.lower + f.nodes, p.upper = a.upper + f.nodes, p.target = f.target;
  p.loss = {int(a.loss), a.loss_delta}, p.reg_loss = {int(a.reg_loss), a.reg_delta};
  p.cum_loss = {int(a.cum_loss), a.cum_delta}, p.cum = a.cum, p.symmetric = a.symmetric != 0;
  p.memory = memory;
  return p;
}

// Both series less the mean of x in the channels that lie far off zero, as _warp_pairs.py does and for its reasons. All
// lanes get whether all samples are finite.
SDTW_DEVICE bool center(const Arguments<double>& a, const Frame& f, Index pair) {
  const int lane = lane_of_thread();
  const Index first_x = a.x_start[pair] * a.channels, first_y = a.y_start[pair] * a.channels;
  int finite = 1;
  for (Index c = 0; c < a.channels; ++c) {
    double sum = 0, squares = 0;
    for (Index k = lane; k < f.nx; k += kWarp) sum += a.x[first_x + k * a.channels + c];
    const double mean = over_lanes(sum, Sum()) / double(f.nx);
    for (Index k = lane; k < f.nx; k += kWarp) {
      const double off = a.x[first_x + k * a.channels + c] - mean;
      squares += off * off;
    }
    const double spread = sqrt(over_lanes(squares, Sum()) / double(f.nx));
    const double center = fabs(mean) > 8 * spread && spread > 1e-9 * fabs(mean) ? mean : 0;
    for (Index k = lane; k < f.nx; k += kWarp) {
      const double value = a.x[first_x + k * a.channels + c];
      finite &= fabs(value) < kInfinity;
      a.centered_x[first_x + k * a.channels + c] = value - center;
    }
    for (Index k = lane; k < f.ny; k += kWarp) {
      const double value = a.y[first_y + k * a.channels + c];
      finite &= fabs(value) < kInfinity;
      a.centered_y[first_y + k * a.channels + c] = value - center;
    }
  }
  return over_lanes(finite, Least()) != 0;
}

// OUT table (n, nx): y(t_i) . x_k. IN/OUT row (channels,): y(t_i).
SDTW_DEVICE void multiply(const Problem& p, double* row, double* table) {
  for (Index i = 0; i < p.n; ++i) {
    const Reading y(p.y, p.channels, place(p.ty, p.ny, p.t[i], 0));
    for (Index c = Lanes::first(); c < p.channels; c += Lanes::stride()) row[c] = y.value(c);
    Lanes::meet();
    for (Index k = Lanes::first(); k < p.nx; k += Lanes::stride()) {
      double sum = 0;
      for (Index c = 0; c < p.channels; ++c) sum += row[c] * p.x[k * p.channels + c];
      table[i * p.nx + k] = sum;
    }
    Lanes::meet();
  }
}

// Poses the problem of a pair in the room, with the certificate of what was found. By all lanes.
SDTW_DEVICE Warp& certified(const Arguments<double>& a, const Frame& f, Index pair, const Room& room) {
  if (Lanes::lead()) {
    room.open(room.scratch() + 3 * f.n);
    Warp& w = *new (room.warp) Warp(room.arena);
    w.problem = problem_of(a, f, pair, room.arena);
    w.bound_lower = a.bound_lower + f.nodes, w.bound_upper = a.bound_upper + f.nodes;
    w.tolerance = f.tolerance;
  }
  Lanes::meet();
  room.warp->certificate.certify(a.found + a.node_start[pair], room.warp->bound_lower, room.warp->bound_upper,
                                 room.warp->tolerance);
  return *room.warp;
}

// IN outcome. Leaves NaN where there is no warp to be had.
SDTW_DEVICE void give_up(const Arguments<double>& a, const Frame& f, Index pair, Index outcome) {
  const Index first = a.node_start[pair];
  for (Index i = Lanes::first(); i < f.n; i += Lanes::stride()) {
    a.phi[first + i] = a.node_multipliers[first + i] = a.slope_multipliers[first + i] = kNaN;
    a.held[first + i] = a.joined[first + i] = 0;
    for (Index c = 0; c < a.channels; ++c) a.warped[(first + i) * a.channels + c] = kNaN;
  }
  if (Lanes::lead()) a.objective[pair] = a.residual[pair] = kNaN, a.outcome[pair] = outcome;
}

SDTW_DEVICE void solve(const Arguments<double>& a, const Frame& f, Index pair, const Room& room) {
  const Index first = a.node_start[pair];
  if (!center(a, f, pair)) return give_up(a, f, pair, kBroken);
  Lanes::meet();
  const Problem p = problem_of(a, f, pair, room.arena);
  double* const row = room.scratch();
  double* const table = f.table ? row + a.channels : nullptr;
  if (table) multiply(p, row, table);
  Lanes::meet();
  Index outcome = 0;
  if (Lanes::lead()) {
    room.open(table ? table + f.n * f.nx : row);
    const Found found = search(p, table, f.candidates, a.found + first);
    outcome = room.arena->full ? Index(kNoRoom) : Index(found);
  }
  outcome = __shfl_sync(kAllLanes, outcome, 0);
  Lanes::meet();
  if (outcome == kNoRoom) return give_up(a, f, pair, kNoRoom);

  Warp& w = certified(a, f, pair, room);
  double residual, scale;
  const double objective = w.report(a.phi + first, a.held + first, a.joined + first, a.node_multipliers + first,
                                    a.slope_multipliers + first, &residual, &scale);
  if (!(fabs(objective) < kInfinity)) return give_up(a, f, pair, kBroken);
  if (Lanes::lead())
    a.objective[pair] = objective, a.residual[pair] = scale > 0 ? residual / scale : 0, a.outcome[pair] = outcome;
  const double* x = a.x + a.x_start[pair] * a.channels;
  for (Index i = 0; i < f.n; ++i) {
    const Reading there(x, a.channels, place(p.tx, p.nx, a.phi[first + i], 0));
    for (Index c = Lanes::first(); c < a.channels; c += Lanes::stride())
      a.warped[(first + i) * a.channels + c] = there.value(c);
  }
}

// Derivatives by bounds: IN nodes (n,), slopes (n - 1,) of the active rows, the latter by phi' itself.
SDTW_DEVICE void share_out(const Arguments<double>& a, const Frame& f, Index pair, const double* nodes,
                           const double* slopes) {
  const Index first = a.node_start[pair];
  for (Index i = Lanes::first(); i < f.n; i += Lanes::stride()) {
    const signed char held = a.held[first + i];
    if (held < kAtLower) continue;
    const bool upper = held == kPinned ? a.node_multipliers[first + i] < 0 : held == kAtUpper;
    if (upper) a.band_upper_gradient[first + i] = a.band_upper_unit[f.nodes + i] * nodes[i];
    else a.band_lower_gradient[first + i] = a.band_lower_unit[f.nodes + i] * nodes[i];
  }
  for (Index j = Lanes::first(); j + 1 < f.n; j += Lanes::stride()) {
    const signed char joined = a.joined[first + j];
    if (joined == kSlopeLower) a.slope_lower_gradient[first + j] = f.target * slopes[j];
    if (joined == kSlopeUpper) a.slope_upper_gradient[first + j] = f.target * slopes[j];
  }
}

SDTW_DEVICE void differentiate(const Arguments<double>& a, const Frame& f, Index pair, const Room& room) {
  const Index first = a.node_start[pair];
  double* const x = a.x_gradient + a.x_start[pair] * a.channels;
  double* const y = a.y_gradient + a.y_start[pair] * a.channels;
  if (a.outcome[pair] < 0) {
    for (Index k = Lanes::first(); k < f.nx * a.channels; k += Lanes::stride()) x[k] = kNaN;
    for (Index k = Lanes::first(); k < f.ny * a.channels; k += Lanes::stride()) y[k] = kNaN;
    for (Index j = Lanes::first(); j + 1 < f.n; j += Lanes::stride()) a.reg_gradient[first + j] = kNaN;
    return;
  }
  const Warp& w = certified(a, f, pair, room);
  const Optimality& best = w.certificate.best();
  if (!a.cotangent) {
    best.pull_back_value(1, x, y, a.reg_gradient + first);
    return share_out(a, f, pair, a.node_multipliers + first, a.slope_multipliers + first);
  }
  double *const u = room.scratch(), *const nodes = u + f.n, *const slopes = nodes + f.n;
  if (Lanes::lead()) {
    best.adjoint(a.cotangent + first, u, nodes, slopes);
    for (Index j = 0; j + 1 < f.n; ++j) slopes[j] *= w.problem.step(j);
  }
  Lanes::meet();
  best.pull_back(u, nodes, x, y, a.reg_gradient + first);
  share_out(a, f, pair, nodes, slopes);
}

}  // namespace warp

// Finds warps and certifies them. OUT: all down to slope_multipliers.
template <class T> SDTW_DEVICE void solve(const Arguments<T>& a) {
  const warp::Room room(a);
  for (Index pair; (pair = next_task(a.queue)) < a.pairs; __syncwarp())
    if (!a.again || a.outcome[pair] == kNoRoom) warp::solve(a, warp::frame_of(a, pair), pair, room);
}

// Derivatives of <cotangent, phi>, or of the objective of each pair. OUT: the gradients. Once more from what was found to
// the certificate: as much work as the derivatives, and no memory of its pieces until then (500 bytes a node).
template <class T> SDTW_DEVICE void differentiate(const Arguments<T>& a) {
  const warp::Room room(a);
  for (Index pair; (pair = next_task(a.queue)) < a.pairs; __syncwarp())
    warp::differentiate(a, warp::frame_of(a, pair), pair, room);
}

}  // namespace sdtw
