// Where the recursion looks: everywhere, or, for long series, in a corridor around a coarse solution. The corridor is
// moved until the path keeps off its walls, and widened as long as that is cheap. In a corridor pieces shorter than a
// small part of it are merged; if any were, ever narrower corridors follow, until one is solved exactly. A corridor
// holds the path it was laid around, so the objective does not rise.
#pragma once
#include "warp_recursion.h"

namespace sdtw {
namespace warp {

SDTW_CALLED double objective(const Problem& p, const double* phi) {
  double sum = 0;
  for (Index i = 0; i < p.n; ++i) sum += node_at(p, i, phi[i], 0).value;
  for (Index j = 0; j + 1 < p.n; ++j) sum += p.penalty(j, phi[j + 1] - phi[j]);
  return sum;
}

// Every few warp times, with the nodes around each moved along the target slope, and their common cost taken at
// `candidates` places and linear between them.
class Coarse {
 public:
  template <class Nodes>
  SDTW_CALLED Coarse(const Problem& p, const Nodes& nodes, Index candidates)
      : fine_(p), p_(p), pick_(p.memory), first_(p.memory), t_(p.memory), lower_(p.memory), upper_(p.memory),
        reg_(p.memory), slope_lower_(p.memory), slope_upper_(p.memory), values_(p.memory) {
    const Index rows = min(p.n, candidates);
    for (Index a = 0; a < rows; ++a) pick_.push_back(rows > 1 ? a * (p.n - 1) / (rows - 1) : 0);
    double least = kInfinity, most = -kInfinity;
    for (Index a = 0; a < rows; ++a) {
      t_.push_back(p.t[pick_[a]]), lower_.push_back(p.lower[pick_[a]]), upper_.push_back(p.upper[pick_[a]]);
      least = min(least, lower_[a]), most = max(most, upper_[a]);
      if (a + 1 < rows) add_interval(pick_[a], pick_[a + 1]);
    }
    p_.n = rows, p_.t = t_.data(), p_.lower = lower_.data(), p_.upper = upper_.data();
    p_.reg = reg_.data(), p_.slope_lower = slope_lower_.data(), p_.slope_upper = slope_upper_.data();
    spacing_ = max(most - least, 1e-6 * p.tx[p.nx - 1]) / double(candidates - 1);
    first_.push_back(0);
    for (Index a = 0; a < rows; ++a)
      first_.push_back(first_[a] + max(Index(ceil((upper_[a] - lower_[a]) / spacing_)), Index(1)) + 1);
    values_.assign(first_[rows], 0.0);
    for (Index a = 0; a < rows; ++a) {
      const Index from = a > 0 ? (pick_[a - 1] + pick_[a]) / 2 + 1 : 0;
      const Index to = a + 1 < rows ? (pick_[a] + pick_[a + 1]) / 2 : p.n - 1;
      for (Index i = from; i <= to; ++i)
        nodes.sample(i, lower_[a] + p.target * (p.t[i] - t_[a]), gap(a), count(a), &values_[first_[a]]);
    }
  }
  double spacing() const { return spacing_; }

  void pieces(Index a, double from, double to, Array<Quadratic>& out) const {
    out.clear();
    const double* values = &values_[first_[a]];
    const double step = gap(a);
    Index k = step > 0 ? max(min(Index((from - lower_[a]) / step), count(a) - 2), Index(0)) : 0;
    for (double at = from;;) {
      const double here = lower_[a] + double(k) * step, slope = step > 0 ? (values[k + 1] - values[k]) / step : 0;
      out.push_back({at, values[k] + (at - here) * slope, slope, 0});
      at = lower_[a] + double(++k) * step;
      if (k + 1 >= count(a) || at >= to) break;
    }
  }

  // OUT phi (n,)
  SDTW_CALLED void path(double* phi) const {
    const Scope scope(p_.memory);
    Array<double> coarse(p_.n, p_.memory);
    if (!Recursion(p_).run(*this, p_.lower, p_.upper, kInfinity, 0, coarse.data()))
      for (Index a = 0; a < p_.n; ++a) coarse[a] = (lower_[a] + upper_[a]) / 2;
    for (Index i = 0, a = 0; i < fine_.n; ++i) {
      while (a + 2 < p_.n && pick_[a + 1] <= i) ++a;
      const Index b = min(a + 1, p_.n - 1);
      const double part = b > a ? (fine_.t[i] - t_[a]) / (t_[b] - t_[a]) : 0;
      phi[i] = min(max((1 - part) * coarse[a] + part * coarse[b], fine_.lower[i]), fine_.upper[i]);
    }
  }

 private:
  const Problem& fine_;
  Problem p_;  // n, t, bounds and reg of the rows picked
  Array<Index> pick_, first_;
  Array<double> t_, lower_, upper_, reg_, slope_lower_, slope_upper_;
  Array<double> values_;  // of row a from first_[a] on
  double spacing_;

