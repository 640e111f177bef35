"""Linear-chain models that label every time step of a sequence.

Scores of labels are linear in the features of a step, scores of moves between labels are a table; smoothed Viterbi
(`sdtwkit.dp.ChainDP`) turns them into a law of label sequences. Trained by maximum likelihood under entropy smoothing
this is a conditional random field; the other three losses are those of Mensch & Blondel (2018, section 4).

Features in CuPy arrays stay on their device. The search is the host's: each evaluation sends the weights and fetches
one value and one gradient.
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Mapping
from numbers import Integral
from typing import Any, Literal, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.feature_extraction import DictVectorizer
from sklearn.utils.validation import check_is_fitted

from . import _arrays, _options, _words
from ._typing import Array, Lengths, RandomState
from .dp import ChainDP

_CHUNK = 2**22  # scores in a padded batch of sequences
_LEAST_PROBABILITY = 1e-300  # its logarithm and its inverse are finite


class LinearChainCRF(BaseEstimator):
    """Linear-chain conditional random field, and its sparse and its relaxed relatives.

    With scores theta(t, i, j) = <coef[i], x_t> + intercept[i] + transition[i, j] of moving into label i from label j,
    the mean over the sequences of one of these losses, plus alpha / 2 times the sum of the squared coefficients and
    transitions, is minimised:

    * surrogate: value(theta) - score of the true labels, with the smoothed value of `ChainDP`. For "entropy" this is
      the negative log-likelihood of a conditional random field.
    * relaxed: a loss on the marginals of the labels, - sum_t log P(y_t) for "entropy" and sum_t |P_t - Y_t|^2 / 2 for
      "l2", Y_t one-hot.

    Parameters
    ----------
    regularizer : {"entropy", "l2"}
        Smoothing of the law of sequences; under "l2" marginals have exact zeros.
    loss : {"surrogate", "relaxed"}
        The surrogate is convex.
    alpha : float >= 0, default 1e-3
        Strength of the penalty on `coef_` and `transition_`.
    max_iter : int >= 1, default 100
        Iterations of L-BFGS, or passes of Adam over the sequences.
    tol : float >= 0, default 1e-5
        L-BFGS stops where no entry of the gradient is larger.
    solver : {"lbfgs", "adam"}
        L-BFGS sees all sequences at each step, Adam batches of them.
    learning_rate : float > 0, default 0.01
        Step size of Adam.
    batch_size : int >= 1, default 32
        Sequences in a batch of Adam.
    vectorizer : object, optional
        What turns tokens that are dicts of features into a matrix; None is ``DictVectorizer()``. A clone of it is
        fitted.
    warm_start : bool, default False
        Begin at the solution of the last `fit`, which must have had the same labels and features.
    verbose : bool, default False
        Print the objective after each iteration.
    random_state : None, int, Generator or RandomState
        Order of the batches of Adam.
    n_jobs : int, optional
        Threads over the sequences; None is 1, -1 all. No result depends on the number.

    Attributes
    ----------
    classes_ : array of shape (S,)
        Labels, sorted.
    coef_ : array of shape (S, d)
    intercept_ : array of shape (S,)
    transition_ : array of shape (S, S)
        transition_[i, j] scores the move into classes_[i] from classes_[j].
    objective_ : float
        The objective at the solution; with Adam the mean over the batches of the last pass.
    n_iter_ : int
    n_features_in_ : int
    vectorizer_ : object
        Fitted, where tokens were dicts.

    Notes
    -----
    Features may be CuPy arrays; `coef_`, `intercept_`, `transition_` and the marginals are CuPy arrays then, and labels
    are NumPy's still.

    References
    ----------
    Lafferty, McCallum and Pereira, Conditional random fields, ICML 2001.
    Mensch and Blondel, Differentiable dynamic programming for structured prediction and attention, ICML 2018.

    Examples
    --------
    >>> from sdtwkit import LinearChainCRF
    >>> X = [[{"word": "the"}, {"word": "dog"}, {"word": "runs"}], [{"word": "dogs"}, {"word": "run"}]]
    >>> y = [["det", "noun", "verb"], ["noun", "verb"]]
    >>> crf = LinearChainCRF().fit(X, y)
    >>> crf.predict([[{"word": "the"}, {"word": "dogs"}, {"word": "run"}]])
    [array(['det', 'noun', 'verb'], dtype='<U4')]
    """

    classes_: NDArray[Any]
    coef_: Array

    def __init__(
        self,
        regularizer: Literal["entropy", "l2"] = "entropy",
        *,
        loss: Literal["surrogate", "relaxed"] = "surrogate",
        alpha: float = 1e-3,
        max_iter: int = 100,
        tol: float = 1e-5,
        solver: Literal["lbfgs", "adam"] = "lbfgs",
        learning_rate: float = 0.01,
        batch_size: int = 32,
        vectorizer: Any = None,
        warm_start: bool = False,
        verbose: bool = False,
        random_state: RandomState = None,
        n_jobs: int | None = None,
    ) -> None:
        self.regularizer = regularizer
        self.loss = loss
        self.alpha = alpha
        self.max_iter = max_iter
        self.tol = tol
        self.solver = solver
        self.learning_rate = learning_rate
        self.batch_size = batch_size
        self.vectorizer = vectorizer
        self.warm_start = warm_start
        self.verbose = verbose
        self.random_state = random_state
        self.n_jobs = n_jobs

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.target_tags.required = True
        tags.input_tags.sparse = True
        tags.input_tags.three_d_array = True
        return tags

    def fit(self, X: Any, y: Any, *, lengths: Lengths = None) -> Self:
        """Learn the scores of labels and moves.

        Parameters
        ----------
        X : list of sequences, or array of shape (B, T, d)
            A sequence is an array or a scipy.sparse matrix (T_i, d), or a list of T_i dicts of features.
        y : list of B sequences of T_i labels, or array of shape (B, T) padded as X
        lengths : array of B integers, optional
            True lengths within a padded array.

        Returns
        -------
        self

        Raises
        ------
        TypeError, ValueError
            If a parameter is none of those above, or the sequences and the labels do not fit.
        """
        self._check_parameters()
        rows, sizes = self._read(X, lengths, reset=True)
        labels = _read_labels(y, sizes, _padded_length(X))
        classes, codes = np.unique(labels, return_inverse=True)
        warm = self.warm_start and hasattr(self, "classes_")
        shapes = ((len(classes), rows.shape[1]), (len(classes),), (len(classes), len(classes)))
        if warm and not (np.array_equal(classes, self.classes_) and self.coef_.shape == shapes[0]):
            raise ValueError(
                f"warm_start is True, but the last fit had {len(self.classes_)} labels and {self.coef_.shape[1]} "
                f"features, other than these {len(classes)} and {rows.shape[1]}; expected the same ones"
            )
        start = self._weights() if warm else [np.zeros(shape) for shape in shapes]
        loss = self._program(), self.loss, self.regularizer, float(self.alpha)
        objective = _Objective(*loss, rows, sizes, codes, len(classes))
        minimise = _lbfgs if self.solver == "lbfgs" else _adam
        weights, self.objective_, self.n_iter_ = minimise(objective, start, self)
        self.classes_ = classes
        self.coef_, self.intercept_, self.transition_ = (_arrays.beside(part, rows) for part in weights)
        return self

    def predict(self, X: Any, *, lengths: Lengths = None) -> list[NDArray[Any]]:
        """Most likely label sequence of every sequence: that of the highest score.

        Parameters
        ----------
        X, lengths
            As for `fit`.

        Returns
        -------
        labels : list of B arrays of shape (T_i,)

        Raises
        ------
        sklearn.exceptions.NotFittedError
            If the estimator is not fitted.
        TypeError, ValueError
            If the sequences have other features than those at fit.
        """
        found = self._apply(X, lengths, lambda dp, *batch: dp.decode(*batch)[0])
        return [self.classes_[codes] for codes in _arrays.on_host(found)]

    def predict_marginals(self, X: Any, *, lengths: Lengths = None) -> list[Array]:
        """Probability of every label at every step, under the smoothed law of label sequences.

        Parameters
        ----------
        X, lengths
            As for `fit`.

        Returns
        -------
        marginals : list of B arrays of shape (T_i, S)
            Columns in the order of `classes_`; rows of sum 1.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            If the estimator is not fitted.
        TypeError, ValueError
            As for `predict`.

        Examples
        --------
        >>> from sdtwkit import LinearChainCRF
        >>> X = [[{"word": "the"}, {"word": "dog"}]]
        >>> LinearChainCRF(alpha=0.1).fit(X, [["det", "noun"]]).predict_marginals(X)[0].round(2)
        array([[0.93, 0.07],
               [0.07, 0.93]])
        """
        return self._apply(X, lengths, lambda dp, *batch: dp.marginals(*batch))

    def score(self, X: Any, y: Any, *, lengths: Lengths = None) -> float:
        """Share of the steps whose label is predicted.

        Parameters
        ----------
        X, y, lengths
            As for `fit`.

        Returns
        -------
        score : float

        Raises
        ------
        sklearn.exceptions.NotFittedError
            If the estimator is not fitted.
        TypeError, ValueError
            As for `predict`, or if the labels do not fit the sequences.
        """
        predicted = self.predict(X, lengths=lengths)
        labels = _read_labels(y, np.array([len(sequence) for sequence in predicted]), _padded_length(X))
        return float(np.mean(np.concatenate(predicted) == labels))

    def _apply(self, X, lengths, method):
        """[(T_i, ...)] of what `method` makes of the potentials of padded batches, in the order of X."""
        check_is_fitted(self)
        rows, sizes = self._read(X, lengths)
        _arrays.check_one_place((rows, self.coef_), ("X", "coef_"))
        found = [None] * len(sizes)
        with _arrays.device_of(rows):
            unary = _scores(rows, self.coef_, self.intercept_)
            for chunk in _chunks(sizes, len(self.classes_), rows):
                parts = method(self._program(), (chunk.padded(unary), self.transition_), chunk.sizes)
                for b, part, size in zip(chunk.sequences, parts, chunk.sizes, strict=True):
                    found[b] = part[:size]
        return found

    def _program(self):
        return ChainDP(1.0, regularizer=self.regularizer, n_jobs=self.n_jobs)

    def _weights(self):
        return [np.array(_arrays.on_host(part)) for part in (self.coef_, self.intercept_, self.transition_)]

    def _check_parameters(self):
        for name, choices in (
            ("regularizer", ("entropy", "l2")),
            ("loss", ("surrogate", "relaxed")),
            ("solver", ("lbfgs", "adam")),
        ):
            _words.check_choice(getattr(self, name), name, choices)
        _words.check_nonnegative(self.alpha, "alpha")
        _words.check_nonnegative(self.tol, "tol")
        _words.check_positive(self.learning_rate, "learning_rate")
        _words.check_count(self.max_iter, "max_iter")
        _words.check_count(self.batch_size, "batch_size")
        _options.check_n_jobs(self.n_jobs)

    def _read(self, X, lengths, reset=False):
        """-> features of all steps, array or CSR matrix (N, d), and the numbers of steps (B,)."""
        is_list = isinstance(X, (list, tuple))
        if is_list and X and _is_token_list(X[0]):
            rows, sizes = self._read_tokens(X, reset)
        elif is_list and any(_is_sparse(sequence) for sequence in X):
            rows, sizes = _read_sparse(X)
        else:
            series = _arrays.as_collection(X, lengths, dtype=np.float64, device=True)
            steps, sizes = _steps(series.starts, series.lengths), series.lengths
            rows = series.data[_arrays.beside(steps, series.data)]
        if reset:
            self.n_features_in_ = rows.shape[1]
        elif rows.shape[1] != self.n_features_in_:
            raise ValueError(
                f"X has {rows.shape[1]} features, {type(self).__name__} was fitted to {self.n_features_in_}; expected "
                "as many"
            )
        return rows, np.asarray(sizes)

    def _read_tokens(self, X, reset):
        for b, sequence in enumerate(X):
            if not _is_token_list(sequence):
                raise TypeError(f"X[{b}] is no list of dicts, X[0] is one; expected tokens of one kind")
            if not len(sequence):
                raise ValueError(f"X[{b}] is empty; expected at least one token")
        tokens = [token for sequence in X for token in sequence]
        if reset:
            self.vectorizer_ = DictVectorizer() if self.vectorizer is None else clone(self.vectorizer)
            self.vectorizer_.fit(tokens)
        elif not hasattr(self, "vectorizer_"):
            raise TypeError(f"X[0] is a list of dicts, {type(self).__name__} was fitted to matrices of features")
        rows = self.vectorizer_.transform(tokens)
        return (rows.tocsr() if _is_sparse(rows) else rows), [len(sequence) for sequence in X]


# ---- the objective


class _Objective:
    """Penalised mean loss of sequences, and its gradient with respect to [coef, intercept, transition].

    Weights and results are the host's; whatever is as long as the sequences stays where their features are.
    """

    def __init__(self, program, loss, regularizer, alpha, rows, sizes, codes, n_labels):
        self.program, self.loss, self.regularizer, self.alpha = program, loss, regularizer, alpha
        self.rows, self.sizes, self.codes, self.n_labels = rows, sizes, codes, n_labels
        self.starts = np.cumsum(sizes) - sizes
        self.true = tuple(_arrays.beside(index, rows) for index in (np.arange(len(codes)), codes))
        self.chunks = list(_chunks(sizes, n_labels, rows))

    def __len__(self):
        return len(self.sizes)

    def part(self, sequences):
        """The same objective on some of the sequences."""
        steps, loss = _steps(self.starts[sequences], self.sizes[sequences]), (self.loss, self.regularizer, self.alpha)
        rows = self.rows[_arrays.beside(steps, self.rows)]
        return _Objective(self.program, *loss, rows, self.sizes[sequences], self.codes[steps], self.n_labels)

    def value_and_grad(self, weights):
        coef, _, transition = weights
        with _arrays.device_of(self.rows):
            sums = self._sums(*(_arrays.beside(part, self.rows) for part in weights))
            sums = _arrays.on_host(_flat(sums))  # at one wait
        value, gradients = sums[0], _unflat(sums[1:] / len(self), weights)
        gradients[0] += self.alpha * coef
        gradients[2] += self.alpha * transition
        return value / len(self) + self.alpha / 2 * ((coef**2).sum() + (transition**2).sum()), gradients

    def _sums(self, coef, intercept, transition):
        """Loss of all sequences and its gradients, [(1,), (S, d), (S,), (S, S)]."""
        unary = _scores(self.rows, coef, intercept)
        states, moves, value = np.zeros_like(unary), np.zeros_like(transition), 0.0
        loss = self._surrogate if self.loss == "surrogate" else self._relaxed
        for chunk in self.chunks:
            chunk_value, chunk_states, chunk_moves = loss(chunk, unary, transition)
            value, moves = value + chunk_value, moves + chunk_moves
            states[chunk.steps] = chunk_states.reshape(-1, self.n_labels)[chunk.places]
        if self.loss == "surrogate":
            value = value - unary[self.true].sum() - (transition * self.true_moves).sum()
            states[self.true] -= 1
            moves = moves - self.true_moves
        return value.reshape(1), _arrays.product(self.rows.T, states).T, states.sum(axis=0), moves

    def _surrogate(self, chunk, unary, transition):
        """value(theta), whose gradient is E; all sequences have <theta, Y> and Y taken from them at once."""
        values, (states, moves) = self.program.value_and_grad((chunk.padded(unary), transition), chunk.sizes)
        return values.sum(), states, moves

    @functools.cached_property
    def true_moves(self):
        """(S, S): how often the true labels go into i from j."""
        counts, goes_on = np.zeros((self.n_labels, self.n_labels)), np.ones(len(self.codes), bool)
        goes_on[self.starts] = False
        into = np.flatnonzero(goes_on)
        np.add.at(counts, (self.codes[into], self.codes[into - 1]), 1)
        return _arrays.beside(counts, self.rows)

    def _relaxed(self, chunk, unary, transition):
        """A loss on the marginals; its gradient is pulled back through them by a Hessian product."""
        theta = chunk.padded(unary), transition
        marginals = self.program.marginals(theta, chunk.sizes)
        true = chunk.places, self.true[1][chunk.steps]
        if self.regularizer == "entropy":
            likely = np.maximum(marginals.reshape(-1, self.n_labels)[true], _LEAST_PROBABILITY)
            value, cotangent = -np.log(likely).sum(), np.zeros_like(marginals).reshape(-1, self.n_labels)
            cotangent[true] = -1 / likely
        else:
            cotangent = marginals.reshape(-1, self.n_labels)
            cotangent[true] -= 1
            value = (cotangent**2).sum() / 2
        return value, *self.program.marginals_vjp(theta, cotangent.reshape(marginals.shape), chunk.sizes)


class _Chunk(NamedTuple):
    """Sequences of similar lengths, side by side in a padded array of shape (B, T, ...)."""

    sequences: np.ndarray  # (B,) their numbers
    sizes: np.ndarray  # (B,)
    longest: int  # T
    steps: Array  # rows of the flat arrays, where the features are
    places: Array  # likewise, where they go among the B * T rows of the padded array

    def padded(self, flat):
        """(N, ...) -> (B, T, ...), zeros beyond the lengths."""
        shape = len(self.sizes), self.longest, *flat.shape[1:]
        out = _arrays.namespace(flat).zeros((shape[0] * shape[1], *shape[2:]), flat.dtype)
        out[self.places] = flat[self.steps]
        return out.reshape(shape)


def _chunks(sizes, S, like):
    """The sequences, shortest first, in chunks that waste at most half of their room; indices lie where `like` does."""
    order, starts, first = np.argsort(sizes, kind="stable"), np.cumsum(sizes) - sizes, 0
    for last in range(1, len(order) + 1):
        if last < len(order):
            longest = sizes[order[last]]
            if longest <= 2 * sizes[order[first]] and (last + 1 - first) * longest * S <= _CHUNK:
                continue
        sequences = order[first:last]
        longest = int(sizes[sequences[-1]])
        rooms = np.arange(len(sequences)) * longest
        steps, places = (_steps(begins, sizes[sequences]) for begins in (starts[sequences], rooms))
        yield _Chunk(sequences, sizes[sequences], longest, _arrays.beside(steps, like), _arrays.beside(places, like))
        first = last


def _steps(starts, sizes):
    """Rows of sequences that start there and are so long, one after another."""
    return np.repeat(starts - (np.cumsum(sizes) - sizes), sizes) + np.arange(sizes.sum())


def _scores(rows, coef, intercept):
    return _arrays.product(rows, coef.T) + intercept


# ---- searching


def _flat(weights):
    return _arrays.namespace(weights[0]).concatenate([part.ravel() for part in weights])


def _unflat(flat, like):
    ends = np.cumsum([part.size for part in like])
    return [flat[end - part.size : end].reshape(part.shape) for end, part in zip(ends, like, strict=True)]


def _lbfgs(objective, start, options):
    """-> weights, objective, iterations."""
    from scipy.optimize import minimize

    def value_and_grad(flat):
        value, gradients = objective.value_and_grad(_unflat(flat, start))
        return value, _flat(gradients)

    iterations = 0

    def report(intermediate_result):
        nonlocal iterations
        iterations += 1
        print(f"iteration {iterations}: objective {intermediate_result.fun:.6g}")

    found = minimize(
        value_and_grad,
        _flat(start),
        jac=True,
        method="L-BFGS-B",
        callback=report if options.verbose else None,
        options={"maxiter": options.max_iter, "gtol": options.tol, "ftol": 0.0, "maxfun": 20 * options.max_iter},
    )
    if found.status == 1:
        warnings.warn(
            f"L-BFGS stopped after {found.nit} iterations, at a gradient of {np.abs(found.jac).max():.2g}; raise "
            "max_iter or tol",
            ConvergenceWarning,
            stacklevel=3,
        )
    return [part.copy() for part in _unflat(found.x, start)], float(found.fun), found.nit


def _adam(objective, start, options):
    """-> weights, objective, passes (Kingma & Ba 2015, with its constants)."""
    rng = _options.check_random_state(options.random_state)
    w = _flat(start)
    mean, square, step = np.zeros_like(w), np.zeros_like(w), 0
    for epoch in range(1, options.max_iter + 1):
        order, total = rng.permutation(len(objective)), 0.0
        for first in range(0, len(order), options.batch_size):
            batch = order[first : first + options.batch_size]
            value, gradients = objective.part(batch).value_and_grad(_unflat(w, start))
            total += value * len(batch)
            g, step = _flat(gradients), step + 1
            mean += 0.1 * (g - mean)
            square += 0.001 * (g * g - square)
            unbiased = mean / (1 - 0.9**step), square / (1 - 0.999**step)
            w = w - options.learning_rate * unbiased[0] / (np.sqrt(unbiased[1]) + 1e-8)
        if options.verbose:
            print(f"pass {epoch}: objective {total / len(order):.6g}")
    return [part.copy() for part in _unflat(w, start)], total / len(order), options.max_iter


# ---- reading


def _is_sparse(matrix):
    return hasattr(matrix, "tocsr")


def _is_token_list(sequence):
    return isinstance(sequence, (list, tuple)) and all(isinstance(token, Mapping) for token in sequence)


def _read_sparse(X):
    from scipy import sparse

    for b, sequence in enumerate(X):
        if _arrays.on_device(getattr(sequence, "data", None)):
            raise _words.not_on_device("a sparse matrix of features")
        if not _is_sparse(sequence):
            raise TypeError(f"X[{b}] is of type {type(sequence).__name__}; expected a sparse matrix, as others are")
        if sequence.ndim != 2 or 0 in sequence.shape or sequence.shape[1] != X[0].shape[1]:
            raise ValueError(
                f"X[{b}] has shape {sequence.shape}; expected (T, {X[0].shape[1]}), at least one step and as many "
                "features as X[0]"
            )
        if not np.isfinite(sequence.tocsr().data).all():
            raise ValueError(f"X[{b}] holds NaN or an infinity; features must be finite")
    return sparse.vstack([sequence.tocsr() for sequence in X], format="csr", dtype=np.float64), [x.shape[0] for x in X]


def _padded_length(X):
    """T of an array (B, T, d), else None."""
    return None if isinstance(X, (list, tuple)) else X.shape[1]


def _read_labels(y, sizes, padded_length):
    """Labels of all steps, (N,)."""
    if y is None or isinstance(y, (str, bytes)) or not hasattr(y, "__len__"):
        raise _words.wrong_type(y, "y", "a list of label sequences")
    if len(y) != len(sizes):
        raise ValueError(f"y has {len(y)} label sequences, X has {len(sizes)} sequences; expected one for each")
    arrays = []
    for b, (labels, size) in enumerate(zip(y, sizes, strict=True)):
        array = np.asarray(labels if isinstance(labels, (list, tuple)) else _arrays.on_host(labels))
        if array.shape not in ((size,), (padded_length,)):
            raise ValueError(f"y[{b}] has shape {array.shape}, X[{b}] has {size} steps; expected one label for each")
        arrays.append(array[:size])
    labels = np.concatenate(arrays)
    if labels.dtype.kind not in "biuUSO":
        raise TypeError(f"y has labels of dtype {labels.dtype}; expected integers or strings")
    if labels.dtype == object and not any(all(isinstance(label, kind) for label in labels) for kind in (str, Integral)):
        kinds = sorted({type(label).__name__ for label in labels})
        raise TypeError(f"y has labels of types {', '.join(kinds)}; expected integers or strings throughout")
    return labels
