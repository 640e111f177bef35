// The recursion of a warp, without a grid. V_i(u) is the least cost of the nodes up to i with phi_i = u:
//
//     W_{i+1}(u) = min_v V_i(v) + h_i(u - v),        V_{i+1} = W_{i+1} + (cost of node i + 1)
//
// All are piecewise quadratic, so all are kept exactly, as lists of pieces; each is convex but for kinks that bend
// down, which never are minimisers. Between two such kinks (a run) the minimum over v is a sum at equal slopes: where
// V_i and h_i have the slope p, W has it at the sum of their arguments. Runs overlap afterwards, and of two the right
// one, once better, stays better (h is convex: the Monge property), so one crossing is looked for. The result is the
// global minimum up to rounding.
#pragma once
#include "warp_problem.h"

namespace sdtw {
namespace warp {

// A piece of W, and where its minimum over v is attained: v = from + rate (u - at).
struct Image : Quadratic {
  double from, rate;
  Image from_here_on(double u) const {
    return {{u, value_at(u), slope_at(u), curvature}, from + rate * (u - at), rate};
  }
};

// h_j and its derivative as a monotone chain of elements in the plane (argument, slope): upright ones (kinks, and the
// bounds, where the slope may be anything), and links, which rise with the curvature k or, k = 0, lie flat.
class Penalty {
 public:
  struct Element {
    double from, to, low, high, curvature;  // arguments, slopes
    bool upright() const { return from == to; }
    bool flat() const { return low == high; }
  };

  // Arguments beyond [narrowest, widest] are of no interest.
  Penalty(const Problem& p, Index j, double narrowest, double widest) : p_(p), j_(j) {
    const double d = p.step(j), least = max(p.slope_lower[j] * d, narrowest);
    const double most = max(least, min(p.slope_upper[j] * d, widest));
    const double s = p.target * d, lam = p.reg[j], delta = p.reg_loss.delta;
    argument_ = least, slope_ = -kInfinity;
    if (lam == 0) link(most, 0, 0);
    else if (p.reg_loss.shape == kSquare) rising(least, most, s, 2 * lam / d);
    else if (p.reg_loss.shape == kAbsolute) link(min(s, most), -lam, 0), link(most, lam, 0);
    else {
      link(min(s - delta * d, most), -lam * delta, 0);
      rising(argument_, min(s + delta * d, most), s, lam / d);
      link(most, lam * delta, 0);
    }
    upright(kInfinity);
  }
  const Element* begin() const { return elements_; }
  double value(double argument) const { return p_.penalty(j_, argument); }

 private:
  const Problem& p_;
  Index j_;
  Element elements_[8];
  int count_ = 0;
  double argument_, slope_;  // the end of the chain so far

  void upright(double high) {
    elements_[count_++] = {argument_, argument_, slope_, high, kInfinity};
    slope_ = high;
  }
  void link(double to, double low, double curvature) {
    if (to <= argument_) return;
    if (low > slope_) upright(low);
    const double high = curvature > 0 ? low + curvature * (to - argument_) : low;
    elements_[count_++] = {argument_, to, low, high, curvature};
    argument_ = to, slope_ = high;
  }
  void rising(double from, double to, double s, double curvature) { link(to, curvature * (from - s), curvature); }
};

class Recursion {
 public:
  explicit Recursion(const Problem& p)
      : p_(p), values_(p.memory), costs_(p.memory), images_(p.memory), history_(p.memory), rows_(p.memory), rest_(p.memory) {}

