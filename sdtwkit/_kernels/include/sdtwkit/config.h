// The one place that knows which compiler is reading us: host C++, NVRTC or nvcc.
#pragma once

#if defined(__CUDACC__) || defined(__CUDACC_RTC__)
#define SDTW_FN __host__ __device__ __forceinline__
#define SDTW_IVDEP
#elif defined(__GNUC__) && !defined(__clang__)
#define SDTW_FN inline __attribute__((always_inline))
#define SDTW_IVDEP _Pragma("GCC ivdep")
#define SDTW_UNROLL _Pragma("GCC unroll 8")
#elif defined(__clang__)
#define SDTW_FN inline __attribute__((always_inline))
#define SDTW_IVDEP _Pragma("clang loop vectorize(assume_safety)")
#elif defined(_MSC_VER)
#define SDTW_FN __forceinline
#define SDTW_IVDEP __pragma(loop(ivdep))
#else
#define SDTW_FN inline
#define SDTW_IVDEP
#endif

#if defined(__GNUC__) && !defined(__CUDACC_RTC__)
#define SDTW_NOINLINE __attribute__((noinline))
#elif defined(_MSC_VER)
#define SDTW_NOINLINE __declspec(noinline)
#else
#define SDTW_NOINLINE
#endif
#if !defined(SDTW_UNROLL)
#define SDTW_UNROLL
#endif

// Functions for higher instruction levels; Clang drops the whole attribute for a word that it does not know.
#if defined(__x86_64__) && defined(__GNUC__)
#define SDTW_AVX2 __attribute__((target("arch=x86-64-v3")))
#if defined(__clang__)
#define SDTW_AVX512 __attribute__((target("arch=x86-64-v4")))
#else
#define SDTW_AVX512 __attribute__((target("arch=x86-64-v4,prefer-vector-width=512")))
#endif
#endif

// Entries of two vectors, by their numbers, which `Mask` is a vector of.
#if defined(__clang__)
#define SDTW_SHUFFLE(Mask, a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else
#define SDTW_SHUFFLE(Mask, a, b, ...) __builtin_shuffle(a, b, Mask{__VA_ARGS__})
#endif

#if defined(_MSC_VER)
#define SDTW_RESTRICT __restrict
#else
#define SDTW_RESTRICT __restrict__
#endif

#if !defined(__CUDACC_RTC__)
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#endif

#if defined(__GNUC__) && !defined(__clang__) && !defined(__CUDACC__) && !defined(__CUDACC_RTC__)
#pragma GCC diagnostic ignored "-Wpsabi"  // vectors travel between inlined functions only
#endif

namespace sdtw {
#if defined(__CUDACC_RTC__)  // which has no standard headers
using Index = long long;
using Int32 = int;
using Int64 = long long;
using UInt32 = unsigned int;
using UInt64 = unsigned long long;
#else
using Index = std::ptrdiff_t;
using Int32 = std::int32_t;
using Int64 = std::int64_t;
using UInt32 = std::uint32_t;
using UInt64 = std::uint64_t;
using std::exp;
using std::fma;
using std::log;
using std::memcpy;
#endif
}
