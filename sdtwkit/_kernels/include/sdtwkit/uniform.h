// Random numbers of paths.
#pragma once
#include "config.h"

namespace sdtw {

// splitmix64: a counter-based generator, the same numbers on every platform.
class Uniform {
 public:
  SDTW_FN explicit Uniform(UInt64 seed) : state_(seed) {}
  // Each path that is drawn under a seed has numbers of its own, whoever draws it.
  SDTW_FN static Uniform of_path(UInt64 seed, Index path) {
    return Uniform(seed + 0x632be59bd9b4e019ULL * UInt64(path + 1));
  }
  SDTW_FN double operator()() {
    UInt64 z = (state_ += 0x9e3779b97f4a7c15ULL);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
    return double((z ^ (z >> 31)) >> 11) * 0x1p-53;
  }

 private:
  UInt64 state_;
};

// The numbers that a path is drawn with. Those of the best path are zeros: the first candidate that is probable is taken.
class Draws {
 public:
  SDTW_FN Draws(bool random, UInt64 seed, Index path) : random_(random), uniform_(Uniform::of_path(seed, path)) {}
  SDTW_FN double operator()() { return random_ ? uniform_() : 0; }

 private:
  bool random_;
  Uniform uniform_;
};

}  // namespace sdtw
