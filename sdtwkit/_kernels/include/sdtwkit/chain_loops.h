// The hot loops of chains, compiled once for each instruction level (chain_levels.cpp defines
// SDTW_LEVEL, SDTW_TARGET and SDTW_VECTOR_BYTES). Rows are copied to scratch of whole vectors, so that
// any number of states fills them; elementwise loops are left to the compiler, sums and maxima are
// spelled out in vectors.
#include "chain.h"
#include "vectors.h"

namespace sdtw {
namespace SDTW_LEVEL {

struct Plus {
  template <class V> SDTW_FN V operator()(const V& a, const V& b) const { return a + b; }
};
struct Larger {
  template <class V> SDTW_FN V operator()(const V& a, const V& b) const { return a > b ? a : b; }
};

// One number from the lanes of a vector, by halves.
#if defined(__GNUC__)
template <class T, int Bytes> struct Across {
  typedef T Whole __attribute__((vector_size(Bytes)));
  template <class Combine> SDTW_FN static T of(const Whole& v, Combine combine) {
    if constexpr (Bytes == 2 * sizeof(T)) {
      return combine(v[0], v[1]);
    } else {
      typename Across<T, Bytes / 2>::Whole half[2];
      std::memcpy(half, &v, Bytes);
      return Across<T, Bytes / 2>::of(combine(half[0], half[1]), combine);
    }
  }
};
template <class T, class Combine> SDTW_FN T across(const Vec<T>& v, Combine combine) {
  return Across<T, SDTW_VECTOR_BYTES>::of(v, combine);
}
#else
template <class T, class Combine> SDTW_FN T across(T v, Combine) { return v; }
#endif
template <class T> SDTW_FN Vec<T> all(T x) { return x - Vec<T>{}; }

// Over n numbers, whole vectors.
template <class T> SDTW_FN T largest(const T* x, Index n) {
  Vec<T> high = load(x);
  for (Index k = width<T>(); k < n; k += width<T>()) high = Larger()(load(x + k), high);
  return across<T>(high, Larger());
}
template <class T> SDTW_FN T sum(const T* x, Index n) {
  Vec<T> s = load(x);
  for (Index k = width<T>(); k < n; k += width<T>()) s += load(x + k);
  return across<T>(s, Plus());
}

// Rows of candidates, row + v, into whole vectors of scratch. The last vector of a row that ends within a vector
// overlaps the one before. Numbers that are NaN or too large are counted.
template <class T> struct Stage {
  const RowsBlock<T>& b;
  const Vec<T> limit;
  Vec<T> wrong;

  SDTW_FN explicit Stage(const RowsBlock<T>& block) : b(block), limit(all(block.op.limit)), wrong(Vec<T>{}) {}
  SDTW_FN void add(const T* row, T* x, Index j, Vec<T>& high) {
    const Vec<T> v = load(row + j) + load(b.v + j), zero = {};
    store(x + j, v);
    high = Larger()(v, high);
    wrong += v <= limit ? zero : all(T(1));
  }
  // The largest candidate of row i.
  SDTW_FN T row(Index i, T* x) {
    constexpr Index w = width<T>();
    const T* in = b.rows + i * b.row_stride;
    const Index S = b.states;
    Vec<T> high = all(-Real<T>::infinity());
    if (S < w) {
      T padded[w];
      for (Index j = 0; j < w; ++j) padded[j] = j < S ? in[j] : T(0);
      add(padded, x, 0, high);
    } else {
      for (Index j = 0; j + w <= S; j += w) add(in, x, j, high);
      if (S % w) add(in, x, S - w, high);
    }
    return across<T>(high, Larger());
  }
  // After the last row: results in range?
  SDTW_FN void finish() {
    for (Index i = b.first; i < b.last; ++i) {
      const T x = b.value[i] += b.shift ? b.shift[i] : T(0);
      if (!(x <= b.op.limit && (x >= -b.op.limit || x == -Real<T>::infinity()))) *b.strange = true;
    }
    if (across<T>(wrong, Plus()) > T(0)) *b.strange = true;
  }
};

template <class T> SDTW_FN void write_row(T* q, const T* w, Index S, T scale) {
  constexpr Index lanes = width<T>();
  if (S < lanes) {
    for (Index j = 0; j < S; ++j) q[j] = w[j] * scale;
    return;
  }
  for (Index j = 0; j + lanes <= S; j += lanes) store(q + j, load(w + j) * scale);
  if (S % lanes) store(q + S - lanes, load(w + S - lanes) * scale);
}

template <class T> SDTW_TARGET void hard_rows_of_chain(const RowsBlock<T>& b) {
  Stage<T> stage(b);
  for (Index i = b.first; i < b.last; ++i) {
    T* x = b.candidates;
    const T high = b.value[i] = stage.row(i, x);
    if (!b.q) continue;
    T* q = b.q + i * b.q_stride;
    std::memset(q, 0, std::size_t(b.states) * sizeof(T));
    if (!(high > -Real<T>::infinity())) continue;
    Index best = 0;  // ties: the first state
    while (best + 1 < b.states && !(x[best] == high)) ++best;
    q[best] = T(1);
  }
  stage.finish();
}

// Several rows at a time: the exponentials of short rows fill the vectors and the pipeline together.
template <class T> SDTW_TARGET void entropy_rows(const RowsBlock<T>& b) {
  const Index P = b.pitch, rows = max2(kScratch / P, Index(1));
  Stage<T> stage(b);
  for (Index begin = b.first; begin < b.last; begin += rows) {
    const Index count = min2(rows, b.last - begin);
    for (Index r = 0; r < count; ++r) {
      T* x = b.candidates + r * P;
      const T high = b.value[begin + r] = stage.row(begin + r, x), base = high > -Real<T>::infinity() ? high : T(0);
      for (Index j = 0; j < P; j += width<T>()) store(x + j, load(x + j) - base);
    }
    const Smoothing<T> op = b.op;
    const T* SDTW_RESTRICT x = b.candidates;
    T* SDTW_RESTRICT w = b.weights;
    for (Index k = 0; k < count * P; ++k) w[k] = weight(x[k], op, op.lowest);
    for (Index r = 0; r < count; ++r) {
      const T mass = sum(w + r * P, P);
      b.mass[begin + r] = mass > T(0) ? mass : T(1);  // 0 where all candidates are -inf
      if (b.q) write_row(b.q + (begin + r) * b.q_stride, w + r * P, b.states, mass > T(0) ? T(1) / mass : T(0));
    }
  }
  const T gamma = b.op.gamma;
  const T* SDTW_RESTRICT mass = b.mass;
  T* SDTW_RESTRICT value = b.value;
  for (Index i = b.first; i < b.last; ++i) value[i] += gamma * log_normal(mass[i]);
  stage.finish();
}

// The projection on the simplex by Michelot's iteration: tau rises until all candidates above it have
// mass 1 over it. It begins with those that can be in the support at all.
template <class T> SDTW_FN T threshold(const T* u, Index n) {
  const Vec<T> zero = {}, one = all(T(1));
  T tau = T(-1), count = T(n) + 1;
  for (;;) {
    Vec<T> sums = zero, counts = zero;
    const Vec<T> bar = all(tau);
    for (Index k = 0; k < n; k += width<T>()) {
      const Vec<T> v = load(u + k);
      sums += v > bar ? v : zero;
      counts += v > bar ? one : zero;
    }
    const T above = across<T>(counts, Plus());
    if (!(above < count)) return tau;
    count = above;
    tau = (across<T>(sums, Plus()) - T(1)) / count;
  }
}

template <class T> SDTW_TARGET void sparse_rows(const RowsBlock<T>& b) {
  const T never = -Real<T>::infinity(), scale = b.op.inverse_gamma;
  T *x = b.candidates, *w = b.weights;
  Stage<T> stage(b);
  for (Index i = b.first; i < b.last; ++i) {
    T* q = b.q ? b.q + i * b.q_stride : nullptr;
    const T high = b.value[i] = stage.row(i, x);
    if (!(high > never)) {
      if (q) std::memset(q, 0, std::size_t(b.states) * sizeof(T));
      continue;
    }
    for (Index j = 0; j < b.pitch; j += width<T>()) store(x + j, (load(x + j) - high) * scale);
    const T tau = threshold(x, b.pitch);
    const Vec<T> zero = {}, bar = all(tau);
    Vec<T> masses = zero, gains = zero;
    for (Index j = 0; j < b.pitch; j += width<T>()) {
      const Vec<T> u = load(x + j), p = part_above(u, bar, zero);
      masses += p;
      gains += gain_above<T>(u, bar, p, zero);
      store(w + j, p);
    }
    b.value[i] += b.op.gamma * across<T>(gains, Plus());
    // Thirds are not quite 1: over a long chain mass would drift.
    if (q) write_row(q, w, b.states, T(1) / across<T>(masses, Plus()));
  }
  stage.finish();
}

// The arguments' movement z(i) + vd, and its terms of the mean under q(i); returns their sum.
template <class T> SDTW_FN T moving(const TangentBlock<T>& b, Index i) {
  const T *SDTW_RESTRICT q = b.q + i * b.q_stride, *SDTW_RESTRICT vd = b.vd;
  T *SDTW_RESTRICT d = b.difference, *SDTW_RESTRICT p = b.term;
  if (b.z) {
    const T* SDTW_RESTRICT z = b.z + i * b.z_stride;
    for (Index j = 0; j < b.states; ++j) d[j] = z[j] + vd[j];
  } else {
    for (Index j = 0; j < b.states; ++j) d[j] = vd[j];
  }
  for (Index j = 0; j < b.states; ++j) p[j] = q[j] * d[j];
  return sum(p, b.pitch);
}

template <class T> SDTW_TARGET void tangent_rows(const TangentBlock<T>& b) {
  for (Index i = b.first; i < b.last; ++i) b.moved[i] = moving(b, i) + (b.shift ? b.shift[i] : T(0));
}

// Centring twice keeps the digits where the law is close to one-hot, as pairwise differences would.
template <class T, bool Sparse> SDTW_TARGET void curvature_rows(const TangentBlock<T>& b) {
  for (Index i = b.first; i < b.last; ++i) {
    const T mean = moving(b, i), u = b.u[i], ud = b.ud[i];
    T *SDTW_RESTRICT q = b.q + i * b.q_stride, *SDTW_RESTRICT d = b.difference, *SDTW_RESTRICT p = b.term;
    for (Index j = 0; j < b.states; ++j) p[j] = curvature_weight<Sparse>(q[j]);
    const T mass = sum(p, b.pitch);
    for (Index j = 0; j < b.states; ++j) {
      d[j] -= mean;
      p[j] *= d[j];
    }
    const T rest = mass > T(0) ? sum(p, b.pitch) / mass : T(0), scale = b.op.inverse_gamma;
    for (Index j = 0; j < b.states; ++j)
      q[j] = bent(q[j], ud, u, curvature_weight<Sparse>(q[j]), d[j] - rest, scale);
  }
}
template <class T> SDTW_TARGET void flat_rows(const TangentBlock<T>& b) {
  for (Index i = b.first; i < b.last; ++i)
    for (Index j = 0; j < b.states; ++j) b.q[i * b.q_stride + j] *= b.ud[i];
}

// `Tile` vectors of columns from j on, whose sums stay in registers.
template <class V, int Tile, bool InPlace, bool Total, class T> SDTW_FN void pull_tile(const PullBlock<T>& b, Index j) {
  constexpr Index lanes = sizeof(V) / sizeof(T);
  V s[Tile] = {};
  for (Index i = 0; i < b.states; ++i) {
    T* q = b.q + i * b.q_stride + j;
    const T u = b.u[i];
    SDTW_UNROLL
    for (int k = 0; k < Tile; ++k) {
      V e;
      std::memcpy(&e, q + k * lanes, sizeof e);
      e = e * u;
      s[k] += e;
      if (InPlace) std::memcpy(q + k * lanes, &e, sizeof e);
      if (!Total) continue;
      V t;
      T* total = b.total + i * b.total_stride + j + k * lanes;
      std::memcpy(&t, total, sizeof t);
      t += e;
      std::memcpy(total, &t, sizeof t);
    }
  }
  std::memcpy(b.sum + j, s, sizeof s);
}
template <bool InPlace, bool Total, class T> SDTW_FN void pull_all(const PullBlock<T>& b) {
  constexpr Index w = width<T>();
  Index j = b.first;
  for (; j + 4 * w <= b.last; j += 4 * w) pull_tile<Vec<T>, 4, InPlace, Total>(b, j);
  for (; j + w <= b.last; j += w) pull_tile<Vec<T>, 1, InPlace, Total>(b, j);
  for (; j < b.last; ++j) pull_tile<T, 1, InPlace, Total>(b, j);
}
template <class T> SDTW_TARGET void pull_columns(const PullBlock<T>& b) {
  if (b.in_place) pull_all<true, false>(b);
  else if (b.total) pull_all<false, true>(b);
  else pull_all<false, false>(b);
}

template <class T> SDTW_TARGET T relative_to_largest(const T* x, Index n, T* v) {
  const T high = largest(x, n), base = high > -Real<T>::infinity() ? high : T(0);
  for (Index k = 0; k < n; ++k) v[k] = x[k] - base;
  return high;
}
template <class T> SDTW_TARGET void normalised(const T* x, Index n, T* out) {
  const T mass = sum(x, n), scale = mass > T(0) ? T(1) / mass : T(1);
  for (Index k = 0; k < n; ++k) out[k] = x[k] * scale;
}

template <class T> SDTW_TARGET void weights_of(const T* x, T base, Index n, const Smoothing<T>& op, T* out) {
  const Smoothing<T> smoothing = op;
  const T *SDTW_RESTRICT in = x;
  T* SDTW_RESTRICT w = out;
  for (Index k = 0; k < n; ++k) w[k] = weight(in[k] - base, smoothing, smoothing.faint);
}
template <class T>
SDTW_TARGET void logs_of(const T* y, const T* base, const T* shift, Index n, const Smoothing<T>& op, T* out) {
  const T gamma = op.gamma;
  T* SDTW_RESTRICT v = out;
  for (Index k = 0; k < n; ++k) v[k] = (base[k] + gamma * log_normal(y[k])) + shift[k];
}

template <int Tile, class T> SDTW_FN void product_tile(const T* m, Index pitch, const T* a, Index count, T* y) {
  Vec<T> s[Tile] = {};
  for (Index r = 0; r < count; ++r, m += pitch) {
    SDTW_UNROLL
    for (int k = 0; k < Tile; ++k) s[k] += a[r] * load(m + k * width<T>());
  }
  SDTW_UNROLL
  for (int k = 0; k < Tile; ++k) store(y + k * width<T>(), s[k]);
}
template <class T>
SDTW_TARGET void matrix_product(const T* m, Index pitch, const T* a, Index count, Index first, Index last, T* y) {
  constexpr Index w = width<T>();
  Index k = first;
  for (; k + 8 * w <= last; k += 8 * w) product_tile<8>(m + k, pitch, a, count, y + k);
  for (; k + 4 * w <= last; k += 4 * w) product_tile<4>(m + k, pitch, a, count, y + k);
  for (; k < last; k += w) product_tile<1>(m + k, pitch, a, count, y + k);
}

// Two rows by four vectors of columns: their sums stay in registers.
template <int Rows, int Tile, class T>
SDTW_FN void outer_tile(const T* w, const T* a, Index count, const T* k, Index pitch, double* total) {
  Vec<T> s[Rows][Tile] = {};
  for (Index c = 0; c < count; ++c, w += pitch, a += pitch) {
    SDTW_UNROLL
    for (int t = 0; t < Tile; ++t) {
      const Vec<T> v = load(a + t * width<T>());
      SDTW_UNROLL
      for (int r = 0; r < Rows; ++r) s[r][t] += w[r] * v;
    }
  }
  for (int r = 0; r < Rows; ++r)
    for (int t = 0; t < Tile; ++t) {
      T lanes[width<T>()];
      store(lanes, s[r][t] * load(k + r * pitch + t * width<T>()));
      for (Index l = 0; l < width<T>(); ++l) total[r * pitch + t * width<T>() + l] += double(lanes[l]);
    }
}
template <class T>
SDTW_TARGET void outer_product(const T* w, const T* a, Index count, const T* k, Index states, Index pitch, Index first,
                               Index last, double* total) {
  constexpr Index lanes = width<T>();
  for (Index i = 0; i < states; i += 2) {
    const bool two = i + 1 < states;
    const T* row = k + i * pitch;
    double* out = total + i * pitch;
    Index j = first;
    for (; j + 4 * lanes <= last; j += 4 * lanes) {
      if (two) outer_tile<2, 4>(w + i, a + j, count, row + j, pitch, out + j);
      else outer_tile<1, 4>(w + i, a + j, count, row + j, pitch, out + j);
    }
    for (; j < last; j += lanes) {
      if (two) outer_tile<2, 1>(w + i, a + j, count, row + j, pitch, out + j);
      else outer_tile<1, 1>(w + i, a + j, count, row + j, pitch, out + j);
    }
  }
}

template <class T> const ChainLoops<T>& chain_table() {
  static const ChainLoops<T> loops = [] {
    ChainLoops<T> table = {};
    table.rows[kHard] = hard_rows_of_chain<T>;
    table.rows[kEntropy] = entropy_rows<T>;
    table.rows[kSparse] = sparse_rows<T>;
    table.tangents = tangent_rows<T>;
    table.curvature[kHard] = flat_rows<T>;
    table.curvature[kEntropy] = curvature_rows<T, false>;
    table.curvature[kSparse] = curvature_rows<T, true>;
    table.pull = pull_columns<T>;
    table.relative = relative_to_largest<T>;
    table.normalise = normalised<T>;
    table.weights = weights_of<T>;
    table.logs = logs_of<T>;
    table.product = matrix_product<T>;
    table.outer = outer_product<T>;
    table.vector_lanes = width<T>();
    return table;
  }();
  return loops;
}

}  // namespace SDTW_LEVEL
}  // namespace sdtw
