// The passes over all steps of a coupled GRU: matrix products from BLAS, the cells from the loops of a level.
//
// The two sides are multiplied in calls of their own, alike to the last number: what BLAS rounds how depends on the
// size of a product and on the place in it, and equal sequences must stay equal. One call for both took a fifth less
// of a step's time at 32 pairs.
#include "sdtwkit/gru.h"

#include <utility>

#define SDTW_LEVEL baseline
#define SDTW_TARGET
#include "sdtwkit/gru_loops.h"
#undef SDTW_LEVEL
#undef SDTW_TARGET
#if defined(__x86_64__) && defined(__GNUC__)
#define SDTW_LEVEL avx2
#define SDTW_TARGET SDTW_AVX2
#include "sdtwkit/gru_loops.h"
#undef SDTW_LEVEL
#undef SDTW_TARGET
#define SDTW_LEVEL avx512
#define SDTW_TARGET SDTW_AVX512
#include "sdtwkit/gru_loops.h"
#endif

namespace sdtw {
namespace {

template <class T> const GruLoops<T>& loops_of(int level) {
#if defined(__x86_64__) && defined(__GNUC__)
  if (level == 1) return avx2::gru_table<T>();
  if (level == 2) return avx512::gru_table<T>();
#endif
  (void)level;
  return baseline::gru_table<T>();
}

// A matrix by rows: its first number, and the distance of two rows.
template <class T> struct Rows {
  const T* data;
  Index pitch;
};

// out (m, n) = left (m, k) right (k, n) + beta out; a transposed factor lies as (k, m) or (n, k). BLAS counts by
// columns, hence computes the transposed product.
template <class T>
void multiply(const Gru<T>& g, Index m, Index n, Index k, Rows<T> left, bool left_transposed, Rows<T> right,
              bool right_transposed, T beta, T* out, Index out_pitch) {
  if (m == 0) return;
  char first = right_transposed ? 'T' : 'N', second = left_transposed ? 'T' : 'N';
  int rows = static_cast<int>(n), columns = static_cast<int>(m), inner = static_cast<int>(k);
  int right_pitch = static_cast<int>(right.pitch), left_pitch = static_cast<int>(left.pitch);
  int pitch = static_cast<int>(out_pitch);
  T one = 1;
  reinterpret_cast<typename Gru<T>::Gemm>(g.gemm)(&first, &second, &rows, &columns, &inner, &one,
                                                  const_cast<T*>(right.data), &right_pitch, const_cast<T*>(left.data),
                                                  &left_pitch, &beta, out, &pitch);
}

}  // namespace

template <class T> void gru_forward(const Gru<T>& g) {
  const GruLoops<T>& loops = loops_of<T>(g.level);
  const Index H = g.hidden, width = g.state_width(), cells = g.steps * g.pairs;
  const Rows<T> input_weights = {g.input_weights, g.channels};
  for (int a = 0; a < g.sides; ++a)
    multiply<T>(g, cells, g.inputs(), g.channels, {g.x + a * cells * g.channels, g.channels}, false, input_weights,
                true, 0, g.row_at(a, 0, 0), g.row());
  // What the old states give: [U; Uc; Vc] h at once, but for "pre", whose U waits for the moved states.
  const bool pre = g.coupling == kPre;
  const Index first = pre ? 3 * H : 0;
  for (Index t = 0; t < g.steps; ++t) {
    const Index n = g.active[t];
    for (int a = 0; a < g.sides; ++a)
      multiply<T>(g, n, width - first, H, {g.state_before(a, t, 0), H}, false, {g.state_weights + first * H, H}, true, 0,
                  g.scratch_at(a, 0) + first, width);
    if (g.coupling != kNone) loops.couple[g.coupling](g, t);
    for (int a = 0; a < g.sides && pre; ++a)
      multiply<T>(g, n, first, H, {g.moved_at(a, t, 0), H}, false, {g.state_weights, H}, true, 0, g.scratch_at(a, 0),
                  width);
    loops.advance[g.coupling](g, t);
  }
}

template <class T> void gru_backward(const Gru<T>& given) {
  Gru<T> g = given;
  const GruLoops<T>& loops = loops_of<T>(g.level);
  const Index H = g.hidden, d = g.channels, row = g.row(), cells = g.steps * g.pairs, width = g.state_width();
  const bool coupled = g.coupling != kNone, pre = g.coupling == kPre;
  const Index state_side = row - 3 * H;
  for (Index t = g.steps - 1; t >= 0; --t) {
    const Index n = g.active[t];
    loops.retreat[g.coupling](g, t);
    if (coupled && !pre) loops.uncouple[g.coupling](g, t);
    for (int a = 0; a < g.sides; ++a)
      multiply<T>(g, n, H, 3 * H, {g.row_at(a, t, 0) + state_side, row}, false, {g.state_weights, H}, false, 1,
                  g.before_at(a, 0), H);
    if (pre) loops.uncouple[g.coupling](g, t);
    for (int a = 0; a < g.sides && coupled; ++a)
      multiply<T>(g, n, H, 2 * H, {g.scratch_at(a, 0), width}, false, {g.state_weights + 3 * H * H, H}, false, 1,
                  g.before_at(a, 0), H);
    std::swap(g.cotangent, g.before);
  }
  for (int a = 0; a < g.sides; ++a) {
    const T beta = a ? 1 : 0;
    const Rows<T> rows = {g.row_at(a, 0, 0), row}, states = {g.state_before(a, 0, 0), H};
    const Rows<T> state_rows = {rows.data + state_side, row}, moved = {pre ? g.moved_at(a, 0, 0) : states.data, H};
    multiply<T>(g, cells, d, g.inputs(), rows, false, {g.input_weights, d}, false, 0, g.x_gradient + a * cells * d, d);
    multiply<T>(g, g.inputs(), d, cells, rows, true, {g.x + a * cells * d, d}, false, beta, g.input_gradient, d);
    multiply<T>(g, 3 * H, H, cells, state_rows, true, moved, false, beta, g.state_gradient, H);
    if (!coupled) continue;
    multiply<T>(g, H, H, cells, rows, true, states, false, beta, g.state_gradient + 3 * H * H, H);
    multiply<T>(g, H, H, cells, rows, true, {g.state_before(1 - a, 0, 0), H}, false, beta,
                g.state_gradient + 4 * H * H, H);
  }
}

template void gru_forward(const Gru<float>&);
template void gru_forward(const Gru<double>&);
template void gru_backward(const Gru<float>&);
template void gru_backward(const Gru<double>&);

}  // namespace sdtw
