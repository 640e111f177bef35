"""Connectionist temporal classification: label sequences without times, as one more alignment.

Frames are aligned with the states blank, y_0, blank, y_1, ..., blank; a path stays, moves on by one, or leaves out
the blank between two different labels. The value is soft-DTW of these paths with gamma = 1 and C = -log p: minus the
log-probability of the labels (Graves, Fernández, Gomez and Schmidhuber, ICML 2006; Zeitler and Müller, A unified
perspective on CTC and soft-DTW, 2026).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from .. import _arrays, _backend, _options, _words
from .._typing import Array, Lengths, Paths, Value
from .alignment import AlignmentDP

_STEPS = ((1, 0), (1, 1), (1, 2))


class CTC:
    """Connectionist temporal classification of given log-probabilities.

    Parameters
    ----------
    blank : int >= 0, default 0
        Class of the blank, "no label".
    n_jobs : int, optional
        Threads over the samples; None is one, -1 all that OpenMP would use.

    Notes
    -----
    ``log_probs`` is (B, T, K), frames along the second axis, or (T, K) for one sample: logarithms of probabilities of
    the K classes, -inf for an impossible one. They are taken as given; rows need not be normalised. ``targets`` is an
    integer array (B, M) or (M,) of labels, M may be 0. ``input_lengths`` and ``target_lengths`` are the true lengths
    within a padded batch, by default T and M; what lies beyond is never read. float32 in, float32 out.

    References
    ----------
    Graves, Fernández, Gomez and Schmidhuber, Connectionist temporal classification, ICML 2006.

    Examples
    --------
    >>> import numpy as np
    >>> from sdtwkit.dp import CTC
    >>> log_probs = np.log([[[0.5, 0.5], [0.5, 0.5]]])  # two frames; the blank and a label
    >>> np.exp(-CTC().value(log_probs, [[1]])).round(2)  # of four paths, all but blank, blank spell the label
    array([0.75])
    """

    def __init__(self, blank: int = 0, *, n_jobs: int | None = None) -> None:
        self._blank = _words.check_integer(blank, "blank", "an integer >= 0", minimum=0)
        self._n_jobs = _options.check_n_jobs(n_jobs)

    def __repr__(self):
        return f"CTC(blank={self._blank})"

    def value(
        self, log_probs: ArrayLike, targets: ArrayLike, input_lengths: Lengths = None, target_lengths: Lengths = None
    ) -> Value:
        """Minus the log-probability of each label sequence.

        Parameters
        ----------
        log_probs : array of shape (B, T, K) or (T, K)
            Logarithms of the probabilities of K classes, the blank among them, in each of T frames.
        targets : int array of shape (B, M) or (M,)
            Classes in their order, without blanks.
        input_lengths, target_lengths : None, or int array of shape (B,)
            True lengths within padded arrays.

        Returns
        -------
        value : array of shape (B,), or NumPy scalar
            +inf where too few frames, or impossible classes, leave no path.

        Raises
        ------
        TypeError, ValueError
            If arrays do not fit one another, log_probs hold NaN or +inf, or targets a class that is none or the blank.

        Examples
        --------
        >>> import numpy as np
        >>> from sdtwkit.dp import CTC
        >>> print(CTC().value(np.log([[0.5, 0.5], [0.5, 0.5]]), [1]).round(3))  # three of four paths: -log(3/4)
        0.288
        """
        batch = _arrays.as_transcripts(log_probs, input_lengths, self._blank, targets, target_lengths)
        return _answer(batch, _backend.ctc(batch, self._blank, False, self._n_jobs)[0])

    def value_and_grad(
        self, log_probs: ArrayLike, targets: ArrayLike, input_lengths: Lengths = None, target_lengths: Lengths = None
    ) -> tuple[Value, Array]:
        """Minus the log-probability of each label sequence, and its gradient with respect to the log-probabilities.

        Parameters
        ----------
        log_probs, targets, input_lengths, target_lengths
            As for `value`.

        Returns
        -------
        value : array of shape (B,), or NumPy scalar
        gradient : array of the shape of log_probs
            The partial derivative: minus the probability that a frame has the class, given the labels; each frame sums
            to -1. 0 in the padding, for infeasible samples and where a log-probability is -inf. At the logits of a
            softmax it becomes p minus that probability.

        Raises
        ------
        TypeError, ValueError
            As for `value`.

        Examples
        --------
        >>> import numpy as np
        >>> from sdtwkit.dp import CTC
        >>> value, gradient = CTC().value_and_grad(np.log([[0.5, 0.5], [0.5, 0.5]]), [1])
        >>> gradient.round(3)
        array([[-0.333, -0.667],
               [-0.333, -0.667]])
        """
        batch = _arrays.as_transcripts(log_probs, input_lengths, self._blank, targets, target_lengths)
        value, gradient = _backend.ctc(batch, self._blank, True, self._n_jobs)
        return _answer(batch, value), _answer(batch, gradient)

    def hvp(
        self,
        log_probs: ArrayLike,
        targets: ArrayLike,
        direction: ArrayLike,
        input_lengths: Lengths = None,
        target_lengths: Lengths = None,
    ) -> tuple[Value, Array]:
        """Directional derivative of the value, and the product of its Hessian with the direction.

        Parameters
        ----------
        log_probs, targets, input_lengths, target_lengths
            As for `value`.
        direction : array of the shape of log_probs, finite

        Returns
        -------
        slope : array of shape (B,), or NumPy scalar
        product : array of the shape of log_probs

        Raises
        ------
        TypeError, ValueError
            As for `value`, and if the direction does not fit.

        Notes
        -----
        Computed as the graph that it is, by the general kernel of `AlignmentDP`, with tables in float64.

        Examples
        --------
        >>> import numpy as np
        >>> from sdtwkit.dp import CTC
        >>> slope, product = CTC().hvp(np.log([[0.5, 0.5], [0.5, 0.5]]), [1], [[1.0, 0.0], [0.0, 0.0]])
        >>> product.round(3)
        array([[-0.222,  0.222],
               [ 0.111, -0.111]])
        """
        batch = _arrays.as_transcripts(log_probs, input_lengths, self._blank, targets, target_lengths)
        direction = _arrays.as_transcript_direction(direction, batch)
        if _arrays.on_device(direction):
            slope, product = _backend.ctc_products(batch, self._blank, direction)
            return _answer(batch, slope), _answer(batch, product)
        slope, product = np.zeros(len(direction), batch.dtype), np.zeros_like(batch.log_probs)
        for b, (n, m) in enumerate(zip(batch.frames.tolist(), batch.lengths.tolist(), strict=True)):
            states = _states(batch.targets[b, :m], self._blank)
            rows = np.broadcast_to(states, (n, len(states)))
            costs = -np.take_along_axis(batch.log_probs[b, :n], rows, axis=1)
            moves = -np.take_along_axis(direction[b, :n], rows, axis=1)
            slope[b], along = _graph(states, n).hvp(costs, np.where(costs < np.inf, moves, 0))
            np.subtract.at(product[b, :n].T, states, along.T)
        return _answer(batch, slope), _answer(batch, product)

    def decode(self, log_probs: ArrayLike, input_lengths: Lengths = None, beam_width: int = 1) -> tuple[Paths, Value]:
        """Most probable labels.

        Parameters
        ----------
        log_probs, input_lengths
            As for `value`.
        beam_width : int >= 1, default 1
            1: the best class of each frame, repetitions merged and blanks dropped. More: prefix beam search, which adds
            up the paths of a label sequence and keeps that many sequences a frame; among equal ones those that stay,
            then the lowest label.

        Returns
        -------
        labels : list of B int64 arrays, or one array
        value : array of shape (B,), or NumPy scalar
            Minus the log-probability: of the one best path for beam_width 1, of the label sequence, as far as its paths
            were kept, for more.

        Raises
        ------
        TypeError, ValueError
            As for `value`, and if beam_width < 1.

        References
        ----------
        Hannun, Maas, Jurafsky and Ng, First-pass large vocabulary continuous speech recognition using bi-directional
        recurrent DNNs, 2014.

        Examples
        --------
        >>> import numpy as np
        >>> from sdtwkit.dp import CTC
        >>> log_probs = np.log([[0.6, 0.4], [0.6, 0.4]])
        >>> CTC().decode(log_probs)[0], CTC().decode(log_probs, beam_width=2)[0]
        (array([], dtype=int64), array([1]))
        """
        beam_width = _words.check_count(beam_width, "beam_width")
        batch = _arrays.as_frames(log_probs, _arrays.on_host(input_lengths), self._blank)
        if _arrays.on_device(batch.log_probs):
            if beam_width == 1:
                labels, values = _best_paths_on_device(batch, self._blank)
            else:
                labels, values = _beams_on_device(batch, self._blank, beam_width)
            return (labels[0] if batch.single else labels), _answer(batch, values)
        found = []
        for frames, n in zip(batch.log_probs, batch.frames.tolist(), strict=True):
            if beam_width == 1:
                found.append(_best_path(frames[:n], self._blank))
            else:
                found.append(_beam_search(np.float64(frames[:n]), self._blank, beam_width))
        labels, values = [labels for labels, _ in found], np.array([value for _, value in found], batch.dtype)
        return (labels[0] if batch.single else labels), _answer(batch, values)


def _answer(batch, results):
    return results[0] if batch.single else results


def _states(labels, blank):
    """blank, y_0, blank, y_1, ..., blank."""
    states = np.full(2 * len(labels) + 1, blank)
    states[1::2] = labels
    return states


def _graph(states, n):
    """CTC as a graph: transitions, two first and two last states."""
    m = len(states)
    mask = np.ones((n, m, 3), bool)
    mask[:, 2:, 2] = states[2:] != states[:-2]  # blanks stand at equal distances, and equal labels need one between
    begin, end = np.zeros((n, m), bool), np.zeros((n, m), bool)
    begin[0, :2] = end[-1, -2:] = True
    return AlignmentDP(steps=_STEPS, step_mask=mask, open_begin=begin, open_end=end)


def _best_path(frames, blank):
    """Labels of the best class of each frame, and minus the log-probability of that path."""
    return _labels(frames.argmax(axis=1), blank), -frames.max(axis=1).sum(dtype=np.float64)


def _best_paths_on_device(batch, blank):
    """The same of all samples of a batch; waits for the classes, for how many labels there are is theirs to tell."""
    log_probs = batch.log_probs
    with _arrays.device_of(log_probs):
        best, inside = log_probs.max(axis=2), _arrays.within(batch.frames, log_probs.shape[1], log_probs)
        values = -(best if inside is None else np.where(inside, best, 0)).sum(axis=1, dtype=np.float64)
        classes = zip(_arrays.on_host(log_probs.argmax(axis=2)), batch.frames.tolist(), strict=True)
        labels = [_arrays.beside(_labels(row[:n], blank), log_probs) for row, n in classes]
    return labels, values.astype(batch.dtype)


def _beams_on_device(batch, blank, width):
    """What `_beam_search` finds in all samples of a batch; waits for how many labels there are."""
    labels, count, values = _backend.ctc_beams(batch, blank, width)
    with _arrays.device_of(labels):
        return [row[:n].copy() for row, n in zip(labels, _arrays.on_host(count), strict=True)], values


def _labels(classes, blank):
    """Classes of the frames, repetitions merged and blanks dropped."""
    changes = np.concatenate(([True], classes[1:] != classes[:-1]))
    return classes[changes & (classes != blank)]


class _Beam:
    """Prefixes by number: their last label and the prefix before it; number 0 is the empty one."""

    def __init__(self):
        self.parent, self.label, self.known = [-1], [-1], {}

    def child(self, prefix, label):
        number = self.known.setdefault((prefix, label), len(self.parent))
        if number == len(self.parent):
            self.parent.append(prefix)
            self.label.append(label)
        return number

    def labels(self, prefix):
        found = []
        while prefix:
            found.append(self.label[prefix])
            prefix = self.parent[prefix]
        return np.array(found[::-1], dtype=np.int64)


def _beam_search(frames, blank, width):
    """Labels of the most probable prefix, and minus its log-probability.

    Of each prefix the probabilities of ending in a blank and in its last label are kept apart, since only after a blank
    the same label starts anew.
    """
    beam = _Beam()
    prefixes, in_blank, in_label = np.zeros(1, int), np.zeros(1), np.full(1, -np.inf)
    for row in frames:
        last = np.array([beam.label[p] for p in prefixes])
        total = np.logaddexp(in_blank, in_label)
        # Every prefix goes on by every label, and stays.
        longer = total[:, None] + row
        repeats = np.flatnonzero(last >= 0)
        longer[repeats, last[repeats]] = in_blank[repeats] + row[last[repeats]]
        longer[:, blank] = -np.inf
        stay_blank = total + row[blank]
        stay_label = np.where(last >= 0, in_label + row[last], -np.inf)
        # A longer prefix that is in the beam already is the same sequence: their paths are added up.
        where = {p: w for w, p in enumerate(prefixes.tolist())}
        for w, p in enumerate(prefixes.tolist()):
            shorter = where.get(beam.parent[p])
            if shorter is not None:
                stay_label[w] = np.logaddexp(stay_label[w], longer[shorter, last[w]])
                longer[shorter, last[w]] = -np.inf
        scores = np.concatenate((np.logaddexp(stay_blank, stay_label), longer.ravel()))
        best = np.argsort(-scores, kind="stable")[:width]
        best = best[scores[best] > -np.inf]
        if not len(best):
            return np.zeros(0, np.int64), np.inf
        stays = best < len(prefixes)
        w, k = np.divmod(np.maximum(best - len(prefixes), 0), frames.shape[1])
        old = np.where(stays, best, 0)
        children = [
            prefixes[o] if stay else beam.child(int(prefixes[v]), int(c))
            for stay, o, v, c in zip(stays, old, w, k, strict=True)
        ]
        in_blank = np.where(stays, stay_blank[old], -np.inf)
        in_label = np.where(stays, stay_label[old], scores[best])
        prefixes = np.array(children)
    total = np.logaddexp(in_blank, in_label)
    best = int(np.argmax(total))
    return beam.labels(int(prefixes[best])), -total[best]
