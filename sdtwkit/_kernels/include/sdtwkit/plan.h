// What all packs of a request share: typed pointers, the operator's constants, which variant of
// the loops is needed, and how large the parts of the work are.
#pragma once
#include "buffer.h"
#include "level.h"
#include "request.h"
#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <vector>

namespace sdtw {

template <class T> struct FieldBuffer {
  Buffer<T> value, tangent;
  Buffer<typename Real<T>::Exponent> exponent;
  Field<T> reserve(Index n, bool with_tangent) {
    return {value.reserve(n), exponent.reserve(n), with_tangent ? tangent.reserve(n) : nullptr};
  }
};

template <class T> struct Plan {
  const Request& request;
  const Loops<T>& loops;
  OperatorParameters<T> op;
  int op_kind, variant;
  bool tangents, first_order, paths;  // what is wanted beyond the value
  double scale = 0;                   // the largest |cost|
  double gamma;                       // the smoothing that the exponents of scaled states are in units of
  Status status = kDone;
  mutable std::atomic<bool> stop{false};

  explicit Plan(const Request& r) : request(r), loops(sdtw::loops<T>(r.level)) {
    tangents = r.direction.data || r.along_costs;
    paths = r.samples >= 0;
    first_order = r.gradient.data || r.x.gradient || r.y.gradient || r.product.data;
    scale = largest_cost();
    const double heaviest = std::max({1., r.weights[0], r.weights[1], r.weights[2]});
    const double reach = scale * heaviest * double(longest_path_);
    const double largest = sizeof(T) == 4 ? 1e37 : 1e307;
    op_kind = r.op;
    gamma = r.gamma;
    if (!(reach < largest)) status = sizeof(T) == 4 ? kNeedsDouble : kOverflow;
    if (sizeof(T) == 4 && !(gamma > 1e-30 && gamma < 1e30)) status = kNeedsDouble;
    if (op_kind == kEntropy && status == kDone) {
      gamma = std::max({gamma, reach * 1e-280, 1e-280});  // smaller ones change no digit of any result
      const double log2e = 1.4426950408889634, log2e_low = 2.0355273740931033e-17;
      const double rate = -log2e / gamma;
      const double rate_low = -(std::fma(rate, gamma, log2e) + log2e_low) / gamma;
      if (!(reach * -rate < Real<T>::exponent_limit && scale * heaviest * -rate < Real<T>::magic / 4)) {
        if (sizeof(T) == 4) status = kNeedsDouble;
        op_kind = kEntropyFar;
      }
      op.rate = T(rate);
      op.rate_low = sizeof(T) == 4 ? T(rate - double(op.rate)) : T(rate_low);
    } else {
      op.rate = op.rate_low = T(0);
    }
    op.gamma = T(gamma);
    op.inverse_gamma = T(1 / gamma);
    const bool weighted = r.weights[0] != 1 || r.weights[1] != 1 || r.weights[2] != 1;
    const bool masked = r.radius >= 0 || r.mask.data || forbidden_cells_;
    variant = weighted ? kWeighted : masked ? kMasked : kPlain;
  }

  Index n(Index pair) const { return Index(request.x.length[request.x.index ? request.x.index[pair] : pair]); }
  Index m(Index pair) const { return Index(request.y.length[request.y.index ? request.y.index[pair] : pair]); }
  bool scaled() const { return op_kind == kEntropy || op_kind == kEntropyFar; }

  // Called between blocks of work; only the calling thread polls for Ctrl-C.
  bool stopped(bool calling_thread, Index& countdown, Index cells) const {
    if (calling_thread && (countdown -= cells) < 0) {
      countdown = 20000000;  // some tens of milliseconds
      if (request.interrupted && request.interrupted()) stop.store(true);
    }
    return stop.load(std::memory_order_relaxed);
  }

 private:
  Index longest_path_ = 1;
  bool forbidden_cells_ = false;

  double largest_cost() {
    const Request& r = request;
    double low = Real<double>::infinity(), high = -low, given = 0;
    const auto scan = [&](const SeriesArray& s, Index b) {
      const Index k = s.index ? Index(s.index[b]) : b, size = Index(s.length[k]) * r.channels;
      const T* p = static_cast<const T*>(s.data) + s.start[k] * r.channels;
      T lo[kLanes], hi[kLanes];  // as many running extremes as lanes, so that the loop vectorises
      std::fill_n(lo, kLanes, p[0]), std::fill_n(hi, kLanes, p[0]);
      Index q = 0;
      for (; q + kLanes <= size; q += kLanes)
        for (Index l = 0; l < kLanes; ++l) lo[l] = min2(lo[l], p[q + l]), hi[l] = max2(hi[l], p[q + l]);
      for (; q < size; ++q) lo[0] = min2(lo[0], p[q]), hi[0] = max2(hi[0], p[q]);
      low = std::min(low, double(*std::min_element(lo, lo + kLanes)));
      high = std::max(high, double(*std::max_element(hi, hi + kLanes)));
    };
    std::int64_t last_x = -1, last_y = -1;
    std::vector<bool> seen_x, seen_y;
    for (Index b = 0; b < r.pairs; ++b) {
      longest_path_ = std::max(longest_path_, n(b) + m(b));
      if (r.x.data) {
        // Series of a matrix of pairs come up many times: scan each once.
        const auto once = [&](const SeriesArray& s, std::vector<bool>& seen, std::int64_t& last) {
          if (!s.index) return scan(s, b);
          const std::int64_t k = s.index[b];
          if (k == last) return;
          last = k;
          if (Index(seen.size()) <= k) seen.resize(std::size_t(k) + 1);
          if (!seen[std::size_t(k)]) scan(s, b);
          seen[std::size_t(k)] = true;
        };
        once(r.x, seen_x, last_x);
        once(r.y, seen_y, last_y);
      }
      if (r.given.data && (b == 0 || r.given.pair_stride)) given = std::max(given, scan_matrix(b));
    }
    return given + series_bound(low, high);
  }
  double scan_matrix(Index b) {
    const T* base = static_cast<const T*>(request.given.data) + b * request.given.pair_stride;
    const bool shared = request.given.pair_stride == 0;
    Index rows = n(b), columns = m(b);
    if (shared)
      for (Index k = 0; k < request.pairs; ++k) rows = std::max(rows, n(k)), columns = std::max(columns, m(k));
    T largest = 0;
    int forbidden = 0;
    for (Index i = 0; i < rows; ++i) {
      const T* row = base + i * request.given.row_stride;
      for (Index j = 0; j < columns; ++j) {
        const T c = row[j] < 0 ? -row[j] : row[j];
        const bool finite = c < Real<T>::infinity();
        forbidden |= !finite;
        largest = finite && c > largest ? c : largest;
      }
    }
    forbidden_cells_ = forbidden_cells_ || forbidden;
    return largest;
  }
  double series_bound(double low, double high) const {
    if (!request.x.data) return 0;
    const double d = double(request.channels), range = high - low, delta = request.cost_parameter;
    const double size = std::max(std::fabs(low), std::fabs(high));
    switch (request.cost) {
      case kSquaredEuclidean: case kHalfSquaredEuclidean: return d * range * range;
      case kEuclidean: return d * range * range < (sizeof(T) == 4 ? 1e37 : 1e307) ? std::sqrt(d) * range : HUGE_VAL;
      case kManhattan: return d * range;
      case kHuber: return d * std::min(delta, range) * range;
      case kNegativeDot: return d * size * size;
      default: return 0;
    }
  }
};

}  // namespace sdtw