  // OUT phi (n,), the best path within [lower, upper] (n,); false if there is none. Paths that must cost more than
  // `ceiling` need not be considered, and pieces that together are shorter than `grain` may be merged.
  template <class Nodes>
  SDTW_CALLED bool run(Nodes& nodes, const double* lower, const double* upper, double ceiling, double grain, double* phi) {
    rows_.assign(1, 0);
    history_.clear();
    merged_ = 0;
    prepare_rests();
    nodes.pieces(0, lower[0], upper[0], costs_);
    values_.assign(costs_.begin(), costs_.end());
    end_ = upper[0];
    for (Index i = 0; i + 1 < p_.n; ++i) {
      if (ceiling < kInfinity) prune(i, ceiling);
      minimise(Penalty(p_, i, lower[i + 1] - upper[i], upper[i + 1] - lower[i]));
      double from = max(lower[i + 1], images_.front().at), to = min(upper[i + 1], images_end_);
      if (from > to) {  // apart, or a single point missed by rounding
        if (from - to > 1e-12 * (upper[i + 1] - lower[0])) return false;
        from = to = min(max(to, lower[i + 1]), upper[i + 1]);
      }
      nodes.pieces(i + 1, from, to, costs_);
      add(from, to);
      if (exhausted(p_.memory)) return false;
      if (grain > 0) merge(grain);
    }
    phi[p_.n - 1] = best_end();
    for (Index i = p_.n - 1; i > 0; --i) {
      const Trace* first = history_.data() + rows_[i - 1];
      const Trace* last = history_.data() + rows_[i];
      const Trace* after = upper_bound(first, last, phi[i], [](double u, const Trace& trace) { return u < trace.at; });
      const Trace& trace = after > first ? after[-1] : *first;
      const double v = trace.rate > 0 ? trace.from + trace.rate * (phi[i] - trace.at) : trace.from;
      phi[i - 1] = min(max(v, lower[i - 1]), upper[i - 1]);
    }
    return true;
  }

  size_t pieces() const { return history_.size(); }
  bool exact() const { return merged_ == 0; }

 private:
  struct Trace {
    double at, from, rate;
  };
  const Problem& p_;
  Array<Quadratic> values_, costs_;  // V_i to end_; the cost of the next node
  Array<Image> images_;              // W_{i+1} to images_end_
  double end_ = 0, images_end_ = 0;
  size_t merged_ = 0;
  Array<Trace> history_;  // of all W, row after row
  Array<size_t> rows_;
  Array<double> rest_;  // (n,) sum of d_j / lam_j over the intervals from i on

  // ---- min over v

  // A position on V's graph in the plane (argument, slope), paired with that of h at the same slope.
  struct Cursor {
    const Penalty& penalty;
    const Penalty::Element* h;
    double w, slope;
    Cursor(const Penalty& penalty_, double slope_) : penalty(penalty_), h(penalty_.begin()), w(h->from), slope(slope_) {
      while (h->high < slope || (h->high == slope && !h->flat())) ++h;
      w = h->upright() || h->flat() || slope <= h->low ? h->from : h->from + (slope - h->low) / h->curvature;
    }
  };

  SDTW_CALLED void emit(const Cursor& cursor, double v, double value, double curvature, double rate, double length) {
    if (!(length > 0)) return;
    const double u = v + cursor.w;
    images_.push_back({{u, value + cursor.penalty.value(cursor.w), cursor.slope, curvature}, v, rate});
    images_end_ = u + length;
  }
  // h's flat links at the cursor's slope: v stays.
  void flats(Cursor& cursor, double v, double value) {
    for (; cursor.h->flat(); ++cursor.h, cursor.w = cursor.h->from)
      emit(cursor, v, value, 0, 0, cursor.h->to - cursor.w), cursor.w = cursor.h->to;
  }
  // V's slope rises to `high` at v: a kink, or an end of its domain.
  SDTW_CALLED void upright(Cursor& cursor, double v, double value, double high) {
    while (cursor.slope < high) {
      if (cursor.h->flat()) flats(cursor, v, value);
      const double next = min(high, cursor.h->high);
      if (!cursor.h->upright()) {
        const double length = next == cursor.h->high ? cursor.h->to - cursor.w : (next - cursor.slope) / cursor.h->curvature;
        emit(cursor, v, value, cursor.h->curvature, 0, length);
        cursor.w += length;
      }
      pass(cursor, next);
    }
  }
  // V's slope rises along a piece of it, from its start to the argument `to`.
  SDTW_CALLED void along(Cursor& cursor, const Quadratic& piece, double to) {
    const double high = piece.slope_at(to);
    if (!(high > cursor.slope)) {  // flat
      emit(cursor, piece.at, piece.value, 0, 1, to - piece.at);
      return;
    }
    double v = piece.at;
    while (cursor.slope < high) {
      if (cursor.h->flat()) flats(cursor, v, piece.value_at(v));
      const double next = min(high, cursor.h->high), k = cursor.h->curvature, c = piece.curvature;
      const double end = next == high ? to : min(to, piece.at + (next - piece.slope) / c);
      if (cursor.h->upright()) emit(cursor, v, piece.value_at(v), c, 1, end - v);
      else {
        const double length = next == cursor.h->high ? cursor.h->to - cursor.w : (next - cursor.slope) / k;
        emit(cursor, v, piece.value_at(v), c * k / (c + k), k / (c + k), end - v + length);
        cursor.w += length;
      }
      v = end;
      pass(cursor, next);
    }
  }
  static void pass(Cursor& cursor, double slope) {
    cursor.slope = slope;
    if (slope < cursor.h->high || slope == kInfinity) return;
    ++cursor.h;
    cursor.w = cursor.h->from;
  }

