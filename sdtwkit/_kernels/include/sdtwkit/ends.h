// The end set of a pack: which cells end a path, the states found there, the value over them and
// its derivative with respect to each (math-alignment page, section 3: value, GE and GEd).
#pragma once
#include "pack.h"
#include "smooth.h"

namespace sdtw {

template <class T> class Ends {
 public:
  Field<T> states;                 // one slot for each end cell, pair after pair
  Index base[kPack + 1];           // first slot of each pair, and the end
  Buffer<T> seed, seed_tangent;    // GE and its derivative

  void assign(const Pack<T>& pack) {
    const int open = pack.plan.request.open_end;
    base[0] = 0;
    for (Index p = 0; p < pack.P; ++p) {
      const Index row = open & 1 ? pack.m[p] : 0, column = open & 2 ? pack.n[p] - (open & 1) : 0;
      base[p + 1] = base[p] + (open ? row + column : 1);
    }
    const Index slots = base[pack.P];
    states = buffer_.reserve(slots, pack.plan.tangents);
    for (Index k = 0; k < slots; ++k) {
      states.value[k] = pack.plan.scaled() ? T(0) : Real<T>::infinity();
      states.exponent[k] = Real<T>::lowest_exponent();
      if (states.tangent) states.tangent[k] = T(0);
    }
    seed.filled(slots, T(0));
    if (pack.plan.tangents) seed_tangent.filled(slots, T(0));
  }

  // The end cells of one strip, in steps and lanes of the strip.
  void taps_of(const Pack<T>& pack, const Strip& s, std::vector<Tap>& taps) const {
    const int open = pack.plan.request.open_end;
    taps.clear();
    for (Index p = 0; p < pack.P; ++p) {
      const Index row = pack.n[p] - 1 - s.first_row, corner = pack.m[p] - 1 - s.first_column;
      const bool has_row = row >= 0 && row < s.rows, has_column = corner >= 0 && corner < s.columns;
      const Index lane = row * pack.P + p;
      if (!open && has_row && has_column) taps.push_back({row + corner, row + corner, lane, 0, base[p], false});
      if ((open & 1) && has_row && corner >= 0)
        taps.push_back({row, row + std::min(corner, s.columns - 1), lane, 0, base[p] + s.first_column, false});
      if ((open & 2) && has_column) {
        const Index rows = std::min(s.rows, pack.n[p] - (open & 1) - s.first_row);
        const Index slot = base[p] + (open & 1 ? pack.m[p] : 0) + s.first_row;
        if (rows > 0) taps.push_back({corner, corner + rows - 1, p, pack.P, slot, true});
      }
    }
  }

  // Values of the pairs; fills the seeds.
  void close(const Pack<T>& pack, double* value, double* slope) {
    const Plan<T>& plan = pack.plan;
    for (Index p = 0; p < pack.P; ++p) {
      const Index first = base[p], count = base[p + 1] - first;
      value[p] = value_of(plan, first, count);
      if (!plan.tangents) continue;
      weights_.assign(std::size_t(count), 0);
      moves_.resize(std::size_t(count));
      double moved = 0;
      for (Index k = 0; k < count; ++k) {
        moves_[std::size_t(k)] = states.tangent[first + k];
        if (seed.get()[first + k] > 0) moved += double(seed.get()[first + k]) * moves_[std::size_t(k)];
      }
      slope[p] = moved;
      if (plan.request.open_end == 0) continue;
      smooth_min_curve(plan.op_kind, plan.gamma, seed.get() + first, moves_.data(), count, weights_.data(), Alone());
      for (Index k = 0; k < count; ++k) seed_tangent.get()[first + k] = T(weights_[std::size_t(k)]);
    }
  }

  // The cell of a slot of pair p.
  void cell_of(const Pack<T>& pack, Index p, Index slot, Index& i, Index& j) const {
    const int open = pack.plan.request.open_end;
    const Index k = slot - base[p];
    i = pack.n[p] - 1, j = pack.m[p] - 1;
    if ((open & 1) && k < pack.m[p]) j = k;
    else if (open) i = k - (open & 1 ? pack.m[p] : 0);
  }

 private:
  FieldBuffer<T> buffer_;
  std::vector<double> weights_, moves_;

  double value_of(const Plan<T>& plan, Index first, Index count) {
    const double infinity = Real<double>::infinity(), gamma = plan.gamma;
    T* q = seed.get() + first;
    if (plan.scaled()) {  // the sum of the scaled numbers, over their largest exponent
      double top = -infinity, total = 0;
      for (Index k = 0; k < count; ++k)
        if (states.value[first + k] > 0) top = std::max(top, double(states.exponent[first + k]));
      if (!(top > -infinity)) return infinity;
      weights_.assign(std::size_t(count), 0);
      for (Index k = 0; k < count; ++k)
        if (states.value[first + k] > 0)
          total += weights_[std::size_t(k)] = double(states.value[first + k]) *
                                              std::exp2(double(states.exponent[first + k]) - top);
      for (Index k = 0; k < count; ++k) q[k] = T(weights_[std::size_t(k)] / total);
      return -gamma * (std::log(total) + top * 0.69314718055994530942);
    }
    if (plan.request.open_end == 0) {  // a closed end applies no operator
      if (states.value[first] < Real<T>::infinity()) q[0] = T(1);
      return double(states.value[first]);
    }
    moves_.resize(std::size_t(count));
    weights_.assign(std::size_t(count), 0);
    for (Index k = 0; k < count; ++k) moves_[std::size_t(k)] = double(states.value[first + k]);
    const double value = smooth_min(plan.op_kind, gamma, moves_.data(), count, weights_.data(), Alone());
    for (Index k = 0; k < count; ++k) q[k] = T(weights_[std::size_t(k)]);
    return value;
  }
};

}  // namespace sdtw
