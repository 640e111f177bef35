// Whole vectors of one instruction level, for loops whose sums must stay in registers. Included once
// for each level, between the definitions of SDTW_LEVEL and SDTW_VECTOR_BYTES and their use.
#include "math.h"

namespace sdtw {
namespace SDTW_LEVEL {

#if defined(__GNUC__)
template <class T> struct Vector { typedef T type __attribute__((vector_size(SDTW_VECTOR_BYTES))); };
#else
template <class T> struct Vector { typedef T type; };
#endif
template <class T> using Vec = typename Vector<T>::type;
template <class T> constexpr Index width() { return sizeof(Vec<T>) / sizeof(T); }
template <class T> SDTW_FN Vec<T> load(const T* p) { Vec<T> v; std::memcpy(&v, p, sizeof v); return v; }
template <class T> SDTW_FN void store(T* p, const Vec<T>& v) { std::memcpy(p, &v, sizeof v); }

}  // namespace SDTW_LEVEL
}  // namespace sdtw
