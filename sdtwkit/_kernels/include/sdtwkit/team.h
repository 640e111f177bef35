// The threads that share one chain. Every member runs the same passes on its own share of the states
// and meets the others at barriers; which share a number falls into changes no bit of it.
#pragma once
#include "config.h"
#include "threads.h"
#include <algorithm>

namespace sdtw {

struct Range { Index first, last; };

struct Team {
  Index rank = 0, size = 1;

  // Whole vectors of every instruction level, so that loops begin and end alike for any team.
  Range share(Index n) const {
    constexpr Index whole = 16;
    const Index each = (n + size * whole - 1) / (size * whole) * whole;
    return {std::min(rank * each, n), std::min((rank + 1) * each, n)};
  }
  void barrier() const {
#if defined(_OPENMP)
    if (size > 1) {
#pragma omp barrier
    }
#endif
  }
};

}  // namespace sdtw