  SDTW_CALLED void minimise(const Penalty& penalty) {
    images_.clear();
    const size_t count = values_.size();
    for (size_t j = 0; j < count;) {
      const size_t first = images_.size();
      const double earlier_end = images_end_;
      Cursor cursor(penalty, j == 0 ? -kInfinity : values_[j].slope);
      if (j == 0) upright(cursor, values_[0].at, values_[0].value, values_[0].slope);
      for (bool convex = true; convex;) {
        const Quadratic& piece = values_[j];
        const bool last = ++j == count;
        const double to = last ? end_ : values_[j].at;
        along(cursor, piece, to);
        convex = !last && values_[j].slope >= cursor.slope;
        if (last) upright(cursor, to, piece.value_at(to), kInfinity);
        else if (convex) upright(cursor, to, values_[j].value, values_[j].slope);
        else flats(cursor, to, values_[j].value);
      }
      if (images_.size() == first) {  // a single point under a single slope
        if (first == 0) emit_point(penalty);
        continue;
      }
      if (first > 0) join(first, earlier_end);
    }
  }
  void emit_point(const Penalty& penalty) {
    const double w = penalty.begin()->from, v = values_[0].at;
    images_.push_back({{v + w, values_[0].value + penalty.value(w), 0, 0}, v, 0});
    images_end_ = v + w;
  }

  // images_[first ..] is another run, the ones before end at `earlier_end`: keep the lower of both where both are.
  SDTW_CALLED void join(size_t first, double earlier_end) {
    size_t e = first - 1, r = first;
    while (e > 0 && images_[e].at > images_[first].at) --e;
    const double stop = min(earlier_end, images_end_);
    double u = max(images_[e].at, images_[first].at), crossing = kInfinity;
    while (u <= stop) {
      const double next_e = e + 1 < first ? images_[e + 1].at : stop;
      const double next_r = r + 1 < images_.size() ? images_[r + 1].at : stop;
      const double next = min(min(next_e, next_r), stop);
      if (images_[e].value_at(next) > images_[r].value_at(next)) {
        crossing = u + first_crossing(images_[e], images_[r], u, next - u);
        break;
      }
      if (next >= stop) break;
      if (next_e <= next) ++e;
      else ++r;
      u = next;
    }
    if (crossing == kInfinity) {
      if (images_end_ <= earlier_end) {  // nowhere better
        images_.resize(first);
        images_end_ = earlier_end;
        return;
      }
      crossing = stop;
    }
    const Image start = images_[r].from_here_on(crossing);
    size_t kept = first;
    while (kept > 0 && images_[kept - 1].at >= crossing) --kept;
    images_[kept++] = start;
    images_.erase(images_.begin() + kept, images_.begin() + r + 1);
  }
  // Offset in [0, length] from u at which a - b, <= 0 at u, > 0 at u + length and rising, is 0.
  static double first_crossing(const Image& a, const Image& b, double u, double length) {
    const double value = a.value_at(u) - b.value_at(u);
    if (!(value < 0)) return 0;
    const double slope = a.slope_at(u) - b.slope_at(u), half = (a.curvature - b.curvature) / 2;
    const double root = sqrt(max(slope * slope - 4 * half * value, 0.0));
    const double offset = -2 * value / (slope + root);
    return offset >= 0 ? min(offset, length) : length;
  }

