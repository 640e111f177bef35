// OpenMP, or what stands for it where there is none; exceptions that leave a parallel region.
#pragma once
#include <atomic>
#include <exception>
#if defined(_OPENMP)
#include <omp.h>
#endif

namespace sdtw {

inline int thread_number() {
#if defined(_OPENMP)
  return omp_get_thread_num();
#else
  return 0;
#endif
}
inline int team_size() {
#if defined(_OPENMP)
  return omp_get_num_threads();
#else
  return 1;
#endif
}

// Exceptions must not leave a parallel region.
class Guard {
 public:
  template <class Work> void operator()(std::atomic<bool>& stop, Work work) {
    try {
      work();
    } catch (...) {
#pragma omp critical(sdtw_guard)
      error_ = std::current_exception();
      stop.store(true);
    }
  }
  void rethrow() const {
    if (error_) std::rethrow_exception(error_);
  }

 private:
  std::exception_ptr error_;
};

}  // namespace sdtw
