// Whether a warp is optimal, and how it moves with the problem.
//
// Optimality is a chain. With g_i in the subdifferential of node i's cost and p_j in that of interval j's, the
// condition for phi_i reads p_{i-1} + g_i = p_i (p = 0 beyond both ends): p_i is a running sum of the g, and there must
// be choices that stay within all the sets. A kink makes a set an interval, an active bound a half-line; sets of
// possible sums are intervals, too, so one sweep decides, however many constraints are active or redundant.
//
// Derivatives come from one adjoint solve. Nodes that an active row holds do not move, those that active slope rows
// join move together, and one tridiagonal positive semidefinite system is left for the blocks.
#pragma once
#include "warp_problem.h"

namespace sdtw {
namespace warp {

enum Held : signed char { kFree = 0, kKnot = 1, kRoot = 2, kAtLower = 3, kAtUpper = 4, kPinned = 5 };
enum Joined : signed char { kLoose = 0, kSlopeLower = 1, kSlopeUpper = 2, kSlopeTarget = 3 };

// On a device all lanes of a warp call its functions, and it lies where all of them see it.
class Optimality {
 public:
  explicit Optimality(const Problem& p)
      : p_(p), phi_(p.memory), nodes_(p.memory), intervals_(p.memory), held_(p.memory), joined_(p.memory), weak_(p.memory),
        loose_(p.memory), curvature_(p.memory), stiffness_(p.memory), blocks_(p.memory) {}

  // IN phi (n,); IN bound_lower, bound_upper (n,): the user's bounds of phi, not tightened by those of the slope.
  // What is closer to phi than `tolerance` holds it.
  SDTW_CALLED void examine(const double* phi, const double* bound_lower, const double* bound_upper, double tolerance) {
    if (Lanes::lead()) clear(tolerance);
    Lanes::meet();
    for (Index i = Lanes::first(); i < p_.n; i += Lanes::stride()) {
      phi_[i] = phi[i];
      snap(i, bound_lower[i], bound_upper[i]);
      describe_node(i, bound_lower[i], bound_upper[i]);
    }
    Lanes::meet();
    for (Index j = Lanes::first(); j + 1 < p_.n; j += Lanes::stride()) describe_interval(j);
    Lanes::meet();
    if (Lanes::lead()) sum_up();
    Lanes::meet();
    name_rows();
    Lanes::meet();
    if (Lanes::lead())
      while (!factor()) {}
    Lanes::meet();
  }

  // Multipliers: how fast the optimal value rises with the bound; at a kink, the derivative taken of those on its sides.
  double node_multiplier(Index i) const {
    const Set& s = nodes_[i];
    if (held_[i] == kFree) return 0;
    if (held_[i] == kKnot || held_[i] == kRoot) return s.chosen;
    return (held_[i] == kAtUpper || (held_[i] == kPinned && i > 0) ? s.left : s.right) - s.chosen;
  }
  double slope_multiplier(Index j) const {
    const Set& s = intervals_[j];
    if (joined_[j] == kLoose) return 0;
    if (joined_[j] == kSlopeTarget) return s.chosen;
    return ((joined_[j] == kSlopeLower ? s.right : s.left) - s.chosen) * p_.step(j);
  }
  double residual() const { return residual_; }
  double scale() const { return scale_; }
  double phi(Index i) const { return phi_[i]; }
  signed char held(Index i) const { return held_[i]; }
  signed char joined(Index j) const { return joined_[j]; }

  // IN cotangent (n,) of phi. OUT u (n,), nodes (n,), slopes (n - 1,): the solution of [H A'; A 0] [u; q] = [cotangent; 0],
  // q by the node or the slope that the active row belongs to; it is the derivative by the right-hand side of that row.
  // By one lane.
  void adjoint(const double* cotangent, double* u, double* nodes, double* slopes) const {
    solve(cotangent, u);
    for (Index i = 0; i < p_.n; ++i) {  // cotangent - H u
      const double before = i > 0 ? stiffness_[i - 1] * (u[i] - u[i - 1]) : 0;
      const double after = i + 1 < p_.n ? stiffness_[i] * (u[i + 1] - u[i]) : 0;
      nodes[i] = cotangent[i] - curvature_[i] * u[i] - before + after;
    }
    for (const Block& block : blocks_) {
      double sum = 0, q = 0;
      for (Index i = block.first; i <= block.last; ++i) sum += nodes[i];
      for (Index i = block.first; i <= block.last; ++i) {
        const double rest = nodes[i];
        nodes[i] = i == block.anchor ? sum : 0;
        q += nodes[i] - rest;
        if (i + 1 < p_.n) slopes[i] = i < block.last ? q : 0;
      }
    }
  }

