// What the device code asks of CUDA beyond C++: lanes of a warp that hand states on, memory that the
// threads of a block share, and warps that wait for each other through device memory, those of a block
// at a barrier. A block is one warp where nothing is said. The tests give the same names a meaning on the host.
#pragma once
#include "recursion.h"
#include "wide.h"

#define SDTW_DEVICE __device__ __forceinline__
#if defined(__CUDACC__) || defined(__CUDACC_RTC__)
// Shared<T> is what functions take, SDTW_SHARED declares `count` elements of the block's shared memory;
// SDTW_SHARED_AT_LAUNCH likewise, once in a kernel, where the launch says how many bytes there are.
namespace sdtw { template <class T> using Shared = T*; }
#define SDTW_SHARED(Type, name, count) \
  __shared__ Type name##_memory[count]; \
  const sdtw::Shared<Type> name = name##_memory
#define SDTW_SHARED_AT_LAUNCH(Type, name, count) \
  extern __shared__ double sdtw_shared_at_launch[]; \
  const sdtw::Shared<Type> name = reinterpret_cast<Type*>(sdtw_shared_at_launch)

namespace sdtw {
// A number that one block sets and others watch. Who has seen it by load_acquire() sees all that came before it was set
// by store_release(). (A __threadfence on both sides says the same, but the reader's then waits until all that this
// warp itself has written has arrived.)
SDTW_DEVICE Index load_relaxed(const Index* p) {
  Index x;
  asm volatile("ld.relaxed.gpu.global.s64 %0, [%1];" : "=l"(x) : "l"(p) : "memory");
  return x;
}
SDTW_DEVICE Index load_acquire(const Index* p) {
  Index x;
  asm volatile("ld.acquire.gpu.global.s64 %0, [%1];" : "=l"(x) : "l"(p) : "memory");
  return x;
}
SDTW_DEVICE void store_release(Index* p, Index x) {
  asm volatile("st.release.gpu.global.s64 [%0], %1;" : : "l"(p), "l"(x) : "memory");
}
}  // namespace sdtw
#endif

namespace sdtw {

constexpr int kWarp = 32;
constexpr unsigned kAllLanes = 0xffffffffu;

SDTW_DEVICE int lane_of_thread() { return static_cast<int>(threadIdx.x % kWarp); }
SDTW_DEVICE int warp_of_thread() { return static_cast<int>(threadIdx.x / kWarp); }
SDTW_DEVICE int warps_of_block() { return static_cast<int>(blockDim.x / kWarp); }

// All threads of the block meet; what one wrote before, to shared or to device memory, the others see after.
SDTW_DEVICE void block_barrier() { __syncthreads(); }
// The same, and whether x is true of any of them.
SDTW_DEVICE bool any_thread(bool x) { return __syncthreads_or(x) != 0; }

// A number or state of the lane above; lane 0 gets its own.
template <class T> SDTW_DEVICE T from_lane_above(T x) { return __shfl_up_sync(kAllLanes, x, 1); }
template <class T> SDTW_DEVICE Plain<T> from_lane_above(Plain<T> s) { return {__shfl_up_sync(kAllLanes, s.value, 1)}; }
template <class T, class E> SDTW_DEVICE Scaled<T, E> from_lane_above(Scaled<T, E> s) {
  return {__shfl_up_sync(kAllLanes, s.mantissa, 1), __shfl_up_sync(kAllLanes, s.exponent, 1)};
}
template <class T> SDTW_DEVICE T from_lane_below(T x) { return __shfl_down_sync(kAllLanes, x, 1); }

// Combines a number of every lane, or of each run of `width` lanes (a power of two); every one of them gets the result.
// The order is fixed, so sums repeat bitwise.
template <class T, class Combine> SDTW_DEVICE T over_lanes(T x, Combine combine, int width = kWarp) {
  for (int distance = width / 2; distance > 0; distance /= 2)
    x = combine(x, __shfl_xor_sync(kAllLanes, x, distance));
  return x;
}
// The same over the lanes that have one place in runs of `width`.
template <class T, class Combine> SDTW_DEVICE T across_runs(T x, Combine combine, int width) {
  for (int distance = kWarp / 2; distance >= width; distance /= 2)
    x = combine(x, __shfl_xor_sync(kAllLanes, x, distance));
  return x;
}
// The sum over the lanes up to one's own.
template <class T> SDTW_DEVICE T sum_up_to_lane(T x) {
  for (int distance = 1; distance < kWarp; distance *= 2) {
    const T below = __shfl_up_sync(kAllLanes, x, distance);
    if (lane_of_thread() >= distance) x += below;
  }
  return x;
}
SDTW_DEVICE bool any_lane(bool x) { return __any_sync(kAllLanes, x) != 0; }
SDTW_DEVICE unsigned lanes_where(bool x) { return __ballot_sync(kAllLanes, x); }  // as bits

// Memory that another warp has written or will read: past the first-level caches, which are not coherent.
template <class T> SDTW_DEVICE T load_fresh(const T* p) { return __ldcg(p); }
template <class T> SDTW_DEVICE void store_through(T* p, T x) { __stcg(p, x); }
template <class T> SDTW_DEVICE Plain<T> load_fresh(const Plain<T>* p) { return {load_fresh(&p->value)}; }
template <class T> SDTW_DEVICE void store_through(Plain<T>* p, Plain<T> s) { store_through(&p->value, s.value); }
template <class T, class E> SDTW_DEVICE Scaled<T, E> load_fresh(const Scaled<T, E>* p) {
  return {load_fresh(&p->mantissa), load_fresh(&p->exponent)};
}
template <class T, class E> SDTW_DEVICE void store_through(Scaled<T, E>* p, Scaled<T, E> s) {
  store_through(&p->mantissa, s.mantissa);
  store_through(&p->exponent, s.exponent);
}

// The next number of a queue, the same in every lane.
SDTW_DEVICE Index next_task(Index* queue) {
  unsigned long long task = 0;
  if (lane_of_thread() == 0) task = atomicAdd(reinterpret_cast<unsigned long long*>(queue), 1ULL);
  return static_cast<Index>(__shfl_sync(kAllLanes, task, 0));
}

// How far a warp has come, for the warp that waits. What its lanes wrote before publish() is visible to the lanes of
// another warp after await(): __syncwarp orders the lanes, release and acquire of lane 0 what it has seen of them.
SDTW_DEVICE void publish(Index* progress, Index done) {
  __syncwarp();
  if (lane_of_thread() == 0) store_release(progress, done);
}
SDTW_DEVICE void await(const Index* progress, Index needed) {
  if (lane_of_thread() == 0)
    while (load_acquire(progress) < needed)
      while (load_relaxed(progress) < needed) __nanosleep(64);  // an acquire empties the first-level cache
  __syncwarp();
}

}  // namespace sdtw
