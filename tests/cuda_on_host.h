// Enough CUDA to run our kernels on a CPU, one fiber a thread. Tests only, never speed.
//
// The blocks of a launch are of whole warps and all resident at once, so that blocks that wait for each other do so
// here, too. Fibers take turns, forwards, backwards or at random. Where CUDA would be silent, a run fails with a sentence:
//   * lanes of a warp that meet at different instructions, or wait for a thread that has left;
//   * shared memory that a thread reads although another wrote it, or writes although another wrote or read it, without
//     a __syncwarp between (of the same warp) or a __syncthreads; that nobody wrote; out of bounds. A shuffle orders no
//     memory;
//   * warps that wait for each other for ever.
// What a block stores with __stcg, to hand it to other blocks, stays with the block until a thread that knows of it (by
// a barrier since, or because the store was its own) comes to a store_release: without one, others find old memory.
// What cannot be shown is a load that a device would do too early, where the reader does not load_acquire; and of
// ordinary stores to device memory nothing but the wrong results that one of the orders brings up.
#pragma once
#include <setjmp.h>
#include <ucontext.h>
#if defined(__SSE__)
#include <xmmintrin.h>
#endif
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <functional>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <vector>

#define __global__ static
#define __device__
#define __host__
#define __forceinline__ inline
#define __launch_bounds__(...)
struct dim3 { unsigned x = 1, y = 1, z = 1; };
static dim3 threadIdx, blockIdx, blockDim, gridDim;
using std::exp;
using std::exp2;
using std::log;
using std::log1p;
using std::sqrt;

