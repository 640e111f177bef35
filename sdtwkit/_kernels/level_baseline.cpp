// The loops as the compiler's default target takes them: SSE2 on x86-64, NEON on AArch64.
#define SDTW_LEVEL baseline
#define SDTW_TARGET
#define SDTW_VECTOR_BYTES 16
#include "sdtwkit/level_table.h"

namespace sdtw {
template <> const Loops<float>& baseline_loops<float>() { return baseline::table<float>(); }
template <> const Loops<double>& baseline_loops<double>() { return baseline::table<double>(); }
}  // namespace sdtw