  // ---- V_{i+1} = W_{i+1} + cost of the node

  SDTW_CALLED void add(double from, double to) {
    values_.clear();
    size_t w = 0, c = 0;
    while (w + 1 < images_.size() && images_[w + 1].at <= from) ++w;
    history_.push_back(trace(w));
    for (double u = from;;) {
      const Image& image = images_[w];
      const Quadratic& cost = costs_[c];
      values_.push_back({u, image.value_at(u) + cost.value_at(u), image.slope_at(u) + cost.slope_at(u),
                         image.curvature + cost.curvature});
      const double next_w = w + 1 < images_.size() ? images_[w + 1].at : kInfinity;
      const double next_c = c + 1 < costs_.size() ? costs_[c + 1].at : kInfinity;
      const double next = min(next_w, next_c);
      if (!(next < to)) break;
      if (next <= u) values_.pop_back();  // an empty piece
      if (next_w <= next) history_.push_back(trace(++w));
      if (next_c <= next) ++c;
      u = max(u, next);
    }
    rows_.push_back(history_.size());
    end_ = to;
  }
  Trace trace(size_t w) const { return {images_[w].at, images_[w].from, images_[w].rate}; }

  double end_of(size_t j) const { return j + 1 < values_.size() ? values_[j + 1].at : end_; }
  static double lowest(const Quadratic& q, double to) {
    if (q.slope >= 0) return q.at;
    return q.curvature > 0 ? min(to, q.at - q.slope / q.curvature) : to;
  }
  double best_end() const {
    double best = kInfinity, u = values_[0].at;
    for (size_t j = 0; j < values_.size(); ++j) {
      const double candidate = lowest(values_[j], end_of(j)), value = values_[j].value_at(candidate);
      if (value < best) best = value, u = candidate;
    }
    return u;
  }

  // Pieces that one grain holds become one: convex, with the values of both ends.
  SDTW_CALLED void merge(double grain) {
    size_t kept = 0;
    for (size_t j = 0; j < values_.size();) {
      const size_t first = j;
      Quadratic piece = values_[first];
      for (++j; j < values_.size() && end_of(j) - piece.at < grain;) ++j;
      const double to = end_of(j - 1), length = to - piece.at;
      if (j > first + 1 && length > 0) {
        piece.curvature = max((values_[j - 1].slope_at(to) - piece.slope) / length, 0.0);
        piece.slope = (values_[j - 1].value_at(to) - piece.value) / length - piece.curvature * length / 2;
        merged_ += j - first - 1;
      }
      values_[kept++] = piece;
    }
    values_.resize(kept);
  }

  // ---- what cannot be on the best path

  void prepare_rests() {
    const bool square = p_.reg_loss.shape == kSquare;
    rest_.assign(p_.n, square ? 0 : kInfinity);
    for (Index j = p_.n - 2; square && j >= 0; --j) rest_[j] = rest_[j + 1] + p_.step(j) / p_.reg[j];
  }
  // The least that squared slopes cost from [from, to] in row i to the end, by Cauchy and Schwarz.
  double rest(Index i, double from, double to) const {
    const double drift = p_.target * (p_.t[p_.n - 1] - p_.t[i]);
    const double gap = max(max(p_.lower[p_.n - 1] - drift - to, from + drift - p_.upper[p_.n - 1]), 0.0);
    return gap > 0 ? gap * gap / rest_[i] : 0;
  }
  // Take away pieces at both ends that no path as cheap as `ceiling` passes.
  SDTW_CALLED void prune(Index i, double ceiling) {
    const auto hopeless = [&](size_t j) {
      const double to = end_of(j);
      return values_[j].value_at(lowest(values_[j], to)) + rest(i, values_[j].at, to) > ceiling;
    };
    size_t first = 0, after = values_.size();
    while (first < after && hopeless(first)) ++first;
    if (first == after) return;  // by rounding
    while (hopeless(after - 1)) --after;
    end_ = end_of(after - 1);
    values_.erase(values_.begin() + after, values_.end());
    values_.erase(values_.begin(), values_.begin() + first);
  }
};

}  // namespace warp
}  // namespace sdtw
