// The alignment recursion for any set of steps (math-alignment page, section 3), one cell at a time and in float64:
// a literal transcription, with the start as one more candidate, behind the steps. Step sets other than left, diagonal
// and up are rare, and so are weights and transitions that differ from cell to cell; this serves them all, on every
// device. A schedule takes the cells in an order in which those before and after are ready: rows, or anti-diagonals.
#pragma once
#include "recursion.h"
#include "smooth.h"
#include "uniform.h"

namespace sdtw {

// One pair. All arrays and tables are indexed by p = i * columns + j, or by p * steps + s, p * candidates() + s.
template <class T> struct GraphPair {
  Index n, m, columns;       // columns >= m
  Index steps, radius;
  int op, open_begin, open_end;
  double gamma;
  bool unweighted_direction;
  const Int64* step;         // IN  (steps, 2) di, dj
  const double* step_weight;  // IN  (steps,)
  const T *given, *direction;
  const unsigned char *mask, *begin_mask, *end_mask;   // null: all cells, or as open_begin and open_end say
  const unsigned char* step_mask;
  const double *cell_weights, *begin_weights, *end_weights;  // null: 1, 1, 0

  SDTW_FN Index candidates() const { return steps + 1; }
  SDTW_FN Index at(Index i, Index j) const { return i * columns + j; }
  SDTW_FN Index di(Index s) const { return Index(step[2 * s]); }
  SDTW_FN Index dj(Index s) const { return Index(step[2 * s + 1]); }
  SDTW_FN Index before(Index p, Index s) const { return p - at(di(s), dj(s)); }
  SDTW_FN bool is_start(Index i, Index j) const {
    if (begin_mask) return begin_mask[at(i, j)];
    return (i == 0 && j == 0) || (i == 0 && (open_begin & 1)) || (j == 0 && (open_begin & 2));
  }
  SDTW_FN bool admissible(Index i, Index j) const {
    const Columns band = admissible_columns(i, n, m, radius);
    return j >= band.first && j <= band.last && (!mask || mask[at(i, j)]);
  }
  SDTW_FN bool arrives(Index i, Index j, Index s) const {
    return i >= di(s) && j >= dj(s) && (!step_mask || step_mask[at(i, j) * steps + s]);
  }
  // What a path that arrives at the cell by step s pays of its cost, or of the direction there.
  SDTW_FN double weight(Index p, Index s, bool of_direction = false) const {
    if (of_direction && unweighted_direction) return 1;
    if (s == steps) return begin_weights ? begin_weights[p] : 1;
    return step_weight[s] * (cell_weights ? cell_weights[p * steps + s] : 1);
  }
  SDTW_FN double end_weight(Index p, bool of_direction = false) const {
    return (of_direction && unweighted_direction) || !end_weights ? 0 : end_weights[p];
  }

  // ---- forward

  // Value of a cell after those before it, V; OUT q (candidates(),): how probable each of them is.
  SDTW_FN double forward(Index i, Index j, const double* V, double* q) const {
    const Index p = at(i, j);
    const double infinity = Real<double>::infinity(), c = double(given[p]);
    const bool open = c < infinity && admissible(i, j);
    for (Index s = 0; s < steps; ++s)
      q[s] = open && arrives(i, j, s) ? V[before(p, s)] + weight(p, s) * c : infinity;
    q[steps] = open && is_start(i, j) ? weight(p, steps) * c : infinity;
    return smooth_min(op, gamma, q, candidates(), q, Alone());
  }
  // Tangent of a cell along the direction after those before it; OUT curved (candidates(),): that of q.
  SDTW_FN double tangent(Index i, Index j, const double* moved, const double* q, double* curved) const {
    const Index p = at(i, j);
    const double z = double(direction[p]);
    double sum = 0;
    for (Index s = 0; s < candidates(); ++s) {
      curved[s] = (s < steps && arrives(i, j, s) ? moved[before(p, s)] : 0) + weight(p, s, true) * z;
      sum += q[s] > 0 ? q[s] * curved[s] : 0;
    }
    smooth_min_curve(op, gamma, q, curved, candidates(), curved, Alone());
    return sum;
  }

  // ---- the end set: its cells have places in the order in which equal ones are preferred

  SDTW_FN bool has_open_end() const { return open_end || end_mask; }
  SDTW_FN Index ends() const {  // of a mask also the cells that it leaves out
    if (end_mask) return n * m;
    return open_end ? (open_end & 1 ? m : 0) + (open_end & 2 ? n - (open_end & 1) : 0) : 1;
  }
  SDTW_FN Index cell_of_end(Index k) const {
    if (end_mask) return at(k / m, k % m);
    if (!open_end) return at(n - 1, m - 1);
    if ((open_end & 1) && k < m) return at(n - 1, k);
    return at(k - (open_end & 1 ? m : 0), m - 1);
  }
  SDTW_FN Index end_of_cell(Index i, Index j) const {  // or -1
    const bool last_row = i == n - 1, last_column = j == m - 1;
    if (end_mask) return end_mask[at(i, j)] ? i * m + j : -1;
    if (!open_end) return last_row && last_column ? 0 : -1;
    if ((open_end & 1) && last_row) return j;
    return (open_end & 2) && last_column ? (open_end & 1 ? m : 0) + i : -1;
  }
  // Value over the ends; OUT seed (ends(),): how probable each is.
  template <class Team> SDTW_FN double close(const double* V, double* seed, Team team) const {
    const double infinity = Real<double>::infinity();
    for (Index k = team.first(); k < ends(); k += team.step()) {
      const Index p = cell_of_end(k);
      const bool reached = V[p] < infinity && (!end_mask || end_mask[p]);
      seed[k] = reached ? V[p] + end_weight(p) * double(given[p]) : infinity;
    }
    if (has_open_end()) return smooth_min(op, gamma, seed, ends(), seed, team);
    double value = infinity;  // the only end cell: no operator is applied
    if (team.first() == 0) value = seed[0], seed[0] = value < infinity ? 1 : 0;
    return team.all(value, Least());
  }
  // Slope of the value along the direction; OUT curved (ends(),): the tangent of the seed.
  template <class Team>
  SDTW_FN double close_tangent(const double* moved, const double* seed, double* curved, Team team) const {
    double slope = 0;
    for (Index k = team.first(); k < ends(); k += team.step()) {
      const Index p = cell_of_end(k);
      curved[k] = seed[k] > 0 ? moved[p] + end_weight(p, true) * double(direction[p]) : 0;
      slope += seed[k] > 0 ? seed[k] * curved[k] : 0;
    }
    smooth_min_curve(has_open_end() ? op : kHard, gamma, seed, curved, ends(), curved, team);
    return team.all(slope, Sum());
  }
  template <class Team> SDTW_FN double omega_of_ends(const double* seed, Team team) const {
    return has_open_end() ? omega(op, seed, ends(), team) : 0;
  }

  // ---- backward

  // How often paths visit a cell, E, from the visits of those after it.
  SDTW_FN double visits(Index i, Index j, const double* seed, const double* q, const double* E) const {
    const Index end = end_of_cell(i, j);
    double e = end < 0 ? 0 : seed[end];
    for (Index s = 0; s < steps; ++s) {
      if (i + di(s) >= n || j + dj(s) >= m) continue;
      const Index after = at(i + di(s), j + dj(s));
      const double share = q[after * candidates() + s];
      if (share > 0) e += share * E[after];
    }
    return e;
  }
  // The tangent of E, likewise.
  SDTW_FN double moved_visits(Index i, Index j, const double* moved_seed, const double* q, const double* curved,
                              const double* E, const double* D) const {
    const Index end = end_of_cell(i, j);
    double d = end < 0 ? 0 : moved_seed[end];
    for (Index s = 0; s < steps; ++s) {
      if (i + di(s) >= n || j + dj(s) >= m) continue;
      const Index after = at(i + di(s), j + dj(s));
      const double share = q[after * candidates() + s];
      if (share > 0) d += share * D[after] + curved[after * candidates() + s] * E[after];
    }
    return d;
  }
  // What a cell's cost is paid with by paths that come to it by candidates of this share.
  SDTW_FN double paid(Index p, const double* share) const {
    double sum = 0;
    for (Index s = 0; s < candidates(); ++s) sum += share[s] * weight(p, s);
    return sum;
  }
  SDTW_FN double paid_at_end(Index i, Index j, const double* seed) const {
    const Index end = end_of_cell(i, j);
    return end < 0 ? 0 : seed[end] * end_weight(at(i, j));
  }
  // What a cell that is visited e times adds to the gradients by gamma and by the weights of the steps, IN/OUT
  // (candidates(),); OUT, or null, those by its own weights (steps,). By gamma it is Omega(q) of every choice, times how
  // often it is made (envelope theorem).
  SDTW_FN void add_parameters(Index p, double e, const double* q, double* gradient, double* of_weights) const {
    if (e > 0) gradient[0] += e * omega(op, q, candidates(), Alone());
    for (Index s = 0; s < steps; ++s) {
      const double cost = q[s] > 0 ? e * q[s] * double(given[p]) : 0;
      gradient[1 + s] += cost * (cell_weights ? cell_weights[p * steps + s] : 1);
      if (of_weights) of_weights[s] = cost * step_weight[s];
    }
  }

  // ---- paths

  // Walks from an end back to a start, by the candidates that `draw` picks; probabilities are computed again, into q
  // (candidates(),). OUT cells (n + m - 1, 2), of which the path takes as many as it returns: 0 where there is none.
  template <class Draw>
  SDTW_FN Index path(const double* V, const double* seed, double* q, Draw draw, Int64* cells) const {
    Index length = 0, chosen = pick(seed, ends(), draw());
    if (chosen < 0) return 0;
    Index i = cell_of_end(chosen) / columns, j = cell_of_end(chosen) % columns;
    while (chosen >= 0) {
      cells[2 * length] = i, cells[2 * length + 1] = j, ++length;
      forward(i, j, V, q);
      chosen = pick(q, candidates(), draw());
      if (chosen == steps) break;
      i -= di(chosen), j -= dj(chosen);
    }
    for (Index k = 0; k < length / 2; ++k)  // written from the end: turn around
      for (Index side = 0; side < 2; ++side) {
        const Int64 cell = cells[2 * k + side];
        cells[2 * k + side] = cells[2 * (length - 1 - k) + side];
        cells[2 * (length - 1 - k) + side] = cell;
      }
    return length;
  }
};

}  // namespace sdtw
