// The table of compiled loops of one instruction level. Included once by each level_*.cpp.
#pragma once
#include "ctc.h"

namespace sdtw {

enum Variant { kPlain = 0, kMasked = 1, kWeighted = 2, kVariants = 3 };  // each admits what the one before does
enum Mode { kValue = 0, kStore = 1, kTangent = 2, kTangentStore = 3, kModes = 4 };
enum Cost { kGiven = 0, kSquaredEuclidean = 1, kHalfSquaredEuclidean = 2, kEuclidean = 3, kManhattan = 4, kHuber = 5,
            kNegativeDot = 6, kCosts = 7 };

template <class T> struct Loops {
  using Forward = void (*)(const ForwardBlock<T>&);
  using Backward = void (*)(const BackwardBlock<T>&);
  using Series = void (*)(const SeriesBlock<T>&);
  Forward forward[kOperators][kVariants][kModes];
  Backward backward[2][2];  // weighted, tangent
  Series cost[kCosts], pull_back[kCosts];
  void (*hard_rows[kCosts])(const TileBlock<T>&);
  Index vector_lanes;
  void (*ctc_costs)(CtcBlock<T>&);
  void (*ctc_forward[2])(const CtcBlock<T>&);
  void (*ctc_forward_far)(const CtcBlock<T>&);  // stores
  void (*ctc_backward)(const CtcBlock<T>&);
  void (*forbid)(const StepLimits<T>&);
};

enum Level { kBaseline = 0, kAvx2 = 1, kAvx512 = 2, kLevels = 3 };
template <class T> const Loops<T>& baseline_loops();
template <class T> const Loops<T>& avx2_loops();
template <class T> const Loops<T>& avx512_loops();

template <class T> const Loops<T>& loops(int level);

}  // namespace sdtw
