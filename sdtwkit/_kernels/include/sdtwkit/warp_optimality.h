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

class Optimality {
 public:
  // IN phi (n,); IN bound_lower, bound_upper (n,): the user's bounds of phi, not tightened by those of the slope.
  // What is closer to phi than `tolerance` holds it.
  Optimality(const Problem& p, const double* phi, const double* bound_lower, const double* bound_upper, double tolerance)
      : p_(p), tolerance_(tolerance), phi_(phi, phi + p.n), nodes_(p.n), intervals_(p.n - 1), held_(p.n), joined_(p.n - 1),
        weak_(p.n), loose_(p.n - 1), curvature_(p.n), stiffness_(p.n - 1) {
    for (Index i = 0; i < p.n; ++i) snap(i, bound_lower[i], bound_upper[i]);
    for (Index i = 0; i < p.n; ++i) describe_node(i, bound_lower[i], bound_upper[i]);
    for (Index j = 0; j + 1 < p.n; ++j) describe_interval(j);
    sum_up();
    name_rows();
    while (!factor()) {}
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
  const std::vector<double>& phi() const { return phi_; }
  const std::vector<signed char>& held() const { return held_; }
  const std::vector<signed char>& joined() const { return joined_; }

  // IN cotangent (n,) of phi. OUT u (n,), nodes (n,), slopes (n - 1,): the solution of [H A'; A 0] [u; q] = [cotangent; 0],
  // q by the node or the slope that the active row belongs to; it is the derivative by the right-hand side of that row.
  void adjoint(const double* cotangent, double* u, double* nodes, double* slopes) const {
    solve(cotangent, u);
    std::vector<double> rest(p_.n);  // cotangent - H u
    for (Index i = 0; i < p_.n; ++i) {
      const double before = i > 0 ? stiffness_[i - 1] * (u[i] - u[i - 1]) : 0;
      const double after = i + 1 < p_.n ? stiffness_[i] * (u[i + 1] - u[i]) : 0;
      rest[i] = cotangent[i] - curvature_[i] * u[i] - before + after;
      nodes[i] = 0;
    }
    for (const Block& block : blocks_) {
      double sum = 0, q = 0;
      for (Index i = block.first; i <= block.last; ++i) sum += rest[i];
      if (block.anchor >= 0) nodes[block.anchor] = sum;
      for (Index i = block.first; i <= block.last; ++i) {
        q += nodes[i] - rest[i];
        if (i + 1 < p_.n) slopes[i] = i < block.last ? q : 0;
      }
    }
  }

  // phi after one step of Newton's method on the rows that are active, within the bounds.
  std::vector<double> corrected(const double* lower, const double* upper) const {
    std::vector<double> pull(p_.n), u(p_.n), phi(phi_);
    for (Index i = 0; i < p_.n; ++i) {
      pull[i] -= side_of(i) < 0 ? nodes_[i].left : nodes_[i].right;
      if (i + 1 < p_.n) pull[i] += intervals_[i].left, pull[i + 1] -= intervals_[i].left;
    }
    solve(pull.data(), u.data());
    for (Index i = 0; i < p_.n; ++i) phi[i] = std::min(std::max(phi[i] + u[i], lower[i]), upper[i]);
    return phi;
  }

  // Adds the derivatives of what the caller's u and q stand for: d/dtheta of -<u, gradient of the objective in phi>, and
  // the part of roots (rows r_c(phi_i) = 0). INOUT x (nx, channels), y (ny, channels), reg (n - 1,).
  void pull_back(const double* u, const double* q, double* x, double* y, double* reg) const {
    for (Index i = 0; i < p_.n; ++i) {
      const Residual r(p_, i, phi_[i], side_of(i));
      if (u[i] != 0) {
        const double wu = -p_.weight(i) * u[i];
        for (Index c = 0; c < p_.channels; ++c) {
          const double value = r.value(c);
          spread(r, c, wu * p_.loss.curvature(value) * r.slope(c), wu * p_.loss.slope(value, 0), x, y);
        }
      }
      if (held_[i] == kRoot && q[i] != 0)
        if (const Index c = root_channel(r); c >= 0) spread(r, c, -q[i] / r.slope(c), 0, x, y);
    }
    for (Index j = 0; j + 1 < p_.n; ++j) reg[j] -= (u[j + 1] - u[j]) * p_.reg_loss.slope(drift(j), 0);
  }
  // Adds the derivatives of the objective itself at fixed phi (envelope theorem), times `cotangent`.
  void pull_back_value(double cotangent, double* x, double* y, double* reg) const {
    for (Index i = 0; i < p_.n; ++i) {
      const Residual r(p_, i, phi_[i], side_of(i));
      const double w = p_.weight(i);
      const Index root = held_[i] == kRoot ? root_channel(r) : -1;
      for (Index c = 0; c < p_.channels; ++c) {
        double slope = w * p_.loss.slope(r.value(c), 0);
        if (c == root) slope = (nodes_[i].chosen - nodes_[i].right) / r.slope(c) + (r.slope(c) > 0 ? w : -w);
        spread(r, c, cotangent * slope, 0, x, y);
      }
    }
    for (Index j = 0; j + 1 < p_.n; ++j) reg[j] += cotangent * p_.step(j) * p_.reg_loss.value(drift(j));
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
  double tolerance_;
  std::vector<double> phi_;
  std::vector<Set> nodes_, intervals_;
  std::vector<signed char> held_, joined_;
  std::vector<signed char> weak_, loose_;      // rows that would hold or join, were their multipliers not 0
  std::vector<double> curvature_, stiffness_;  // second derivatives: of the nodes' costs, of the intervals' costs
  std::vector<Block> blocks_;
  double residual_ = 0, scale_ = 0;

  double drift(Index j) const { return (phi_[j + 1] - phi_[j]) / p_.step(j) - p_.target; }
  bool near(double a, double b) const { return std::fabs(a - b) <= tolerance_; }

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
    s = {left.slope, right.slope, std::min(left.slope, right.slope), std::max(left.slope, right.slope), 0, 0, 0,
         left.curvature, right.curvature};
    const bool at_lower = near(phi_[i], lower), at_upper = near(phi_[i], upper);
    if (at_lower) s.low = -kInfinity, s.high = s.right;
    if (at_upper) s.high = kInfinity, s.low = at_lower ? -kInfinity : s.left;
    held_[i] = at_lower && at_upper ? kPinned : at_lower ? kAtLower : at_upper ? kAtUpper : kKnot;
  }
  void describe_interval(Index j) {
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
  void sum_up() {
    const double least_move = 1e-6 * p_.tx[p_.nx - 1];
    for (const Set& s : nodes_)
      scale_ = std::max({scale_, least_move * s.right_curvature, std::fabs(s.left), std::fabs(s.right)});
    for (Index j = 0; j + 1 < p_.n; ++j) scale_ = std::max(scale_, least_move * intervals_[j].right_curvature);
    double low = 0, high = 0;
    for (Index i = 0; i < p_.n; ++i) {
      low += nodes_[i].low, high += nodes_[i].high;
      const double least = i + 1 < p_.n ? intervals_[i].low : 0, most = i + 1 < p_.n ? intervals_[i].high : 0;
      residual_ = std::max(residual_, std::max(low - most, least - high));
      low = std::min(std::max(low, least), most), high = std::max(std::min(high, most), least);
      if (i + 1 < p_.n) intervals_[i].reach_low = low, intervals_[i].reach_high = high;
    }
    double sum = 0;
    for (Index i = p_.n - 1; i >= 0; --i) {
      Set& node = nodes_[i];
      double before = 0;
      if (i > 0) {
        Set& interval = intervals_[i - 1];
        const double low_here = std::max(interval.reach_low, sum - node.high);
        const double high_here = std::min(interval.reach_high, sum - node.low);
        const double preferred = joined_[i - 1] == kSlopeLower ? interval.right : interval.left;
        before = std::min(std::max(preferred, std::min(low_here, high_here)), std::max(low_here, high_here));
        interval.chosen = before;
        scale_ = std::max(scale_, std::fabs(before));
      }
      node.chosen = sum - before;
      scale_ = std::max(scale_, std::fabs(node.chosen));
      sum = before;
    }
  }

  // Rows whose multiplier vanishes are active by chance alone: they hold nothing that anything else does.
  void name_rows() {
    const double least = 1e-9 * scale_;
    for (Index i = 0; i < p_.n; ++i) {
      const Set& s = nodes_[i];
      if (held_[i] == kKnot && std::fabs(s.left - s.right) <= least) held_[i] = kFree;
      if (held_[i] == kKnot && held_by_root(i)) held_[i] = kRoot;
      const double above = s.chosen - std::min(s.left, s.right), below = std::max(s.left, s.right) - s.chosen;
      const bool vanishes = held_[i] == kAtLower   ? s.right - s.chosen <= least
                            : held_[i] == kAtUpper ? s.chosen - s.left <= least
                                                   : held_[i] != kPinned && std::min(above, below) <= least;
      if (vanishes) weak_[i] = held_[i], held_[i] = kFree;
      curvature_[i] = side_of(i) < 0 ? s.left_curvature : s.right_curvature;
    }
    for (Index j = 0; j + 1 < p_.n; ++j) {
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
    const double u = phi_[i], below = node_at(p_, i, u, -tolerance_, -1).slope, above = node_at(p_, i, u, tolerance_, -1).slope;
    return nodes_[i].chosen > above && nodes_[i].chosen < below;
  }
  double side_of(Index i) const {
    const Set& s = nodes_[i];
    return std::fabs(s.chosen - s.left) < std::fabs(s.chosen - s.right) ? -tolerance_ : tolerance_;
  }

  // ---- blocks of joined nodes

  Index block_end(Index first) const {
    while (first + 1 < p_.n && joined_[first] != kLoose) ++first;
    return first;
  }
  // The node that holds a block, -1 if none does; where several do, a bound goes before a knot.
  static Index anchor_of(const std::vector<signed char>& rows, Index first, Index last) {
    Index anchor = -1;
    for (Index i = first; i <= last; ++i)
      if (rows[i] != kFree && (anchor < 0 || rows[i] > rows[anchor])) anchor = i;
    return anchor;
  }
  // LDL' of the blocks. A pivot that vanishes belongs to a direction in which nothing resists: a row with a vanishing
  // multiplier takes hold of it, if there is one (false: the blocks are others then), and else it stays.
  bool factor() {
    blocks_.clear();
    double largest = 0;
    for (double curvature : curvature_) largest = std::max(largest, curvature);
    for (Index j = 0; j + 1 < p_.n; ++j) {
      stiffness_[j] = joined_[j] == kLoose ? intervals_[j].left_curvature : 0;
      largest = std::max(largest, stiffness_[j]);
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
        else if (first > 0 && loose_[first - 1] != kLoose) return std::swap(joined_[first - 1], loose_[first - 1]), false;
        else if (last + 1 < p_.n && loose_[last] != kLoose) return std::swap(joined_[last], loose_[last]), false;
      }
      blocks_.push_back(block);
    }
    return true;
  }
  void solve(const double* right_side, double* u) const {
    std::vector<double> values(blocks_.size());
    for (std::size_t b = 0; b < blocks_.size(); ++b) {
      const Block& block = blocks_[b];
      if (block.pivot == kInfinity) continue;
      for (Index i = block.first; i <= block.last; ++i) values[b] += right_side[i];
      if (b > 0) values[b] += block.before / blocks_[b - 1].pivot * values[b - 1];
    }
    double next = 0;
    for (std::size_t b = blocks_.size(); b-- > 0;) {
      const Block& block = blocks_[b];
      next = (values[b] + block.after * next) / block.pivot;
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
      if (r.root(c, 16 * tolerance_) && std::fabs(r.slope(c)) > steepest) steepest = std::fabs(r.slope(c)), best = c;
    return best;
  }
};

}  // namespace warp
}  // namespace sdtw
