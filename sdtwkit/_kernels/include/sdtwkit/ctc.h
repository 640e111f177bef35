// Connectionist temporal classification (Graves et al. 2006; math-alignment page, section 10):
// the alignment of frames with the states blank, y_0, blank, y_1, ..., blank by the steps (1,0),
// (1,1) and, into a label that differs from the one before, (1,2); gamma is 1, C = -log p.
//
// Every step moves on by one frame, so that the states of a frame do not depend on each other:
// lanes run over the targets. Blanks and labels are kept apart. Blank k stands before label k;
// it is reached from itself and from label k - 1, and label k from itself, from blank k and from
// label k - 1, so that all loads are contiguous, and the cost of the blank is one number a frame.
#pragma once
#include "ctc_cell.h"
#include "strip.h"

namespace sdtw {

struct CtcRequest {
  bool single_precision = false;
  std::int64_t samples = 0, frames = 0, classes = 0, targets = 0, blank = 0;
  const void* log_probs = nullptr;          // IN  (samples, frames, classes)
  const std::int64_t* target = nullptr;     // IN  (samples, targets)
  const std::int64_t *frames_of = nullptr, *targets_of = nullptr;  // IN  (samples,) true lengths
  void* value = nullptr;                    // OUT (samples,)
  void* gradient = nullptr;                 // OUT (samples, frames, classes), zero on entry; null: not wanted
  int threads = 1, level = 0;
  int (*interrupted)() = nullptr;
};

// One sample. Rows of lanes have `pitch` entries: targets + 1, rounded up to kLanes.
template <class T> struct CtcBlock {
  Index frames, targets, pitch, classes;
  OperatorParameters<T> op;
  const T* log_probs;           // IN  (frames, classes)
  const std::int32_t* lane_class;  // IN  (pitch,) class of the label, beyond the last one the blank
  T* cost;                      // OUT (frames, pitch) of the labels, +inf beyond the last one; then IN
  T* blank_cost;                // OUT (frames,); then IN
  T largest;                    // OUT the largest finite |cost|
  const T* skip;                // IN  (pitch,) 1 where a label may follow the one before without a blank, else 0
  Field<T> label[2], blank[2];  // IN/OUT  frame t lives in [t % 2]; before label: kLanes that are never reached
  Three<T*> into_label;         // OUT (frames, pitch) probabilities to have stayed, come from the blank, from a label
  T *blank_stayed, *blank_left; // OUT (frames, pitch) to have stayed in the blank, come from the label before it
  T *visits, *blank_visits;     // IN/OUT (pitch + kLanes,) of the last frame; zeros beyond the states
  const std::int64_t* target;   // IN  (targets,)
  Index blank_class;
  T* gradient;                  // OUT (frames, classes), zero on entry
};

}  // namespace sdtw
