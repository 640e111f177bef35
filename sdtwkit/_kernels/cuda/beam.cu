// Prefix beam search over the frames of CTC on the GPU (dp/ctc.py has the same for the CPU, line by line): the most
// probable label sequence of any number of samples, of any length, any number of classes, any width of the beam.
//
// The kernel runs as
//     grid    any number of blocks, each with a room of work memory: block k takes the samples k, k + gridDim, ...
//     block   whole warps, as many as the candidates of a frame are worth
//     shared  a number
// and takes one `Arguments`. A block takes a sample frame by frame. Every prefix of the beam stays or goes on by a
// label: all warps write the scores of these candidates, and of each run of kRun labels behind a prefix the best. The
// first warp picks the best `width` candidates one after the other, the largest score first and the lowest candidate
// among equals, as a stable sort does it: lanes search the best of the runs, and then the run that has it. Prefixes are
// nodes of a trie, the node of rank r after frame t being 1 + t * width + r unless there is one: a prefix that comes
// back after it was dropped must be known again, since longer ones in the beam are added up with it. A table of slots
// finds a node by the one before and its label.
//
// Why it is safe: where a thread needs what others have written, or writes what they have read, a barrier stands
// between; while the first warp picks, entry k of what it searches is its lane k % 32's alone. It is the first warp,
// too, that reads the beam a sample leaves, and its first lane begins the next. Threads that look for slots at the same
// time look for different nodes, so whoever comes first, each finds its own. Numbers of nodes are names: no result
// depends on the slots.
//
// Scores are float64, as on the CPU.
#include "sdtwkit/device.h"