namespace cuda_on_host {

constexpr unsigned kLanes = 32;
constexpr std::size_t kStack = 64 * 1024;

struct Epoch {  // barriers passed: of any kind, and those of the block
  long any = 0, block = 0;
};
struct Store {  // not yet visible to other blocks
  std::uint64_t bits;
  std::size_t size;
  unsigned thread;
  Epoch when;
};
struct Warp {
  unsigned arrived[2] = {0, 0};
  long done = -1;  // the last meeting that all lanes have reached
  std::uint64_t slots[2][kLanes];
  const char* kinds[2][kLanes];
};
struct Block {
  std::map<void*, Store> stores;
  std::vector<Warp> warps;
  unsigned arrived = 0;
  long barriers = 0;              // that all threads have reached
  bool any[2] = {false, false};   // whether a thread said so, at this barrier and the next
  std::map<int, std::shared_ptr<void>> shared;  // by the line of the declaration
};
struct Fiber {
  ucontext_t context;
  std::unique_ptr<char[]> stack;
  unsigned block = 0, thread = 0, lane = 0;
  long meetings = 0;
  Epoch epoch;
  bool done = false, begun = false;
  jmp_buf jump;
};

static std::vector<Fiber> fibers;
static std::vector<Block> blocks;
static std::size_t running;
static ucontext_t launcher;
static std::function<void()> body;
static std::string failure;
static long idle;  // turns since anything happened
static int order;  // 0: forwards, 1: backwards, 2: at random
static std::mt19937 chance;
static int burst;          // turns that belong to the warp of fiber `ahead`
static std::size_t ahead;

inline Fiber& me() { return fibers[running]; }
inline Block& my_block() { return blocks[me().block]; }
// Whether what a thread of this block did at an epoch comes before what the fiber does now.
inline bool known(const Fiber& f, unsigned thread, Epoch when) {
  if (thread == f.thread) return true;
  return thread / kLanes == f.thread / kLanes ? when.any < f.epoch.any : when.block < f.epoch.block;
}

inline void enter(std::size_t next) {
  running = next;
  threadIdx = {me().thread}, blockIdx = {me().block};
}
[[noreturn]] inline void fail(const std::string& sentence) {
  if (failure.empty()) failure = sentence;
  setcontext(&launcher);  // the fibers are given up
  std::abort();
}
inline std::size_t next_fiber() {
  const std::size_t n = fibers.size();
  if (order == 2) {  // now and then a warp runs ahead as far as it can
    if (burst == 0 && chance() % 256 == 0) burst = 2000, ahead = chance() % (n / kLanes) * kLanes;
    if (idle > 4 * kLanes) burst = 0;  // it waits
    for (std::size_t step = 1; burst > 0 && step <= kLanes; ++step) {
      const std::size_t k = ahead + (running + step) % kLanes;
      if (!fibers[k].done) return --burst, k;
    }
    burst = 0;
    for (int tries = 0; tries < 64; ++tries) {
      const std::size_t k = chance() % n;
      if (!fibers[k].done) return k;
    }
  }
  for (std::size_t step = 1; step <= n; ++step) {
    const std::size_t k = (running + (order == 1 ? n - step : step)) % n;
    if (!fibers[k].done) return k;
  }
  return n;
}
[[noreturn]] inline void resume(std::size_t to) {
#if !defined(__SANITIZE_ADDRESS__)
  if (fibers[to].begun) _longjmp(fibers[to].jump, 1);
  fibers[to].begun = true;
#endif
  setcontext(&fibers[to].context);
  std::abort();
}
inline void yield() {
  if (++idle > 4000 * long(fibers.size())) fail("every thread waits: for lanes that took another way, or for a warp that never comes");
  const std::size_t from = running, to = next_fiber();
  if (to == from) return;
  enter(to);
#if defined(__SANITIZE_ADDRESS__)  // which follows contexts, not jumps
  swapcontext(&fibers[from].context, &fibers[to].context);
#else  // a third of the time: swapcontext asks the system for the signal mask
  if (_setjmp(fibers[from].jump) == 0) resume(to);
#endif
}
inline void start() {
  body();
  me().done = true;
  idle = 0;
  const std::size_t to = next_fiber();
  if (to == fibers.size()) setcontext(&launcher);
  enter(to);
  resume(to);
}

// Makes stores of the block visible: all of them, or those that this thread knows of.
inline void flush(Block& block, const Fiber* by) {
  for (auto it = block.stores.begin(); it != block.stores.end();) {
    const Store& s = it->second;
    if (by && !known(*by, s.thread, s.when)) {
      ++it;
      continue;
    }
    std::memcpy(it->first, &s.bits, s.size);
    it = block.stores.erase(it);
  }
}

// All lanes of a warp meet and leave a number each; returns the numbers.
inline const std::uint64_t* meet(const char* kind, std::uint64_t number) {
  const long meeting = me().meetings++;
  const int side = meeting & 1;
  Warp& w = my_block().warps[me().thread / kLanes];
  w.slots[side][me().lane] = number, w.kinds[side][me().lane] = kind;
  if (++w.arrived[side] == kLanes) {
    for (unsigned l = 1; l < kLanes; ++l)
      if (std::strcmp(w.kinds[side][l], w.kinds[side][0]))
        fail(std::string("divergent warp: one lane at ") + w.kinds[side][0] + ", another at " + w.kinds[side][l]);
    w.arrived[side] = 0, w.done = meeting, idle = 0;
  }
  while (w.done < meeting) yield();
  return w.slots[side];
}

// All threads of the block meet; returns whether x is true of any.
inline bool meet_block(bool x) {
  Block& block = my_block();
  const long barrier = ++me().epoch.block;
  ++me().epoch.any;
  bool& any = block.any[barrier & 1];
  any |= x;
  if (++block.arrived == blockDim.x)
    block.arrived = 0, block.barriers = barrier, block.any[~barrier & 1] = false, idle = 0;
  while (block.barriers < barrier) yield();
  return any;
}

// Shared memory that knows who touched it last.
template <class T> struct Cell {
  T value;
  int writer = -1;             // thread
  Epoch written, read;
  std::uint32_t readers = 0;   // lanes of the warp that read last, in the epoch `read`
  unsigned reading_warp = 0;
  bool by_several = false;     // warps have read since the last barrier of the block
};
template <class T> class Reference {
 public:
  explicit Reference(Cell<T>& cell) : cell_(cell) {}
  operator T() const {
    const Fiber& f = me();
    if (cell_.writer < 0) fail("shared memory is read that nobody wrote");
    if (!known(f, unsigned(cell_.writer), cell_.written)) race("read", "wrote");
    const unsigned warp = f.thread / kLanes;
    if (cell_.readers && cell_.read.block == f.epoch.block) cell_.by_several |= cell_.reading_warp != warp;
    else cell_.by_several = false;
    if (cell_.read.any != f.epoch.any || cell_.reading_warp != warp) cell_.readers = 0;
    cell_.read = f.epoch, cell_.reading_warp = warp, cell_.readers |= 1u << f.lane;
    return cell_.value;
  }
  const Reference& operator=(const T& value) const {
    const Fiber& f = me();
    if (cell_.writer >= 0 && !known(f, unsigned(cell_.writer), cell_.written)) race("written", "wrote");
    if (cell_.readers && cell_.read.block == f.epoch.block) {
      const bool other_warp = cell_.by_several || cell_.reading_warp != f.thread / kLanes;
      if (other_warp || (cell_.read.any == f.epoch.any && (cell_.readers & ~(1u << f.lane)))) race("written", "read");
    }
    cell_.value = value, cell_.writer = int(f.thread), cell_.written = f.epoch;
    return *this;
  }
  const Reference& operator=(const Reference& other) const { return *this = T(other); }

 private:
  Cell<T>& cell_;
  void race(const char* now, const char* before) const {
    fail("race in shared memory: " + std::string(now) + " by thread " + std::to_string(me().thread) + " what another " +
         before + ", without a barrier between");
  }
};
template <class T> class SharedArray {
 public:
  SharedArray(Cell<T>* cells, long count) : cells_(cells), count_(count) {}
  Reference<T> operator[](long k) const {
    if (k < 0 || k >= count_) fail("shared memory is touched out of bounds");
    return Reference<T>(cells_[k]);
  }
  SharedArray operator+(long k) const { return {cells_ + k, count_ - k}; }

 private:
  Cell<T>* cells_;
  long count_;
};
template <class T> SharedArray<T> shared_array(int line, long count) {
  auto& place = my_block().shared[line];
  if (!place) place = std::shared_ptr<void>(new Cell<T>[std::size_t(count)], [](void* p) { delete[] static_cast<Cell<T>*>(p); });
  return {static_cast<Cell<T>*>(place.get()), count};
}

static std::size_t shared_bytes;  // that the launch has asked for
template <class T> SharedArray<T> shared_at_launch(int line, long count) {
  if (std::size_t(count) * sizeof(T) > shared_bytes) fail("more shared memory is declared than was asked for");
  return shared_array<T>(line, count);
}

// While it lives, subnormal numbers count as zero, as they do in float32 on a device for which CuPy compiles.
class Flushing {
#if defined(__SSE__)
 public:
  explicit Flushing(bool wanted) : before_(_mm_getcsr()) { if (wanted) _mm_setcsr(before_ | 0x8040); }
  ~Flushing() { _mm_setcsr(before_); }

