// One request from start to end: groups the pairs into packs, spreads packs (or the strips of
// one pack) over threads, and writes the results.
#include "sdtwkit/graph.h"
#include "sdtwkit/threads.h"
#include "sdtwkit/walk.h"
#include <numeric>

namespace sdtw {
namespace {

struct Packs {
  std::vector<Index> order;  // pairs, similar sizes next to each other, large ones first
  std::vector<Index> first;  // where each pack begins in `order`, and the end
  Index size() const { return Index(first.size()) - 1; }
};

// A pack computes the bounding box of its pairs: at most a quarter may be wasted. Long pairs fill
// the lanes on their own, and checkpoints of many would need memory. Given matrices are read along
// anti-diagonals, at best one pair at a time.
template <class T> Packs group(const Plan<T>& plan) {
  const Index pairs = plan.request.pairs;
  Packs packs;
  packs.order.resize(std::size_t(pairs));
  std::iota(packs.order.begin(), packs.order.end(), Index(0));
  bool ragged = false;
  for (Index b = 1; b < pairs; ++b) ragged = ragged || plan.n(b) != plan.n(0) || plan.m(b) != plan.m(0);
  if (ragged)
    std::stable_sort(packs.order.begin(), packs.order.end(), [&](Index a, Index b) {
      return plan.n(a) != plan.n(b) ? plan.n(a) > plan.n(b) : plan.m(a) > plan.m(b);
    });
  const double largest = plan.request.given.data && !plan.request.x.data ? 4e4 : 8e6;
  // A few packs are of one size, and even in number, so that two threads share them well: 13 and 13, not 16 and 10.
  // Hard values have tiles where the lanes are whole vectors, which is worth more.
  Index most = kPack;
  const Index few = (pairs + kPack - 1) / kPack;
  if (few > 1 && few < 8 && !(plan.op_kind == kHard && !plan.first_order)) {
    const Index even = (few + 1) / 2 * 2;
    most = (pairs + even - 1) / even;
  }
  Index rows = 0, columns = 0, count = 0;
  double cells = 0;
  for (Index k = 0; k < pairs; ++k) {
    const Index n = plan.n(packs.order[std::size_t(k)]), m = plan.m(packs.order[std::size_t(k)]);
    const double box = double(std::max(rows, n)) * double(std::max(columns, m)), all = cells + double(n) * double(m);
    const bool fits = count > 0 && count < most && !plan.paths && box * double(count + 1) <= std::min(1.25 * all, largest);
    if (!fits) {
      packs.first.push_back(k);
      rows = columns = count = 0;
      cells = 0;
    }
    rows = std::max(rows, n), columns = std::max(columns, m), ++count;
    cells += double(n) * double(m);
  }
  packs.first.push_back(pairs);
  return packs;
}

template <class T> void write_values(const Sweep<T>& sweep, const Request& r) {
  for (Index p = 0; p < sweep.pack.P; ++p) {
    static_cast<T*>(r.value)[sweep.pack.pair[p]] = T(sweep.value[p]);
    if (r.slope) static_cast<T*>(r.slope)[sweep.pack.pair[p]] = T(sweep.slope[p]);
  }
}

template <class T> void run_pack(Sweep<T>& sweep, Scratch<T>& scratch) {
  const Plan<T>& plan = sweep.pack.plan;
  const Index strips = Index(sweep.pack.strips.size());
  for (Index k = 0; k < strips; ++k) sweep.forward(k, scratch);
  if (plan.stop.load()) return;
  sweep.close();
  if (plan.paths) Walks<T>(sweep, plan.request).run(scratch);
  if (plan.first_order)
    for (Index k = strips - 1; k >= 0; --k) sweep.backward(k, scratch);
  if (plan.request.x.gradient || plan.request.y.gradient) sweep.pack.write_series_gradients();
  write_values(sweep, plan.request);
}

template <class T> void run_pack_number(Index k, Sweep<T>& sweep, Scratch<T>& scratch, const Packs& packs) {
  const Index first = packs.first[std::size_t(k)];
  sweep.assign(packs.order.data() + first, packs.first[std::size_t(k) + 1] - first);
  sweep.reserve(scratch);
  run_pack(sweep, scratch);
}

template <class T> void run_alone(const Plan<T>& plan, const Packs& packs) {
  Arena arena;
  Sweep<T> sweep(plan);
  Scratch<T> scratch;
  for (Index k = 0; k < packs.size() && !plan.stop.load(); ++k) run_pack_number(k, sweep, scratch, packs);
}

// Many packs: each thread takes whole packs.
template <class T> void spread_packs(const Plan<T>& plan, const Packs& packs, int threads) {
  Guard guard;
#pragma omp parallel num_threads(threads)
  guard(plan.stop, [&] {
    Arena arena;
    Sweep<T> sweep(plan);
    Scratch<T> scratch;
    scratch.calling_thread = thread_number() == 0;
#pragma omp for schedule(dynamic)
    for (Index k = 0; k < packs.size(); ++k)
      if (!plan.stop.load()) guard(plan.stop, [&] { run_pack_number(k, sweep, scratch, packs); });
  });
  static_cast<void>(threads);
  guard.rethrow();
}

// Few packs: threads share one pack after the other, strip by strip.
template <class T> void spread_strips(const Plan<T>& plan, const Packs& packs, int threads) {
  Guard guard;
  Sweep<T> sweep(plan);
  for (Index q = 0; q < packs.size() && !plan.stop.load(); ++q) {
    const Index first = packs.first[std::size_t(q)];
    sweep.assign(packs.order.data() + first, packs.first[std::size_t(q) + 1] - first);
    const Index strips = Index(sweep.pack.strips.size());
    std::vector<Scratch<T>> scratch(static_cast<std::size_t>(threads));
    for (auto& s : scratch) sweep.reserve(s);
#pragma omp parallel num_threads(threads)
    guard(plan.stop, [&] {
      const Index me = thread_number(), team = team_size();
      Scratch<T>& mine = scratch[std::size_t(me)];
      mine.calling_thread = me == 0;
      for (Index k = me; k < strips; k += team) sweep.forward(k, mine);
    });
    guard.rethrow();
    if (plan.stop.load()) return;
    sweep.close();
    if (plan.paths) Walks<T>(sweep, plan.request).run(scratch[0]);
    if (plan.first_order) {
#pragma omp parallel num_threads(threads)
      guard(plan.stop, [&] {
        const Index me = thread_number(), team = team_size();
        for (Index k = strips - 1 - me; k >= 0; k -= team) sweep.backward(k, scratch[std::size_t(me)]);
      });
    }
    guard.rethrow();
    if (plan.stop.load()) return;
    if (plan.request.x.gradient || plan.request.y.gradient) sweep.pack.write_series_gradients();
    write_values(sweep, plan.request);
  }
}

template <class T> Status run_as(const Request& request) {
  const Plan<T> plan(request);
  if (plan.status != kDone) return plan.status;
  const Packs packs = group(plan);
  if (request.threads <= 1) run_alone(plan, packs);
  else if (packs.size() >= request.threads) spread_packs(plan, packs, request.threads);
  else spread_strips(plan, packs, request.threads);
  return plan.stop.load() ? kInterrupted : kDone;
}

template <class T> Status run_graph(const Request& request) {
  Graph<T> graph(request);
  for (Index b = 0; b < request.pairs; ++b) {
    if (request.interrupted && request.interrupted()) return kInterrupted;
    graph.run(b);
  }
  return kDone;
}

// Blocks are large enough for vectors, and small enough to end early. x - x is 0 unless x is infinite or NaN.
template <class T> bool finite_throughout(const T* x, Index count) {
  for (Index first = 0; first < count; first += 1024) {
    const Index last = std::min(first + 1024, count);
    bool finite = true;
    for (Index k = first; k < last; ++k) finite &= x[k] - x[k] == T(0);
    if (!finite) return false;
  }
  return true;
}

}  // namespace

bool all_finite(const void* numbers, std::int64_t count, bool single_precision) {
  return single_precision ? finite_throughout(static_cast<const float*>(numbers), Index(count))
                          : finite_throughout(static_cast<const double*>(numbers), Index(count));
}

Status run(const Request& request) {
  if (request.pairs == 0) return kDone;
  if (request.n_steps) return request.single_precision ? run_graph<float>(request) : run_graph<double>(request);
  return request.single_precision ? run_as<float>(request) : run_as<double>(request);
}

int best_level() {
#if defined(__x86_64__) && defined(__GNUC__)
  __builtin_cpu_init();
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512cd") &&
      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl"))
    return kAvx512;
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi2")) return kAvx2;
#endif
  return kBaseline;
}

template <class T> const Loops<T>& loops(int level) {
#if defined(__x86_64__) && defined(__GNUC__)
  if (level == kAvx512) return avx512_loops<T>();
  if (level == kAvx2) return avx2_loops<T>();
#endif
  static_cast<void>(level);
  return baseline_loops<T>();
}
template const Loops<float>& loops<float>(int);
template const Loops<double>& loops<double>(int);

int max_threads() {
#if defined(_OPENMP)
  return omp_get_max_threads();
#else
  return 1;
#endif
}
bool has_openmp() {
#if defined(_OPENMP)
  return true;
#else
  return false;
#endif
}
const char* compiler() {
#if defined(__VERSION__)
  return __VERSION__;
#else
  return "unknown";
#endif
}

}  // namespace sdtw