  // phi after one step of Newton's method on the rows that are active, within the bounds.
  // By one lane. IN lower, upper (n,); OUT pull (n,) what is left of the forces, and phi (n,).
  void correct(const double* lower, const double* upper, double* pull, double* phi) const {
    for (Index i = 0; i < p_.n; ++i) pull[i] = 0;
    for (Index i = 0; i < p_.n; ++i) {
      pull[i] -= side_of(i) < 0 ? nodes_[i].left : nodes_[i].right;
      if (i + 1 < p_.n) pull[i] += intervals_[i].left, pull[i + 1] -= intervals_[i].left;
    }
    solve(pull, phi);
    for (Index i = 0; i < p_.n; ++i) phi[i] = min(max(phi_[i] + phi[i], lower[i]), upper[i]);
  }

  // Adds the derivatives of what the caller's u and q stand for: d/dtheta of -<u, gradient of the objective in phi>, and
  // the part of roots (rows r_c(phi_i) = 0). INOUT x (nx, channels), y (ny, channels), reg (n - 1,).
  void pull_back(const double* u, const double* q, double* x, double* y, double* reg) const {
    for (Index i = 0; i < p_.n; ++i) {
      const Residual r(p_, i, phi_[i], side_of(i));
      if (u[i] != 0) {
        const double wu = -p_.weight(i) * u[i];
        for (Index c = Lanes::first(); c < p_.channels; c += Lanes::stride()) {
          const double value = r.value(c);
          spread(r, c, wu * p_.loss.curvature(value) * r.slope(c), wu * p_.loss.slope(value, 0), x, y);
        }
      }
      if (held_[i] == kRoot && q[i] != 0)
        if (const Index c = root_channel(r); c >= 0 && mine(c)) spread(r, c, -q[i] / r.slope(c), 0, x, y);
    }
    for (Index j = Lanes::first(); j + 1 < p_.n; j += Lanes::stride())
      reg[j] -= (u[j + 1] - u[j]) * p_.reg_loss.slope(drift(j), 0);
  }
  // Adds the derivatives of the objective itself at fixed phi (envelope theorem), times `cotangent`.
  void pull_back_value(double cotangent, double* x, double* y, double* reg) const {
    for (Index i = 0; i < p_.n; ++i) {
      const Residual r(p_, i, phi_[i], side_of(i));
      const double w = p_.weight(i);
      const Index root = held_[i] == kRoot ? root_channel(r) : -1;
      for (Index c = Lanes::first(); c < p_.channels; c += Lanes::stride()) {
        double slope = w * p_.loss.slope(r.value(c), 0);
        if (c == root) slope = (nodes_[i].chosen - nodes_[i].right) / r.slope(c) + (r.slope(c) > 0 ? w : -w);
        spread(r, c, cotangent * slope, 0, x, y);
      }
    }
    for (Index j = Lanes::first(); j + 1 < p_.n; j += Lanes::stride())
      reg[j] += cotangent * p_.step(j) * p_.reg_loss.value(drift(j));
  }

