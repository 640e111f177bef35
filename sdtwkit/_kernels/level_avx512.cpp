// The same loops for AVX-512 (F, BW, CD, DQ, VL).
#if defined(__x86_64__) && defined(__GNUC__)
#define SDTW_LEVEL avx512
#define SDTW_TARGET SDTW_AVX512
#define SDTW_VECTOR_BYTES 64
#include "sdtwkit/level_table.h"

namespace sdtw {
template <> const Loops<float>& avx512_loops<float>() { return avx512::table<float>(); }
template <> const Loops<double>& avx512_loops<double>() { return avx512::table<double>(); }
}  // namespace sdtw
#endif