namespace sdtw {

constexpr Index kRun = 256;

// One line a field: the launch code reads the layout here. Every field takes 8 bytes.
template <class T> struct Arguments {
  Index samples;
  Index frames;            // of the arrays, at least the longest sample
  Index classes;
  Index blank;
  Index width;             // of the beam
  Index bits;              // of the number of a slot
  const T* log_probs;      // IN  (samples, frames, classes)
  const Index* frames_of;  // IN  (samples,) or null: all have `frames`
  double* longer;          // WORK (gridDim, width, classes) scores of the prefixes that go on
  double* best;            // WORK (gridDim, width, runs) the best score of each run
  double* scores;          // WORK (gridDim, 9, width) see Beam
  Index* prefixes;         // WORK (gridDim, 3, width)
  Index* trie;             // WORK (gridDim, 3, frames * width + 1) of each node the one before, the label, the place
  Index* table;            // WORK (gridDim, 2^bits) nodes, 0 where there is none
  double* value;           // OUT (samples,) minus the log-probability
  Index* labels;           // OUT (samples, frames)
  Index* count;            // OUT (samples,) of labels
};

// log(exp(a) + exp(b)), as NumPy's logaddexp.
SDTW_DEVICE double log_add(double a, double b) {
  if (a == b) return a + 0.693147180559945309417;  // of two -inf, too
  const double high = max2(a, b), low = min2(a, b);
  return high + log1p(exp(low - high));
}

template <class T> class Beam {
 public:
  SDTW_DEVICE Beam(const Arguments<T>& arguments, Index sample)
      : a(arguments), b(sample), K(arguments.classes), runs((arguments.classes + kRun - 1) / kRun),
        width(arguments.width),
        length(arguments.frames_of ? arguments.frames_of[sample] : arguments.frames) {
    const Index room = Index(blockIdx.x), nodes = a.frames * width + 1;
    longer = a.longer + room * width * K;
    best = a.best + room * width * runs;
    double* const scores = a.scores + room * 9 * width;
    double** const of[] = {&in_blank, &in_label, &next_blank, &next_label, &total,
                           &stay_blank, &stay_label, &stay, &picked};
    for (int k = 0; k < 9; ++k) *of[k] = scores + k * width;
    node = a.prefixes + room * 3 * width, next_node = node + width, chosen = next_node + width;
    parent = a.trie + room * 3 * nodes, label = parent + nodes, place = label + nodes;
    table = a.table + (room << a.bits);
  }

  SDTW_DEVICE void run() {
    SDTW_SHARED(Index, ranks, 1);  // how many candidates were picked
    begin();
    bool strange = false;
    for (Index t = 0; t < length && size > 0 && !strange; ++t) {
      row = a.log_probs + (b * a.frames + t) * K;
      stay_all();
      block_barrier();
      strange = go_on_all();
      block_barrier();
      add_up();
      block_barrier();
      for (Index run = warp_of_thread(); run < size * runs; run += warps_of_block()) find_best(run);
      strange = any_thread(strange);  // a barrier, too
      if (warp_of_thread() == 0) {
        const Index picks = pick();
        if (threadIdx.x == 0) ranks[0] = picks;
      }
      block_barrier();
      advance(t, ranks[0]);
      block_barrier();
    }
    if (warp_of_thread() == 0) finish(strange);
  }

 private:
  const Arguments<T>& a;
  const Index b, K, runs, width, length;
  Index size = 1;  // prefixes in the beam
  const T* row = nullptr;  // log-probabilities of the frame
  double *longer, *best;
  // Of each prefix: log-probabilities of ending in a blank, in its label, in either; those of staying, and their
  // score. Of each rank: the score that was picked.
  double *in_blank, *in_label, *next_blank, *next_label, *total, *stay_blank, *stay_label, *stay, *picked;
  Index *node, *next_node, *chosen;  // of each prefix; of each rank; the candidate that was picked
  Index *parent, *label, *place, *table;

  SDTW_DEVICE static double never() { return -Real<double>::infinity(); }
  SDTW_DEVICE double log_prob(Index k) const { return double(row[k]); }

  // The empty prefix is in the beam, no other is known.
  SDTW_DEVICE void begin() {
    for (Index s = threadIdx.x; s < Index(1) << a.bits; s += blockDim.x) table[s] = 0;
    if (threadIdx.x == 0) {
      node[0] = 0, in_blank[0] = 0, in_label[0] = never();
      parent[0] = label[0] = -1;
    }
  }

  SDTW_DEVICE void stay_all() {
    for (Index w = threadIdx.x; w < size; w += blockDim.x) {
      const Index last = label[node[w]];
      total[w] = log_add(in_blank[w], in_label[w]);
      stay_blank[w] = total[w] + log_prob(a.blank);
      stay_label[w] = last >= 0 ? in_label[w] + log_prob(last) : never();
      place[node[w]] = w;
    }
  }

  // Every prefix goes on by every label, by its last one only after a blank. Returns whether a number that the thread
  // has met is none.
  SDTW_DEVICE bool go_on_all() {
    bool strange = false;
    for (Index run = warp_of_thread(); run < size * runs; run += warps_of_block()) {
      const Index w = run / runs, last = label[node[w]], end = end_of(run);
      for (Index k = run % runs * kRun + lane_of_thread(); k < end; k += kWarp) {
        const double x = log_prob(k);
        strange |= !(x < Real<double>::infinity());
        longer[w * K + k] = k == a.blank ? never() : (k == last ? in_blank[w] : total[w]) + x;
      }
    }
    return strange;
  }

  // A longer prefix that is in the beam already is the same sequence: their paths are added up.
  SDTW_DEVICE void add_up() {
    for (Index w = threadIdx.x; w < size; w += blockDim.x) {
      const Index shorter = node[w] > 0 ? parent[node[w]] : -1, v = shorter >= 0 ? place[shorter] : -1;
      if (v >= 0 && v < size && node[v] == shorter) {
        double& same = longer[v * K + label[node[w]]];
        stay_label[w] = log_add(stay_label[w], same);
        same = never();
      }
      stay[w] = log_add(stay_blank[w], stay_label[w]);
    }
  }

  // Run r has the labels [r % runs * kRun, end_of(r)) behind prefix r / runs.
  SDTW_DEVICE Index end_of(Index run) const { return min2(K, (run % runs + 1) * kRun); }
  SDTW_DEVICE double* scores_of(Index run) const { return longer + run / runs * K + run % runs * kRun; }
  SDTW_DEVICE Index size_of(Index run) const { return end_of(run) - run % runs * kRun; }

  SDTW_DEVICE void find_best(Index run) {
    const double* const scores = scores_of(run);
    double high = never();
    for (Index k = lane_of_thread(); k < size_of(run); k += kWarp) high = max2(scores[k], high);
    high = over_lanes(high, Largest());
    if (lane_of_thread() == run % kWarp) best[run] = high;
  }

  // The first of n numbers that is x; n if there is none.
  SDTW_DEVICE Index find(const double* numbers, Index n, double x) const {
    Index found = n;
    for (Index k = lane_of_thread(); k < n && found == n; k += kWarp)
      if (numbers[k] == x) found = k;
    return over_lanes(found, Least());
  }

  // By the first warp. OUT chosen, picked: the best candidates, w for a prefix that stays, size + w * K + k for one that
  // goes on by k. Returns how many there are.
  SDTW_DEVICE Index pick() {
    for (Index r = 0; r < width; ++r) {
      double high = never();
      for (Index w = lane_of_thread(); w < size; w += kWarp) high = max2(stay[w], high);
      for (Index run = lane_of_thread(); run < size * runs; run += kWarp) high = max2(best[run], high);
      high = over_lanes(high, Largest());
      if (!(high > never())) return r;
      Index candidate = find(stay, size, high);
      if (candidate < size) {
        if (lane_of_thread() == candidate % kWarp) stay[candidate] = never();
      } else {
        const Index run = find(best, size * runs, high), k = find(scores_of(run), size_of(run), high);
        if (lane_of_thread() == k % kWarp) scores_of(run)[k] = never();
        find_best(run);
        candidate = size + run / runs * K + run % runs * kRun + k;
      }
      if (lane_of_thread() == r % kWarp) chosen[r] = candidate, picked[r] = high;
    }
    return width;
  }

  // The candidates become the beam.
  SDTW_DEVICE void advance(Index t, Index ranks) {
    for (Index r = threadIdx.x; r < ranks; r += blockDim.x) {
      const Index c = chosen[r], v = c - size;
      if (v < 0) next_node[r] = node[c], next_blank[r] = stay_blank[c], next_label[r] = stay_label[c];
      else next_node[r] = child(node[v / K], v % K, t, r), next_blank[r] = never(), next_label[r] = picked[r];
    }
    exchange(node, next_node), exchange(in_blank, next_blank), exchange(in_label, next_label);
    size = ranks;
  }
  template <class U> SDTW_DEVICE static void exchange(U*& one, U*& other) {
    U* const before = one;
    one = other, other = before;
  }

  // The node behind `shorter` with this label: one that is known, or that of rank r after frame t.
  SDTW_DEVICE Index child(Index shorter, Index last, Index t, Index r) {
    const Index oldest = 1 + t * width, fresh = oldest + r, slots = Index(1) << a.bits;
    const UInt64 key = UInt64(shorter) * UInt64(K) + UInt64(last);
    for (Index s = Index((key * 0x9e3779b97f4a7c15ULL) >> (64 - a.bits));; s = (s + 1) % slots) {
      const Index found = Index(atomicCAS(reinterpret_cast<unsigned long long*>(table + s), 0ULL,
                                          static_cast<unsigned long long>(fresh)));
      if (found == 0) break;
      if (found < oldest && parent[found] == shorter && label[found] == last) return found;
    }
    parent[fresh] = shorter, label[fresh] = last;
    return fresh;
  }

  // By the first warp. OUT value, labels, count.
  SDTW_DEVICE void finish(bool strange) {
    double high = never();
    for (Index w = lane_of_thread(); w < size; w += kWarp)
      high = max2(total[w] = log_add(in_blank[w], in_label[w]), high);
    high = over_lanes(high, Largest());
    const Index w = find(total, size, high);
    if (lane_of_thread() != 0) return;
    const Index last = w < size && !strange ? node[w] : 0;
    Index count = 0;
    for (Index n = last; n > 0; n = parent[n]) ++count;
    a.value[b] = strange ? Real<double>::unbits(0x7ff8000000000000LL) : -high, a.count[b] = count;
    for (Index n = last; n > 0; n = parent[n]) a.labels[b * a.frames + --count] = label[n];
  }
};

// grid (any), block (whole warps). IN log_probs; WORK as many rooms as blocks; OUT value, labels, count.
template <class T> SDTW_DEVICE void beams(const Arguments<T>& a) {
  for (Index b = blockIdx.x; b < a.samples; b += gridDim.x) Beam<T>(a, b).run();
}

}  // namespace sdtw