 private:
  unsigned before_;
#else
 public:
  explicit Flushing(bool) {}
#endif
};

// Runs a launch; returns what went wrong, or nothing.
inline std::string launch(unsigned n_blocks, unsigned threads, int how, unsigned seed, std::function<void()> kernel) {
  order = how, chance.seed(seed), body = std::move(kernel), failure.clear(), idle = 0, burst = 0;
  gridDim = {n_blocks}, blockDim = {threads};
  blocks.assign(n_blocks, Block());
  for (Block& block : blocks) block.warps.resize(threads / kLanes);
  fibers.clear();
  fibers.resize(std::size_t(n_blocks) * threads);
  for (std::size_t k = 0; k < fibers.size(); ++k) {
    Fiber& f = fibers[k];
    f.block = unsigned(k / threads), f.thread = unsigned(k % threads), f.lane = f.thread % kLanes;
    f.stack.reset(new char[kStack]);
    getcontext(&f.context);
    f.context.uc_stack.ss_sp = f.stack.get(), f.context.uc_stack.ss_size = kStack, f.context.uc_link = nullptr;
    makecontext(&f.context, start, 0);
  }
  volatile bool begun = false;
  getcontext(&launcher);
  if (!begun) {
    begun = true;
    enter(how == 1 ? fibers.size() - 1 : 0);
    resume(running);
  }
  for (Block& block : blocks) flush(block, nullptr);
  fibers.clear();
  blocks.clear();
  return failure;
}

template <class T> std::uint64_t bits_of(T x) {
  std::uint64_t bits = 0;
  std::memcpy(&bits, &x, sizeof x);
  return bits;
}
template <class T> T of_bits(std::uint64_t bits) {
  T x;
  std::memcpy(&x, &bits, sizeof x);
  return x;
}

}  // namespace cuda_on_host