 private:
  // A subdifferential: the derivatives on both sides, what may be chosen, what can be reached, what has been chosen.
  struct Set {
    double left, right, low, high, reach_low, reach_high, chosen;
    double left_curvature, right_curvature;
  };
  // Nodes that move together: the node that holds them or -1, and the row of the LDL' factors.
  struct Block {
    Index first, last, anchor;
    double before, after;  // stiffness towards the neighbours
    double resistance;     // of the blocks up to this one against a shift
    double pivot;          // infinite where the block does not move
    double share() const { return pivot == kInfinity ? 1 : resistance / pivot; }
  };
  const Problem& p_;
  double tolerance_ = 0;
  Array<double> phi_;
  Array<Set> nodes_, intervals_;
  Array<signed char> held_, joined_;
  Array<signed char> weak_, loose_;      // rows that would hold or join, were their multipliers not 0
  Array<double> curvature_, stiffness_;  // second derivatives: of the nodes' costs, of the intervals' costs
  Array<Block> blocks_;
  double residual_ = 0, scale_ = 0;

  double drift(Index j) const { return (phi_[j + 1] - phi_[j]) / p_.step(j) - p_.target; }
  static bool mine(Index c) { return c % Lanes::stride() == Lanes::first(); }
  bool near(double a, double b) const { return fabs(a - b) <= tolerance_; }

  void clear(double tolerance) {
    const size_t n = size_t(p_.n);
    tolerance_ = tolerance, residual_ = 0, scale_ = 0;
    phi_.assign(n, 0), curvature_.assign(n, 0), stiffness_.assign(n - 1, 0);
    nodes_.assign(n, Set()), intervals_.assign(n - 1, Set());
    held_.assign(n, kFree), weak_.assign(n, kFree), joined_.assign(n - 1, kLoose), loose_.assign(n - 1, kLoose);
    blocks_.reserve(n);
  }
  void snap(Index i, double lower, double upper) {
    double& u = phi_[i];
    const Place at = place(p_.tx, p_.nx, u, 0);
    if (near(u, lower)) u = lower;
    else if (near(u, upper)) u = upper;
    else if (at.length < kInfinity && near(u, p_.tx[at.k])) u = p_.tx[at.k];
    else if (at.length < kInfinity && near(u, p_.tx[at.k + 1])) u = p_.tx[at.k + 1];
  }
  void describe_node(Index i, double lower, double upper) {
    const Quadratic left = node_at(p_, i, phi_[i], -tolerance_), right = node_at(p_, i, phi_[i], tolerance_);
    Set& s = nodes_[i];
    s = {left.slope, right.slope, min(left.slope, right.slope), max(left.slope, right.slope), 0, 0, 0,
         left.curvature, right.curvature};
    const bool at_lower = near(phi_[i], lower), at_upper = near(phi_[i], upper);
    if (at_lower) s.low = -kInfinity, s.high = s.right;
    if (at_upper) s.high = kInfinity, s.low = at_lower ? -kInfinity : s.left;
    held_[i] = at_lower && at_upper ? kPinned : at_lower ? kAtLower : at_upper ? kAtUpper : kKnot;
  }
  SDTW_CALLED void describe_interval(Index j) {
    const double d = p_.step(j), rise = phi_[j + 1] - phi_[j], lam = p_.reg[j];
    const bool target = p_.reg_loss.shape == kAbsolute && near(rise, p_.target * d);
    const double excess = target ? 0 : drift(j), curvature = lam / d * p_.reg_loss.curvature(excess);
    Set& s = intervals_[j];
    s = {lam * p_.reg_loss.slope(excess, -1), lam * p_.reg_loss.slope(excess, 1), 0, 0, 0, 0, 0, curvature, curvature};
    s.low = s.left, s.high = s.right;
    const bool at_lower = near(rise, p_.slope_lower[j] * d), at_upper = near(rise, p_.slope_upper[j] * d);
    if (at_lower) s.low = -kInfinity;
    if (at_upper) s.high = kInfinity;
    joined_[j] = at_lower ? kSlopeLower : at_upper ? kSlopeUpper : kSlopeTarget;
  }

