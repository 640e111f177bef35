// Memory that the schedules work in: aligned for vectors, and taken without an allocation where it is small.
#pragma once
#include "config.h"
#include <algorithm>
#include <memory>
#include <new>

namespace sdtw {

// While an Arena lives, the buffers of its thread take what fits from a block that the thread
// keeps, and only the rest from the heap: a short problem takes less time than allocating its
// buffers would, and the system clears every large allocation anew.
class Arena {
 public:
  Arena() : outer_(current()) { current() = true; if (!outer_) used() = 0; }
  ~Arena() { current() = outer_; }
  Arena(const Arena&) = delete;
  Arena& operator=(const Arena&) = delete;
  static void* take(std::size_t bytes) {
#if defined(__SANITIZE_ADDRESS__)
    return nullptr;  // every buffer is to have borders of its own
#endif
    if (!current() || bytes > kBytes - used()) return nullptr;
    static thread_local std::unique_ptr<unsigned char, Free> block(
        static_cast<unsigned char*>(::operator new(kBytes, std::align_val_t(64))));
    void* p = block.get() + used();
    used() += (bytes + 63) / 64 * 64;
    return p;
  }

 private:
  struct Free {
    void operator()(unsigned char* p) const { ::operator delete(p, std::align_val_t(64)); }
  };
  static constexpr std::size_t kBytes = std::size_t(8) << 20;
  static bool& current() {
    static thread_local bool alive = false;
    return alive;
  }
  static std::size_t& used() {
    static thread_local std::size_t bytes = 0;
    return bytes;
  }
  bool outer_;
};

// Memory for vectors: aligned, grows only, filled on request.
template <class T> class Buffer {
 public:
  Buffer() = default;
  Buffer(Buffer&& other) noexcept : data_(other.data_), size_(other.size_), heap_(std::move(other.heap_)) {}
  T* reserve(Index n) {
    if (n > size_) {
      const std::size_t bytes = sizeof(T) * std::size_t(n);
      heap_.reset();
      data_ = static_cast<T*>(Arena::take(bytes));
      if (!data_) {
        heap_.reset(static_cast<T*>(::operator new(bytes, std::align_val_t(64))));
        data_ = heap_.get();
      }
      size_ = n;
    }
    return data_;
  }
  T* filled(Index n, T value) {
    T* p = reserve(n);
    std::fill_n(p, n, value);
    return p;
  }
  T* get() const { return data_; }

 private:
  struct Free {
    void operator()(T* p) const { ::operator delete(p, std::align_val_t(64)); }
  };
  T* data_ = nullptr;
  Index size_ = 0;
  std::unique_ptr<T, Free> heap_;
};

}  // namespace sdtw