template <class T> T __shfl_sync(unsigned, T x, int lane) {
  return cuda_on_host::of_bits<T>(cuda_on_host::meet("__shfl_sync", cuda_on_host::bits_of(x))[lane]);
}
template <class T> T __shfl_up_sync(unsigned, T x, unsigned by) {
  const unsigned lane = cuda_on_host::me().lane;
  const auto* numbers = cuda_on_host::meet("__shfl_up_sync", cuda_on_host::bits_of(x));
  return cuda_on_host::of_bits<T>(numbers[lane >= by ? lane - by : lane]);
}
template <class T> T __shfl_down_sync(unsigned, T x, unsigned by) {
  const unsigned lane = cuda_on_host::me().lane;
  const auto* numbers = cuda_on_host::meet("__shfl_down_sync", cuda_on_host::bits_of(x));
  return cuda_on_host::of_bits<T>(numbers[lane + by < 32 ? lane + by : lane]);
}
template <class T> T __shfl_xor_sync(unsigned, T x, int mask) {
  const unsigned lane = cuda_on_host::me().lane;
  return cuda_on_host::of_bits<T>(cuda_on_host::meet("__shfl_xor_sync", cuda_on_host::bits_of(x))[lane ^ unsigned(mask)]);
}
inline void __syncwarp() {
  cuda_on_host::meet("__syncwarp", 0);
  ++cuda_on_host::me().epoch.any;
}
inline int __any_sync(unsigned, int x) {
  const auto* numbers = cuda_on_host::meet("__any_sync", x != 0);
  return std::any_of(numbers, numbers + 32, [](std::uint64_t number) { return number != 0; });
}
inline unsigned __ballot_sync(unsigned, int x) {
  const auto* numbers = cuda_on_host::meet("__ballot_sync", x != 0);
  unsigned bits = 0;
  for (unsigned l = 0; l < 32; ++l) bits |= unsigned(numbers[l]) << l;
  return bits;
}
inline void __syncthreads() { cuda_on_host::meet_block(false); }
inline int __syncthreads_or(int x) { return cuda_on_host::meet_block(x != 0); }
inline void __nanosleep(unsigned) { cuda_on_host::yield(); }
inline unsigned long long atomicAdd(unsigned long long* p, unsigned long long x) { return cuda_on_host::idle = 0, (*p += x) - x; }
inline unsigned long long atomicCAS(unsigned long long* p, unsigned long long expected, unsigned long long x) {
  cuda_on_host::idle = 0;
  const unsigned long long before = *p;
  if (before == expected) *p = x;
  return before;
}
template <class T> T atomicMax(T* p, T x) {
  const T before = *p;
  *p = std::max(*p, x);
  return before;
}
template <class T> T __ldcg(const T* p) {
  const auto& stores = cuda_on_host::my_block().stores;
  const auto found = stores.find(const_cast<T*>(p));
  return found == stores.end() ? *p : cuda_on_host::of_bits<T>(found->second.bits);
}
template <class T> void __stcg(T* p, T x) {
  static_cast<void>(*static_cast<volatile T*>(p));  // an address out of bounds is reported here
  const auto& f = cuda_on_host::me();
  cuda_on_host::my_block().stores[p] = {cuda_on_host::bits_of(x), sizeof x, f.thread, f.epoch};
}

namespace sdtw {
template <class T> using Shared = cuda_on_host::SharedArray<T>;
inline std::ptrdiff_t load_relaxed(const std::ptrdiff_t* p) { return *p; }
inline std::ptrdiff_t load_acquire(const std::ptrdiff_t* p) { return *p; }
inline void store_release(std::ptrdiff_t* p, std::ptrdiff_t x) {
  cuda_on_host::flush(cuda_on_host::my_block(), &cuda_on_host::me());
  *p = x;
}
}  // namespace sdtw
#define SDTW_SHARED(Type, name, count) \
  const cuda_on_host::SharedArray<Type> name = cuda_on_host::shared_array<Type>(__LINE__, count)
#define SDTW_SHARED_AT_LAUNCH(Type, name, count) \
  const cuda_on_host::SharedArray<Type> name = cuda_on_host::shared_at_launch<Type>(__LINE__, count)