  // The chain: sums that can be reached from the left, then choices from the right. The scale of the forces is that of
  // the largest one, chosen or on a side, but not below a millionth of what would move phi from one end to the other.
  SDTW_CALLED void sum_up() {
    const double least_move = 1e-6 * p_.tx[p_.nx - 1];
    for (const Set& s : nodes_)
      scale_ = max(max(scale_, least_move * s.right_curvature), max(fabs(s.left), fabs(s.right)));
    for (Index j = 0; j + 1 < p_.n; ++j) scale_ = max(scale_, least_move * intervals_[j].right_curvature);
    double low = 0, high = 0;
    for (Index i = 0; i < p_.n; ++i) {
      low += nodes_[i].low, high += nodes_[i].high;
      const double least = i + 1 < p_.n ? intervals_[i].low : 0, most = i + 1 < p_.n ? intervals_[i].high : 0;
      residual_ = max(residual_, max(low - most, least - high));
      low = min(max(low, least), most), high = max(min(high, most), least);
      if (i + 1 < p_.n) intervals_[i].reach_low = low, intervals_[i].reach_high = high;
    }
    double sum = 0;
    for (Index i = p_.n - 1; i >= 0; --i) {
      Set& node = nodes_[i];
      double before = 0;
      if (i > 0) {
        Set& interval = intervals_[i - 1];
        const double low_here = max(interval.reach_low, sum - node.high);
        const double high_here = min(interval.reach_high, sum - node.low);
        const double preferred = joined_[i - 1] == kSlopeLower ? interval.right : interval.left;
        before = min(max(preferred, min(low_here, high_here)), max(low_here, high_here));
        interval.chosen = before;
        scale_ = max(scale_, fabs(before));
      }
      node.chosen = sum - before;
      scale_ = max(scale_, fabs(node.chosen));
      sum = before;
    }
  }

  // Rows whose multiplier vanishes are active by chance alone: they hold nothing that anything else does.
  SDTW_CALLED void name_rows() {
    const double least = 1e-9 * scale_;
    for (Index i = Lanes::first(); i < p_.n; i += Lanes::stride()) {
      const Set& s = nodes_[i];
      if (held_[i] == kKnot && fabs(s.left - s.right) <= least) held_[i] = kFree;
      if (held_[i] == kKnot && held_by_root(i)) held_[i] = kRoot;
      const double above = s.chosen - min(s.left, s.right), below = max(s.left, s.right) - s.chosen;
      const bool vanishes = held_[i] == kAtLower   ? s.right - s.chosen <= least
                            : held_[i] == kAtUpper ? s.chosen - s.left <= least
                                                   : held_[i] != kPinned && min(above, below) <= least;
      if (vanishes) weak_[i] = held_[i], held_[i] = kFree;
      curvature_[i] = side_of(i) < 0 ? s.left_curvature : s.right_curvature;
    }
    for (Index j = Lanes::first(); j + 1 < p_.n; j += Lanes::stride()) {
      const Set& s = intervals_[j];
      const bool loose = joined_[j] == kSlopeLower   ? s.right - s.chosen <= least
                         : joined_[j] == kSlopeUpper ? s.chosen - s.left <= least
                                                     : s.chosen - s.left <= least || s.right - s.chosen <= least;
      const bool smooth = joined_[j] == kSlopeTarget && s.right - s.left <= least;
      if (!loose) continue;
      if (!smooth) loose_[j] = joined_[j];
      joined_[j] = kLoose;
    }
  }
  // Whether it is a root that holds the node; where a knot lies there, too: whether it does so to whichever side of the
  // knot the root may move.
  bool held_by_root(Index i) const {
    const double below = node_at(p_, i, phi_[i], -tolerance_, -1).slope;
    const double above = node_at(p_, i, phi_[i], tolerance_, -1).slope;
    return nodes_[i].chosen > above && nodes_[i].chosen < below;
  }
  double side_of(Index i) const {
    const Set& s = nodes_[i];
    return fabs(s.chosen - s.left) < fabs(s.chosen - s.right) ? -tolerance_ : tolerance_;
  }

  // ---- blocks of joined nodes

