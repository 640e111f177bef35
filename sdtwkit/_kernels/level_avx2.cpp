// The same loops for AVX2 and FMA.
#if defined(__x86_64__) && defined(__GNUC__)
#define SDTW_LEVEL avx2
#define SDTW_TARGET SDTW_AVX2
#define SDTW_VECTOR_BYTES 32
#include "sdtwkit/level_table.h"

namespace sdtw {
template <> const Loops<float>& avx2_loops<float>() { return avx2::table<float>(); }
template <> const Loops<double>& avx2_loops<double>() { return avx2::table<double>(); }
}  // namespace sdtw
#endif
