// The cells of one step of the coupled GRU (gru_cell.h). Included once for each instruction level, like strip_loops.h:
// SDTW_LEVEL names the namespace, SDTW_TARGET the target attribute, and what the loops call is always_inline.
#include "gru.h"

namespace sdtw {
namespace SDTW_LEVEL {

// One side of a pair: c, and where it moves the state to (pre) or by how much (leak, add).
template <class T, bool Moves>
SDTW_NOINLINE SDTW_TARGET void couple_lanes(Index H, T strength, T* SDTW_RESTRICT c, const T* SDTW_RESTRICT bias,
                                            const T* SDTW_RESTRICT from_own, const T* SDTW_RESTRICT from_other,
                                            const T* SDTW_RESTRICT own, const T* SDTW_RESTRICT other,
                                            T* SDTW_RESTRICT out) {
  for (Index i = 0; i < H; ++i) {
    const T gate = coupling_gate(c[i], bias[i], from_own[i], from_other[i]);
    const T k = pull(strength, gate, own[i], other[i]);
    c[i] = gate;
    out[i] = Moves ? own[i] + k : k;
  }
}

template <class T, int C> SDTW_TARGET void couple(const Gru<T>& g, Index t) {
  const Index H = g.hidden, done = g.active[t];
  for (int a = 0; a < 2; ++a) {
    if (C == kPre)  // the gradient of U multiplies all of it, with zeros there, which would not silence a NaN
      std::memset(g.moved_at(a, t, done), 0, (g.pairs - done) * H * sizeof(T));
    for (Index b = 0; b < done; ++b)
      couple_lanes<T, C == kPre>(H, g.coupled(t, b) ? g.kappa : T(0), g.row_at(a, t, b), g.bias,
                                 g.scratch_at(a, b) + 3 * H, g.scratch_at(1 - a, b) + 4 * H, g.state_before(a, t, b),
                                 g.state_before(1 - a, t, b), g.moved_at(a, t, b));
  }
}

// n, r, z, u of a cell from what x and the state give, and the next state.
template <class T, int C>
SDTW_NOINLINE SDTW_TARGET void advance_lanes(Index H, T* SDTW_RESTRICT row, const T* SDTW_RESTRICT bias,
                                             const T* SDTW_RESTRICT from_state, const T* SDTW_RESTRICT own,
                                             const T* SDTW_RESTRICT moved, T* SDTW_RESTRICT next) {
  T *SDTW_RESTRICT n = row, *SDTW_RESTRICT r = row + H, *SDTW_RESTRICT z = row + 2 * H, *SDTW_RESTRICT u = row + 3 * H;
  SDTW_IVDEP
  for (Index i = 0; i < H; ++i) {
    const Cell<T> biases = {bias[i], bias[H + i], bias[2 * H + i], bias[3 * H + i]};
    const Cell<T> g = gates<T>({n[i], r[i], z[i], T(0)}, biases, from_state[i], from_state[H + i], from_state[2 * H + i]);
    const T state = next_state(g, base_of<C>(own[i], C == kNone ? T(0) : moved[i]));
    n[i] = g.n, r[i] = g.r, z[i] = g.z, u[i] = g.u;
    next[i] = C == kAdd ? state + moved[i] : state;
  }
}

template <class T, int C> SDTW_TARGET void advance(const Gru<T>& g, Index t) {
  const Index H = g.hidden, skip = C == kNone ? 0 : H;
  for (int a = 0; a < g.sides; ++a) {
    for (Index b = 0; b < g.active[t]; ++b) {
      const T* own = g.state_before(a, t, b);
      T* next = g.state_before(a, t + 1, b);
      if (g.running(a, t, b))
        advance_lanes<T, C>(H, g.row_at(a, t, b) + skip, g.bias + skip, g.scratch_at(a, b), own,
                            C == kNone ? nullptr : g.moved_at(a, t, b), next);
      else
        std::memcpy(next, own, H * sizeof(T));
    }
    const Index done = g.active[t], rest = (g.pairs - done) * H;
    std::memcpy(g.state_before(a, t + 1, done), g.state_before(a, t, done), rest * sizeof(T));
  }
}

// The derivatives inside the gates of a cell, in place of the gates; `before` receives what reaches the old state
// through z.
template <class T, int C>
SDTW_NOINLINE SDTW_TARGET void retreat_lanes(Index H, T strength, T* SDTW_RESTRICT row, T* SDTW_RESTRICT bias,
                                             const T* SDTW_RESTRICT cotangent, const T* SDTW_RESTRICT own,
                                             const T* SDTW_RESTRICT other, const T* SDTW_RESTRICT moved,
                                             T* SDTW_RESTRICT before) {
  T *SDTW_RESTRICT n = row, *SDTW_RESTRICT r = row + H, *SDTW_RESTRICT z = row + 2 * H, *SDTW_RESTRICT u = row + 3 * H;
  const T* SDTW_RESTRICT c = C == kLeak ? row - H : nullptr;
  SDTW_IVDEP
  for (Index i = 0; i < H; ++i) {
    const T q = cotangent[i], keep = z[i];
    const T shift = C == kPre ? moved[i] : C == kLeak ? pull(strength, c[i], own[i], other[i]) : T(0);
    const Cell<T> d = inside_gates<T>({n[i], r[i], keep, u[i]}, base_of<C>(own[i], shift), q);
    n[i] = d.n, r[i] = d.r, z[i] = d.z, u[i] = d.u;
    bias[i] += d.n, bias[H + i] += d.r, bias[2 * H + i] += d.z, bias[3 * H + i] += d.u;
    before[i] = q * keep;
  }
}

template <class T> SDTW_NOINLINE SDTW_TARGET void pull_together(Index H, T factor, T* SDTW_RESTRICT first,
                                                                T* SDTW_RESTRICT second, const T* SDTW_RESTRICT h1,
                                                                const T* SDTW_RESTRICT h2) {
  for (Index i = 0; i < H; ++i) {
    const T pull = factor * (h1[i] - h2[i]);
    first[i] += pull;
    second[i] -= pull;
  }
}

template <class T, int C> SDTW_TARGET void retreat(const Gru<T>& g, Index t) {
  const Index H = g.hidden, skip = C == kNone ? 0 : H;
  if (g.sync)
    for (Index b = 0; b < g.active[t]; ++b)
      if (g.running(0, t, b) && g.running(1, t, b))
        pull_together(H, g.sync[b], g.cotangent_at(0, b), g.cotangent_at(1, b), g.state_before(0, t + 1, b),
                      g.state_before(1, t + 1, b));
  for (int a = 0; a < g.sides; ++a) {
    for (Index b = 0; b < g.active[t]; ++b) {
      T *row = g.row_at(a, t, b) + skip, *before = g.before_at(a, b);
      const T* cotangent = g.cotangent_at(a, b);
      if (g.running(a, t, b)) {
        retreat_lanes<T, C>(H, g.coupled(t, b) ? g.kappa : T(0), row, g.bias_gradient + skip, cotangent,
                            g.state_before(a, t, b), C == kLeak ? g.state_before(1 - a, t, b) : nullptr,
                            C == kPre ? g.moved_at(a, t, b) : nullptr, before);
      } else {
        std::memset(row, 0, 4 * H * sizeof(T));
        std::memcpy(before, cotangent, H * sizeof(T));
      }
    }
    const Index done = g.active[t], rest = g.pairs - done;
    std::memset(g.row_at(a, t, done), 0, rest * g.row() * sizeof(T));
    std::memcpy(g.before_at(a, done), g.cotangent_at(a, done), rest * H * sizeof(T));
  }
}

// One side of a pair: from w, the derivative with respect to k, to that inside c; what k passes on to both states.
template <class T>
SDTW_NOINLINE SDTW_TARGET void uncouple_lanes(Index H, T strength, T* SDTW_RESTRICT c, T* SDTW_RESTRICT bias, const T* w,
                                              const T* SDTW_RESTRICT own, const T* SDTW_RESTRICT other,
                                              T* SDTW_RESTRICT inner_own, T* SDTW_RESTRICT inner_other,
                                              T* SDTW_RESTRICT flow) {
  for (Index i = 0; i < H; ++i) {
    const T omega = strength * w[i], gate = c[i];
    const T dc = inside_coupling(omega, gate, own[i], other[i]);
    c[i] = dc;
    bias[i] += dc;
    inner_own[i] = inner_other[i] = dc;
    flow[i] = omega * gate;
  }
}
template <class T> SDTW_NOINLINE SDTW_TARGET void exchange(Index H, T* SDTW_RESTRICT first, T* SDTW_RESTRICT second,
                                                           const T* SDTW_RESTRICT flow1, const T* SDTW_RESTRICT flow2) {
  for (Index i = 0; i < H; ++i) {
    const T net = flow1[i] - flow2[i];
    first[i] -= net;
    second[i] += net;
  }
}

// scratch: (dc own | dc of the partner) of each side, what [Uc; Vc] will be multiplied with; then the flow.
template <class T, int C> SDTW_TARGET void uncouple(const Gru<T>& g, Index t) {
  const Index H = g.hidden;
  for (Index b = 0; b < g.active[t]; ++b) {
    for (int a = 0; a < 2; ++a) {
      const T* w = C == kAdd ? g.cotangent_at(a, b) : g.before_at(a, b);
      uncouple_lanes(H, g.running(a, t, b) && g.coupled(t, b) ? g.kappa : T(0), g.row_at(a, t, b), g.bias_gradient, w,
                     g.state_before(a, t, b), g.state_before(1 - a, t, b), g.scratch_at(a, b),
                     g.scratch_at(1 - a, b) + H, g.scratch_at(a, b) + 2 * H);
    }
    exchange(H, g.before_at(0, b), g.before_at(1, b), g.scratch_at(0, b) + 2 * H, g.scratch_at(1, b) + 2 * H);
  }
}

template <class T> const GruLoops<T>& gru_table() {
  static const GruLoops<T> table = {
      {nullptr, couple<T, kPre>, couple<T, kLeak>, couple<T, kAdd>},
      {advance<T, kNone>, advance<T, kPre>, advance<T, kLeak>, advance<T, kAdd>},
      {retreat<T, kNone>, retreat<T, kPre>, retreat<T, kLeak>, retreat<T, kAdd>},
      {nullptr, uncouple<T, kPre>, uncouple<T, kLeak>, uncouple<T, kAdd>},
  };
  return table;
}

}  // namespace SDTW_LEVEL
}  // namespace sdtw
