// One frame of CTC for a blank and the label behind it; ctc.h says which states reach which.
#pragma once
#include "recursion.h"

namespace sdtw {

template <class State, class T> struct CtcCell {
  Reduced<State, T> label;  // left: it stayed, diag: it came from the blank, up: from the label before
  State blank;
  T stayed, left;           // the blank stayed; it came from the label before
};

// same, between, previous: the label, the blank and the label before it, one frame ago. An infinite cost forbids the
// label, and the blank where it is not possible.
template <class Op, class T = typename Op::Scalar>
SDTW_FN CtcCell<typename Op::State, T> ctc_cell(const Op& op, typename Op::State same, typename Op::State between,
                                                typename Op::State previous, bool skips, T cost, bool possible,
                                                T blank_cost) {
  const auto label = forward_cell<true, false>(op, same, between, select(skips, previous, op.unreachable()), cost,
                                               Three<T>{1, 1, 1});
  const auto blank = op.reduce(between, previous);
  return {label, select(possible, op.arrive(blank.state, blank_cost), op.unreachable()), blank.first, blank.second};
}

}  // namespace sdtw
