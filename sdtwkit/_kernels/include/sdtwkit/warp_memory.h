// What the warps take from the C++ library on the host, and, where the device code defines SDTW_ARENA, from here: no
// library, no heap, and 32 lanes at work on one problem instead of a thread. An array then lies in a piece of memory that
// the launch code gives. It may turn out too small: arrays then stop growing, and `exhausted` says so, which is asked
// before anything is made of what they hold.
#pragma once
#include "config.h"

#if !defined(SDTW_ARENA)

#include <algorithm>
#include <limits>
#include <memory>
#include <vector>

namespace sdtw {
namespace warp {

using std::ceil;
using std::fabs;
using std::max;
using std::min;
using std::size_t;
using std::sort;
using std::sqrt;
using std::swap;
using std::upper_bound;

constexpr double kInfinity = std::numeric_limits<double>::infinity();

using Memory = std::allocator<char>;
template <class T> using Array = std::vector<T>;
inline bool exhausted(const Memory&) { return false; }
struct Scope {  // gives back at its end what was taken since
  explicit Scope(const Memory&) {}
};

// Who shares a loop over what is independent: `for (i = first(); i < n; i += stride())`, then meet().
struct Lanes {
  static constexpr Index first() { return 0; }
  static constexpr Index stride() { return 1; }
  static constexpr bool lead() { return true; }
  static void meet() {}
};

}  // namespace warp
}  // namespace sdtw

#define SDTW_CALLED inline

#else

// Not inlined where called: the device's assembler then takes a tenth of the time.
#if defined(__CUDACC_RTC__)
#define SDTW_CALLED __noinline__
#else
#define SDTW_CALLED inline
#endif

namespace sdtw {
namespace warp {

constexpr double kInfinity = __builtin_bit_cast(double, 0x7ff0000000000000ULL);
constexpr double kNaN = __builtin_bit_cast(double, 0x7ff8000000000000ULL);

// As in the library, also for zeros and NaN.
template <class T> T min(T a, T b) { return b < a ? b : a; }
template <class T> T max(T a, T b) { return a < b ? b : a; }
template <class T> void swap(T& a, T& b) {
  const T kept = a;
  a = b, b = kept;
}
template <class T, class U, class Less> const T* upper_bound(const T* first, const T* last, const U& value, Less less) {
  while (first < last) {
    const T* middle = first + (last - first) / 2;
    if (less(value, *middle)) last = middle;
    else first = middle + 1;
  }
  return first;
}
inline const double* upper_bound(const double* first, const double* last, double value) {
  return upper_bound(first, last, value, [](double a, double b) { return a < b; });
}
// Heapsort: no recursion, no worst case.
template <class T, class Less> void sort(T* first, T* last, Less less) {
  const auto sink = [&](Index hole, Index count) {
    const T value = first[hole];
    for (Index child; (child = 2 * hole + 1) < count; hole = child) {
      if (child + 1 < count && less(first[child], first[child + 1])) ++child;
      if (!less(value, first[child])) break;
      first[hole] = first[child];
    }
    first[hole] = value;
  };
  const Index count = last - first;
  for (Index k = count / 2; k-- > 0;) sink(k, count);
  for (Index k = count; k-- > 1;) swap(first[0], first[k]), sink(0, k);
}
inline void sort(double* first, double* last) {
  sort(first, last, [](double a, double b) { return a < b; });
}

struct alignas(16) Arena {
  char *next, *end;
  bool full;
  double spare[16];  // where an array lies for which there was no room at all
};
using Memory = Arena*;
inline bool exhausted(Memory memory) { return memory->full; }
struct Scope {
  Memory memory;
  char* kept;
  explicit Scope(Memory m) : memory(m), kept(m->next) {}
  ~Scope() { memory->next = kept; }
};

// The part of std::vector that is used here. Arrays of a size known beforehand always find room (the launch code sees
// to that); one that grows loses what it has no room for.
template <class T> class Array {
  static_assert(sizeof(T) <= sizeof(Arena::spare), "");

 public:
  explicit Array(Memory memory) : memory_(memory) {}
  Array(size_t size, Memory memory) : memory_(memory) { assign(size, T()); }
  Array(const Array&) = delete;
  Array& operator=(const Array&) = delete;

  T& operator[](size_t k) { return data_[k]; }
  const T& operator[](size_t k) const { return data_[k]; }
  T *begin() { return data_; }
  T *end() { return data_ + size_; }
  T *data() { return data_; }
  const T *begin() const { return data_; }
  const T *end() const { return data_ + size_; }
  T& front() { return data_[0]; }
  T& back() { return data_[size_ - 1]; }
  size_t size() const { return size_; }
  bool empty() const { return size_ == 0; }

  void clear() { size_ = 0; }
  void pop_back() { --size_; }
  void resize(size_t size) { size_ = size; }  // to less
  void push_back(const T& x) {
    const T kept = x;  // which may lie here
    if (size_ == capacity_ && !grow(size_ + 1)) --size_;
    data_[size_++] = kept;
  }
  void reserve(size_t size) {
    if (size > capacity_) grow(size);
  }
  void assign(size_t size, const T& x) {
    reserve(size);
    size_ = min(size, capacity_);
    for (size_t k = 0; k < size_; ++k) data_[k] = x;
  }
  void assign(const T* first, const T* last) {
    const size_t size = size_t(last - first);
    reserve(size);
    size_ = min(size, capacity_);
    for (size_t k = 0; k < size_; ++k) data_[k] = first[k];
  }
  void erase(T* first, T* last) {
    for (T* rest = last; rest < end(); ++rest, ++first) *first = *rest;
    size_ = size_t(first - data_);
  }

 private:
  static constexpr size_t kFirst = 16;
  Memory memory_;
  T* data_ = nullptr;
  size_t size_ = 0, capacity_ = 0;

  // In place where nothing lies behind; else what is left behind stays unused.
  SDTW_CALLED bool grow(size_t least) {
    const size_t wanted = max(max(2 * capacity_, least), kFirst);
    const bool last = reinterpret_cast<char*>(data_ + capacity_) == memory_->next;
    char* const place = last ? reinterpret_cast<char*>(data_) : memory_->next;
    if (wanted * sizeof(T) > size_t(memory_->end - place)) {
      memory_->full = true;
      if (capacity_ == 0) data_ = reinterpret_cast<T*>(memory_->spare), capacity_ = 1;
      return size_ < capacity_;
    }
    T* const to = reinterpret_cast<T*>(place);
    for (size_t k = 0; !last && k < size_; ++k) to[k] = data_[k];
    data_ = to, capacity_ = wanted;
    memory_->next = place + (wanted * sizeof(T) + 15) / 16 * 16;
    return true;
  }
};

struct Lanes {
  static __device__ Index first() { return threadIdx.x; }
  static __device__ Index stride() { return 32; }
  static __device__ bool lead() { return threadIdx.x == 0; }
  static __device__ void meet() { __syncwarp(); }
};

}  // namespace warp
}  // namespace sdtw

#endif
