// What the Cython door hands down: one request, any number of pairs. Plain pointers to arrays
// that the caller owns; nothing here is validated again.
#pragma once
#include "config.h"

namespace sdtw {

// Many series in one array of rows: series k is rows [start[k], start[k] + length[k]).
struct SeriesArray {
  const void* data = nullptr;  // (rows, channels); null when the costs are given
  const std::int64_t *start = nullptr, *length = nullptr;
  const std::int64_t* index = nullptr;  // pair b uses series index[b]; null: b itself
  void* gradient = nullptr;             // OUT, laid out as data, zero on entry; null: not wanted
};

// One matrix for each pair, or one for all (pair_stride 0).
struct MatrixArray {
  void* data = nullptr;
  std::int64_t pair_stride = 0, row_stride = 0;  // in elements; columns are contiguous
};

struct Request {
  bool single_precision = false;
  std::int64_t pairs = 0, channels = 0;
  SeriesArray x, y;
  int cost = 0;  // level.h: Cost; kGiven when there are no series
  double cost_parameter = 0;
  MatrixArray given;                // IN  local costs, or a prior added to those of the series
  MatrixArray mask;                 // IN  bytes, 0 = forbidden
  std::int64_t radius = -1;         // Sakoe-Chiba band; -1: none
  int op = 0;                       // level.h: Operator
  double gamma = 1;
  double weights[3] = {1, 1, 1};    // left, diagonal, up
  std::int64_t n_steps = 0;         // other steps than these three (graph.h): their number,
  const std::int64_t* steps = nullptr;   // (n_steps, 2) di, dj
  const double* step_weights = nullptr;  // (n_steps,)
  MatrixArray step_mask;            // IN  bytes (.., m, n_steps), 0 = this step may not arrive here; these six need steps
  MatrixArray cell_weights;         // IN  double (.., m, n_steps) of arriving, besides step_weights
  MatrixArray begin_mask, end_mask;        // IN  bytes, 0 = not in the set; null: as open_begin and open_end say
  MatrixArray begin_weights, end_weights;  // IN  double, what a start (1) and an end (0) pays of its cell's cost
  int open_begin = 0, open_end = 0;  // bit 0: along y (the row), bit 1: along x (the column)

  void* value = nullptr;            // OUT (pairs,)
  MatrixArray gradient;             // OUT d value / d C, zero on entry
  bool visits = false;              // OUT the expected alignment E instead, also under weights
  MatrixArray direction;            // IN  direction of the tangent; null: first order only, unless:
  bool along_costs = false;         // the direction is C: slope is <d value / d C, C>, and product its gradient
  bool unweighted_direction = false;  // arguments move by the direction itself: VJP of E
  void* slope = nullptr;            // OUT (pairs,) directional derivative
  MatrixArray product;              // OUT Hessian product (along C plus d value / d C), zero on entry
  double* parameter_gradient = nullptr;  // OUT (pairs, 1 + n_steps) d value / d gamma, step weights; graph.h alone
  MatrixArray weight_gradient;      // OUT double (.., m, n_steps) d value / d cell weights; graph.h alone

  std::int64_t samples = -1;        // paths: -1 none, 0 the best one, else drawn from the law
  std::uint64_t seed = 0;
  const std::int64_t* path_start = nullptr;  // (pairs,) where the paths of a pair begin in `paths`
  std::int64_t* paths = nullptr;    // OUT (.., 2) cells; each path has room for n + m - 1
  std::int64_t* path_length = nullptr;  // OUT (pairs, max(samples, 1))

  int threads = 1, level = 0;
  int (*interrupted)() = nullptr;   // polled by the calling thread; non-zero stops the work
};

enum Status { kDone = 0, kNeedsDouble = 1, kOverflow = 2, kInterrupted = -1 };

Status run(const Request& request);     // throws std::bad_alloc
struct CtcRequest;                      // ctc.h
Status run(const CtcRequest& request);  // likewise

bool all_finite(const void* numbers, std::int64_t count, bool single_precision);
int best_level();
int max_threads();
bool has_openmp();
const char* compiler();

}  // namespace sdtw
