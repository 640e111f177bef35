// States with their tangents, as kernels hand them on through registers and device memory.
#pragma once
#include "device.h"

namespace sdtw {

// A state, and its tangent where one is wanted.
template <class Op, bool Tangents> struct Node {
  typename Op::State state;
  SDTW_DEVICE typename Op::Scalar moved() const { return 0; }
  SDTW_DEVICE void move(typename Op::Scalar) {}
};
template <class Op> struct Node<Op, true> {
  typename Op::State state;
  typename Op::Scalar tangent;
  SDTW_DEVICE typename Op::Scalar moved() const { return tangent; }
  SDTW_DEVICE void move(typename Op::Scalar by) { tangent = by; }
};
template <class N, class State, class T> SDTW_DEVICE N node(State state, T tangent) {
  N n;
  n.state = state;
  n.move(tangent);
  return n;
}
template <class Op> SDTW_DEVICE Node<Op, false> load_node(const Node<Op, false>* p) { return {load_fresh(&p->state)}; }
template <class Op> SDTW_DEVICE Node<Op, true> load_node(const Node<Op, true>* p) {
  return {load_fresh(&p->state), load_fresh(&p->tangent)};
}
template <class Op> SDTW_DEVICE void store_node(Node<Op, false>* p, const Node<Op, false>& n) {
  store_through(&p->state, n.state);
}
template <class Op> SDTW_DEVICE void store_node(Node<Op, true>* p, const Node<Op, true>& n) {
  store_through(&p->state, n.state);
  store_through(&p->tangent, n.tangent);
}

}  // namespace sdtw
