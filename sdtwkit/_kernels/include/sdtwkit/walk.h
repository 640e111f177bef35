// Paths: the random-walk reading of the backward sweep. From an end cell, step back with the
// probabilities q until a start. Under the hard operator q is one-hot and the walk is the best
// path; under a smoothed operator it is a sample of the law of paths.
#pragma once
#include "sweep.h"
#include "uniform.h"

namespace sdtw {

template <class T> class Walks {
 public:
  // After pass 1 of a pack of one pair.
  Walks(Sweep<T>& sweep, const Request& r) : sweep_(sweep) {
    const Index b = sweep.pack.pair[0], count = std::max(r.samples, std::int64_t(1));
    room_ = sweep.pack.n[0] + sweep.pack.m[0] - 1;
    for (Index k = 0; k < count; ++k) {
      Walker w = {0, 0, r.paths + 2 * (Index(r.path_start[b]) + k * room_), r.path_length + b * count + k,
                  Draws(r.samples > 0, r.seed, b * count + k), false};
      *w.length = 0;
      w.done = !choose_end(w);
      if (!w.done) record(w);
      walkers_.push_back(w);
    }
  }

  void run(Scratch<T>& scratch) {
    for (Index k = Index(sweep_.pack.strips.size()) - 1; k >= 0; --k)
      sweep_.backward_blocks(k, scratch, [&](const Strip& s, Index t0, Index, Three<T*> q, Three<T*>) {
        for (Walker& w : walkers_)
          while (!w.done && w.i >= s.first_row && (w.i - s.first_row) + (w.j - s.first_column) >= t0) {
            const Index lane = w.i - s.first_row, at = (lane + (w.j - s.first_column) - t0) * sweep_.pack.pitch + lane;
            step(w, {q.left[at], q.diag[at], q.up[at]});
          }
      });
    for (Walker& w : walkers_)  // written from the end: turn around
      for (Index a = 0, z = *w.length - 1; a < z; ++a, --z) {
        std::swap(w.cells[2 * a], w.cells[2 * z]);
        std::swap(w.cells[2 * a + 1], w.cells[2 * z + 1]);
      }
  }

 private:
  struct Walker {
    Index i, j;
    std::int64_t *cells, *length;
    Draws draw;
    bool done;
  };
  Sweep<T>& sweep_;
  std::vector<Walker> walkers_;
  Index room_ = 0;

  void record(Walker& w) {
    w.cells[2 * *w.length] = w.i;
    w.cells[2 * *w.length + 1] = w.j;
    ++*w.length;
  }
  bool choose_end(Walker& w) {
    const Ends<T>& ends = sweep_.ends;
    double u = w.draw();
    Index chosen = -1;
    for (Index k = ends.base[0]; k < ends.base[1]; ++k) {
      if (!(ends.seed.get()[k] > 0)) continue;
      chosen = k;
      if ((u -= double(ends.seed.get()[k])) < 0) break;
    }
    if (chosen < 0) return false;  // no admissible path
    ends.cell_of(sweep_.pack, 0, chosen, w.i, w.j);
    return true;
  }
  void step(Walker& w, Three<T> q) {
    const double u = w.draw() * double(sum(q));
    // A start, in the place of left in column 0 and of up in row 0, is drawn last, as in graph_cell.h. Rounding must not
    // lead where the law never goes: the last one only with a positive probability.
    const bool column0 = w.j == 0, diag = u < double(q.diag);
    const double next = double(column0 ? q.up : q.left), last = double(column0 ? q.left : q.up);
    const bool takes_last = !(u < double(q.diag) + next) && last > 0, left = !diag && takes_last == column0;
    if (diag ? w.i == 0 || w.j == 0 : left ? w.j == 0 : w.i == 0) {  // came from a start's empty path
      w.done = true;
      return;
    }
    if (diag) --w.i, --w.j;
    else if (left) --w.j;
    else --w.i;
    record(w);
  }
};

}  // namespace sdtw