  Index block_end(Index first) const {
    while (first + 1 < p_.n && joined_[first] != kLoose) ++first;
    return first;
  }
  // The node that holds a block, -1 if none does; where several do, a bound goes before a knot.
  static Index anchor_of(const Array<signed char>& rows, Index first, Index last) {
    Index anchor = -1;
    for (Index i = first; i <= last; ++i)
      if (rows[i] != kFree && (anchor < 0 || rows[i] > rows[anchor])) anchor = i;
    return anchor;
  }
  // LDL' of the blocks. A pivot that vanishes belongs to a direction in which nothing resists: a row with a vanishing
  // multiplier takes hold of it, if there is one (false: the blocks are others then), and else it stays.
  SDTW_CALLED bool factor() {
    blocks_.clear();
    double largest = 0;
    for (double curvature : curvature_) largest = max(largest, curvature);
    for (Index j = 0; j + 1 < p_.n; ++j) {
      stiffness_[j] = joined_[j] == kLoose ? intervals_[j].left_curvature : 0;
      largest = max(largest, stiffness_[j]);
    }
    for (Index first = 0; first < p_.n; first = blocks_.back().last + 1) {
      const Index last = block_end(first);
      Block block = {first, last, anchor_of(held_, first, last), 0, 0, 0, kInfinity};
      if (first > 0) block.before = stiffness_[first - 1];
      if (last + 1 < p_.n) block.after = stiffness_[last];
      if (block.anchor < 0) {
        // Not the diagonal less before^2 / pivot: what resists is a sum of terms >= 0, so that nothing cancels.
        block.resistance = first > 0 ? block.before * blocks_.back().share() : 0;
        for (Index i = first; i <= last; ++i) block.resistance += curvature_[i];
        const double pivot = block.resistance + block.after;
        if (pivot > 1e-20 * largest) block.pivot = pivot;
        else if ((block.anchor = anchor_of(weak_, first, last)) >= 0) held_[block.anchor] = weak_[block.anchor];
        else if (first > 0 && loose_[first - 1] != kLoose) return swap(joined_[first - 1], loose_[first - 1]), false;
        else if (last + 1 < p_.n && loose_[last] != kLoose) return swap(joined_[last], loose_[last]), false;
      }
      blocks_.push_back(block);
    }
    return true;
  }
  // OUT u (n,), which in between holds what has been eliminated, at the first node of each block.
  SDTW_CALLED void solve(const double* right_side, double* u) const {
    double before = 0;
    for (size_t b = 0; b < blocks_.size(); ++b) {
      const Block& block = blocks_[b];
      double value = 0;
      if (block.pivot != kInfinity) {
        for (Index i = block.first; i <= block.last; ++i) value += right_side[i];
        if (b > 0) value += block.before / blocks_[b - 1].pivot * before;
      }
      u[block.first] = before = value;
    }
    double next = 0;
    for (size_t b = blocks_.size(); b-- > 0;) {
      const Block& block = blocks_[b];
      next = (u[block.first] + block.after * next) / block.pivot;
      for (Index i = block.first; i <= block.last; ++i) u[i] = next;
    }
  }

  // ---- derivatives of r_c = x_c(u) - y_c and of its slope in u, by the samples

  // A derivative `by_value` of r_c and `by_slope` of its slope, onto the samples around.
  void spread(const Residual& r, Index c, double by_value, double by_slope, double* x, double* y) const {
    add(r.at_x, r.x, c, p_.channels, by_value, by_slope, x);
    add(r.at_y, r.y, c, p_.channels, -by_value, p_.symmetric ? by_slope : 0, y);
  }
  static void add(const Place& at, const Reading& reading, Index c, Index channels, double by_value, double by_slope,
                  double* out) {
    double* low = out + at.k * channels + c;
    *low += (1 - at.a) * by_value - reading.inverse * by_slope;
    if (at.length < kInfinity) low[channels] += at.a * by_value + reading.inverse * by_slope;
  }
  // The channel that has a root here, of several the steepest; -1 if the kink is another one.
  Index root_channel(const Residual& r) const {
    Index best = -1;
    double steepest = 0;
    for (Index c = 0; p_.loss.shape == kAbsolute && c < p_.channels; ++c)
      if (r.root(c, 16 * tolerance_) && fabs(r.slope(c)) > steepest) steepest = fabs(r.slope(c)), best = c;
    return best;
  }
};

}  // namespace warp
}  // namespace sdtw
