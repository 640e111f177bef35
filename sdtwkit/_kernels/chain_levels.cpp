// The loops of chains for every instruction level; see level_*.cpp, which hold those of alignments.
#define SDTW_LEVEL baseline
#define SDTW_TARGET
#define SDTW_VECTOR_BYTES 16
#include "sdtwkit/chain_loops.h"
#if defined(__x86_64__) && defined(__GNUC__)
#undef SDTW_LEVEL
#undef SDTW_TARGET
#undef SDTW_VECTOR_BYTES
#define SDTW_LEVEL avx2
#define SDTW_TARGET SDTW_AVX2
#define SDTW_VECTOR_BYTES 32
#include "sdtwkit/chain_loops.h"
#undef SDTW_LEVEL
#undef SDTW_TARGET
#undef SDTW_VECTOR_BYTES
#define SDTW_LEVEL avx512
#define SDTW_TARGET SDTW_AVX512
#define SDTW_VECTOR_BYTES 64
#include "sdtwkit/chain_loops.h"
#endif

namespace sdtw {

template <class T> const ChainLoops<T>& chain_loops(int level) {
#if defined(__x86_64__) && defined(__GNUC__)
  if (level == kAvx512) return avx512::chain_table<T>();
  if (level == kAvx2) return avx2::chain_table<T>();
#endif
  static_cast<void>(level);
  return baseline::chain_table<T>();
}
template const ChainLoops<float>& chain_loops<float>(int);
template const ChainLoops<double>& chain_loops<double>(int);

}  // namespace sdtw