  Index count(Index a) const { return first_[a + 1] - first_[a]; }
  double gap(Index a) const { return (upper_[a] - lower_[a]) / double(count(a) - 1); }
  void add_interval(Index from, Index to) {
    const double duration = fine_.t[to] - fine_.t[from];
    double resistance = 0, least = 0, most = 0;
    for (Index j = from; j < to; ++j) {
      resistance += fine_.step(j) / fine_.reg[j];
      least += fine_.step(j) * fine_.slope_lower[j], most += fine_.step(j) * fine_.slope_upper[j];
    }
    reg_.push_back(duration / resistance);
    slope_lower_.push_back(least / duration), slope_upper_.push_back(most / duration);
  }
};

enum Found { kNowhere = 0, kSomewhere = 1, kEverywhere = 2 };

class Search {
 public:
  explicit Search(const Problem& p)
      : p_(p), lower_(p.n, p.memory), upper_(p.n, p.memory), trial_(p.n, p.memory) {}

  // OUT phi (n,). candidates 0: everywhere.
  template <class Nodes> Found run(Nodes& nodes, Index candidates, double* phi) {
    Recursion recursion(p_);
    double ceiling = kInfinity;
    if (candidates > 1 || p_.nx > kFew) {
      const Coarse coarse(p_, nodes, candidates > 1 ? candidates : kFew);
      coarse.path(phi);
      const Found found = follow(recursion, nodes, coarse.spacing(), candidates > 1 ? kEnough * p_.n : 0, phi);
      if (candidates > 1 || found != kSomewhere) return found;
      ceiling = objective(p_, phi);
      ceiling += 1e-9 * fabs(ceiling);
    }
    return recursion.run(nodes, p_.lower, p_.upper, ceiling, 0, phi) ? kEverywhere : kNowhere;
  }

 private:
  static constexpr Index kFew = 64;  // so many knots need no coarse solution; so many candidates do for a ceiling
  static constexpr Index kEnough = 128;         // pieces a row up to which a corridor is widened
  static constexpr double kGrains = 64;         // in the width of a corridor, at least ...
  static constexpr double kGrainsASegment = 4;  // ... and between two samples of x, on average
  static constexpr double kZoom = 16;           // from one corridor to the next where pieces were merged
  static constexpr double kNarrowest = 1e-12;   // share of the time axis
  static constexpr int kMoves = 32;             // of one corridor
  const Problem& p_;
  Array<double> lower_, upper_, trial_;

  // From a feasible or an almost feasible path, in corridors of this half-width at first.
  template <class Nodes>
  SDTW_CALLED Found follow(Recursion& recursion, Nodes& nodes, double half_width, Index enough, double* phi) {
    bool feasible = false, widening = true;
    double best = kInfinity;
    const double duration = p_.tx[p_.nx - 1];
    for (int moves = 0;;) {
      bool everywhere = true;
      for (Index i = 0; i < p_.n; ++i) {
        lower_[i] = max(p_.lower[i], phi[i] - half_width), upper_[i] = min(p_.upper[i], phi[i] + half_width);
        everywhere = everywhere && lower_[i] == p_.lower[i] && upper_[i] == p_.upper[i];
      }
      const double grain = min(2 * half_width / kGrains, duration / double(p_.nx) / kGrainsASegment);
      const bool found = recursion.run(nodes, lower_.data(), upper_.data(), kInfinity, grain, trial_.data());
      if (exhausted(p_.memory)) return kNowhere;
      if (!found && (feasible || everywhere)) return feasible ? kSomewhere : kNowhere;  // the former by rounding alone
      if (!found) {  // the coarse path breaks slope bounds
        half_width *= 2;
        continue;
      }
      const double value = objective(p_, trial_.data());
      const bool better = value < best;
      if (better || !feasible) {
        for (Index i = 0; i < p_.n; ++i) phi[i] = trial_[i];
        best = value;
      }
      feasible = true;
      if (everywhere && recursion.exact()) return kEverywhere;
      if (better && touches(phi) && ++moves < kMoves) continue;
      moves = 0;
      widening = widening && !everywhere && Index(recursion.pieces()) < enough;
      if (widening) half_width *= 2;
      else if (recursion.exact() || half_width < kNarrowest * duration) return kSomewhere;
      else half_width /= kZoom;
    }
  }
  bool touches(const double* phi) const {
    for (Index i = 0; i < p_.n; ++i)
      if ((phi[i] <= lower_[i] && lower_[i] > p_.lower[i]) || (phi[i] >= upper_[i] && upper_[i] < p_.upper[i])) return true;
    return false;
  }
};

}  // namespace warp
}  // namespace sdtw
