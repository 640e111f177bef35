"""Learned metrics between sequences: how far the last states of two GRUs are apart, side by side or coupled."""

from __future__ import annotations

from typing import Literal, NoReturn

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from .. import _arrays, _words
from .._typing import AfterEnd, Array, Coupling, Integers, Lengths, RandomState
from ..costs import cost_matrix
from ._gru_distances import GruMetric, embeddings, last_distances
from ._learner import MetricLearner, as_list, chosen
from ._network import (
    AFTER_END,
    COUPLINGS,
    Network,
    loss_and_grad,
    loss_of,
    parameter_shapes,
)
from ._pairs import together
from ._synchronisation import Trajectories, trajectories_of

DISTANCES = ("euclidean", "manhattan", "cosine", "trajectory")
_CLOSED = -2.0  # bias of the coupling gate at the start: weakly coupled
_BATCH = 64  # pairs whose validation loss is found at once


class _GruMetricLearner(MetricLearner):
    """What both networks share; subclasses have the parameters, and say how they are coupled."""

    def _check_parameters(self):
        _words.check_count(self.hidden_size, "hidden_size")
        _words.check_positive(self.margin, "margin")
        _words.check_nonnegative(self.beta, "beta")
        _words.check_choice(self.distance, "distance", DISTANCES)
        _words.check_choice(self._coupling, "coupling", COUPLINGS)
        _words.check_choice(self._after_end, "after_end", AFTER_END)
        _words.check_nonnegative(self._kappa, "kappa")

    def _start(self, rng):
        """Uniform within 1 / sqrt(H), as torch.nn.GRU starts; the gate of the coupling nearly closed, drawn last."""
        H, dtype = self.hidden_size, self._series.dtype
        shapes = parameter_shapes(self._n_channels, H, self._coupling != "none")
        drawn = {
            name: rng.uniform(-1, 1, shape).astype(dtype) / dtype.type(np.sqrt(H)) for name, shape in shapes.items()
        }
        if "bc" in drawn:
            drawn["bc"] = np.full(H, _CLOSED, dtype)
        return drawn

    def _parameters(self):
        if self.params_["U"].shape[1] != self.hidden_size:
            raise ValueError(
                f"hidden_size is {self.hidden_size}, the network to go on with (warm_start) has "
                f"{self.params_['U'].shape[1]}; expected the same"
            )
        return {name: value.astype(self._series.dtype) for name, value in self.params_.items()}

    def _keep(self, parameters):
        self.params_ = parameters

    def _network(self, parameters):
        return Network.stacked(parameters, self._coupling, float(self._kappa), self._after_end == "hold")

    def _loss_and_grad(self, parameters, same, different, rng):
        pairs, together_ = together(same, different)
        x1, x2 = (self._cropped(index, rng) for index in pairs.T)
        network = self._network(parameters)
        return loss_and_grad(network, x1, x2, together_.astype(np.float64), self.margin, self.beta)[:2]

    def _validation_loss(self, parameters, pairs, same):
        network, X, total = self._network(parameters), self._series, 0.0
        for k in range(0, len(pairs), _BATCH):
            some = pairs[k : k + _BATCH]
            x1, x2 = (chosen(X, index) for index in some.T)
            total += len(some) * loss_of(
                network, x1, x2, same[k : k + _BATCH].astype(np.float64), self.margin, self.beta
            )
        return float(_arrays.on_host(total)) / len(pairs)

    def _metric(self):
        with _arrays.device_of(self.params_["U"]):
            return GruMetric(self._network(self.params_), self.distance)

    def trajectories(self, x: ArrayLike, y: ArrayLike, *, tolerance: float = 1e-3) -> Trajectories:
        """Follow the two networks along a pair.

        Parameters
        ----------
        x, y : array of shape (n, d) or (n,)
            Two series.
        tolerance : float > 0
            Error below which the networks count as synchronised.

        Returns
        -------
        trajectories : Trajectories
            states (2, T, H) and gates (2, T, H), T the longer of both; errors (T,), the norms of the differences of the
            states; synchronised_at, the first step at which the error is below `tolerance`, or None; mean_gate, over
            the common part; transversal_exponents (2,), the mean logarithmic growth by step of a small difference of
            the states when both networks are driven by x, and by y: negative where synchronisation is stable. Of CuPy
            arrays states, gates and errors are CuPy arrays; the others are read, and the exponents found on the host.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            If the estimator is not fitted.
        TypeError, ValueError
            If x and y are not two finite series with the channels of those at fit.

        Examples
        --------
        >>> from sdtwkit.metric_learning import CoupledGRU
        >>> X, y = [[0.0, 1.0, 0.0], [0.0, 0.9, 0.0], [1.0, 0.0, 1.0], [1.0, 0.1, 0.9]], [0, 0, 1, 1]
        >>> metric = CoupledGRU(4, max_iter=2, random_state=0).fit_labels(X, y)
        >>> found = metric.trajectories(X[0], X[1])
        >>> found.states.shape, found.gates.shape, found.errors.shape
        ((2, 3, 4), (2, 3, 4), (3,))
        """
        check_is_fitted(self)
        tolerance = _words.check_positive(tolerance, "tolerance")
        x, y = _arrays.as_series_pair(x, y)
        if x.form != "single":
            raise _words.not_single("x", "y")
        if x.n_channels != self._n_channels:
            raise ValueError(
                f"x and y have d = {x.n_channels}, {type(self).__name__} was fitted to series with "
                f"d = {self._n_channels}; expected as many channels"
            )
        x, y = (self._beside_fit(one, name).data for one, name in ((x, "x"), (y, "y")))
        return trajectories_of(self.params_, x, y, self._coupling, self._kappa, self._after_end, tolerance)


class SiameseGRU(ClassNamePrefixFeaturesOutMixin, TransformerMixin, _GruMetricLearner):
    """A metric between sequences: the distance of their last states in one recurrent network.

    A GRU reads each sequence by itself; it is trained so that the last states of pairs that belong together are close
    and those of others at least `margin` apart (contrastive loss [1]_). This is `CoupledGRU` without coupling, hence
    each sequence has an embedding, which `transform` gives.

    Parameters
    ----------
    hidden_size : int >= 1, default 32
        Units H of the state.
    margin : float > 0, default 2.0
        Distance from which different pairs cost nothing.
    beta : float >= 0, default 0.0
        Weight of the mean squared distance along the common steps of same pairs.
    distance : {"euclidean", "manhattan", "cosine", "trajectory"}
        Of the last states; "trajectory" is the root of the mean squared Euclidean distance along the common steps. The
        loss is always of Euclidean distances.
    max_iter : int >= 1, default 50
        Epochs. In an epoch of `fit` every pair occurs, those of the rarer kind again and again; in an epoch of
        `fit_labels` every series, with one of its class and with one of another.
    batch_size : int >= 2, default 32
        Pairs of a minibatch, half of them same ones.
    learning_rate : float > 0, default 3e-3
        Of Adam.
    max_norm : float > 0, default 1.0
        Longer gradients are cut to this length.
    crop : int >= 1, optional
        In training, longer sequences are cut to so many consecutive steps, others each time.
    early_stopping : bool, default False
        Hold some pairs out and stop when their loss no longer falls; the best parameters are kept.
    validation_fraction : float within (0, 1), default 0.2
        Share held out, unless `fit` is given a validation set.
    n_iter_no_change : int >= 1, default 10
        Epochs to wait for a lower validation loss.
    tol : float >= 0, default 1e-4
        By which it must fall to count as lower.
    warm_start : bool, default False
        Go on from the parameters of the last fit.
    random_state : None, int, Generator or RandomState
    verbose : int, default 0
        1 prints the loss of each epoch.
    n_jobs : int, optional
        Threads for distances; None is one, -1 all.

    Attributes
    ----------
    params_ : dict of arrays
        As for `coupled_gru_forward`; W, U, bi and bh are exchangeable with those of torch.nn.GRU. CuPy arrays where
        the series at fit were.
    threshold_ : float
        Distance up to which `predict` takes pairs for same: of best accuracy on the validation pairs, or on those
        trained on; see `calibrate_threshold`.
    loss_curve_, validation_curve_ : arrays of shape (n_iter_,)
        Losses after each epoch; without validation the second is empty.
    n_iter_, best_iter_ : int
        Epochs run, and the one whose parameters were kept.
    n_features_in_ : int
        Width of a 2-D array at fit; the number of channels for lists of series and 3-D arrays.
    feature_names_in_ : array of shape (n_features_in_,)
        Names of columns, where X had them.

    See Also
    --------
    CoupledGRU : The same with coupling.
    sdtwkit.preprocessing : Scale channels before: states saturate where inputs are large.

    References
    ----------
    .. [1] Hadsell, Chopra and LeCun, Dimensionality reduction by learning an invariant mapping, CVPR 2006.

    Examples
    --------
    >>> import numpy as np
    >>> from sdtwkit.metric_learning import SiameseGRU
    >>> t = np.linspace(0, 1, 20)
    >>> X = [np.sin(k * np.pi * (t + s)) for k in (1, 4) for s in (0.0, 0.1, 0.2, 0.3)]
    >>> metric = SiameseGRU(4, max_iter=60, learning_rate=0.03, random_state=0).fit_labels(X, [0, 0, 0, 0, 1, 1, 1, 1])
    >>> near, far = metric.pair_distance([[0, 1], [0, 4]])
    >>> bool(near < far)
    True
    >>> metric.transform(X).shape
    (8, 4)
    """

    _coupling, _kappa, _after_end = "none", 0.0, "off"

    def __init__(
        self,
        hidden_size: int = 32,
        *,
        margin: float = 2.0,
        beta: float = 0.0,
        distance: Literal["euclidean", "manhattan", "cosine", "trajectory"] = "euclidean",
        max_iter: int = 50,
        batch_size: int = 32,
        learning_rate: float = 3e-3,
        max_norm: float = 1.0,
        crop: int | None = None,
        early_stopping: bool = False,
        validation_fraction: float = 0.2,
        n_iter_no_change: int = 10,
        tol: float = 1e-4,
        warm_start: bool = False,
        random_state: RandomState = None,
        verbose: int = 0,
        n_jobs: int | None = None,
    ) -> None:
        self.hidden_size = hidden_size
        self.margin = margin
        self.beta = beta
        self.distance = distance
        self.max_iter = max_iter
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.max_norm = max_norm
        self.crop = crop
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.tol = tol
        self.warm_start = warm_start
        self.random_state = random_state
        self.verbose = verbose
        self.n_jobs = n_jobs

    def transform(self, X: ArrayLike, *, lengths: Lengths = None) -> Array:
        """Embeddings: the last states.

        Parameters
        ----------
        X, lengths
            As for `fit`.

        Returns
        -------
        embeddings : array of shape (len(X), hidden_size)

        Raises
        ------
        sklearn.exceptions.NotFittedError
            If the estimator is not fitted.
        TypeError, ValueError
            If X is no collection of finite series, or differs from that at fit in its channels.
        """
        series = self._read(X, lengths)
        return embeddings(self._metric().network, series)

    def fit_transform(self, X: ArrayLike, y: ArrayLike, *, lengths: Lengths = None) -> Array:
        """Learn from labelled series and embed them: what a pipeline calls, which knows no pairs.

        Parameters
        ----------
        X, y, lengths
            As for `fit_labels`.

        Returns
        -------
        embeddings : array of shape (len(X), hidden_size)

        Raises
        ------
        TypeError, ValueError
            As for `fit_labels`.
        """
        return self.fit_labels(X, y, lengths=lengths).transform(X, lengths=lengths)

    @property
    def _n_features_out(self):
        return self.params_["U"].shape[1]

    def _distances(self, X, Y, i, j):
        if self.distance == "trajectory":
            return super()._distances(X, Y, i, j)
        network = self._metric().network
        embedded = embeddings(network, X)
        others = embedded if Y is X else embeddings(network, Y)
        with _arrays.device_of(embedded):
            a, b = embedded[_arrays.beside(i, embedded)], others[_arrays.beside(j, others)]
            return last_distances(a - b, a, b, self.distance)


class CoupledGRU(_GruMetricLearner):
    """A metric between sequences: how far two coupled recurrent networks that read them are from synchronisation.

    Two GRUs with the same parameters read one sequence each, and a learned gate lets each be driven by the state of the
    other. Networks that read the same sequence stay together; the distance is that of the last states. After [1]_, from
    whose idea the equations (see `coupled_gru_forward`) were reconstructed; whether the coupling helps is a question to
    the data at hand: compare with `SiameseGRU` at an equal budget.

    Parameters
    ----------
    hidden_size : int >= 1, default 32
        Units H of a state.
    coupling : {"pre", "leak", "add", "none"}
        Where the coupling enters, see `coupled_gru_forward`.
    kappa : float >= 0, default 0.5
        Its strength; at 1/2 an open gate of "pre" moves both states to their mean.
    after_end : {"off", "hold"}
        Whether the coupling ends with the shorter sequence, or the sequence that has ended goes on driving the other.
    margin, beta, distance, max_iter, batch_size, learning_rate, max_norm, crop, early_stopping, validation_fraction, \
n_iter_no_change, tol, warm_start, random_state, verbose, n_jobs
        As for `SiameseGRU`.

    Attributes
    ----------
    params_ : dict of arrays
        As for `coupled_gru_forward`.
    threshold_, loss_curve_, validation_curve_, n_iter_, best_iter_, n_features_in_, feature_names_in_
        As for `SiameseGRU`.

    Notes
    -----
    d(x, x) = 0 and d(x, y) = d(y, x), to the last bit; the triangle inequality need not hold. Both states depend on
    both sequences, so no sequence has an embedding, and `transform` raises. The gate starts nearly closed (bias -2).

    References
    ----------
    .. [1] Compagnon, Lefebvre, Duffner and Garcia, Sequence metric learning as synchronization of recurrent neural
       networks, IJCNN 2021.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.neighbors import KNeighborsClassifier
    >>> from sdtwkit.metric_learning import CoupledGRU
    >>> t = np.linspace(0, 1, 20)
    >>> X, y = [np.sin(k * np.pi * (t + s)) for k in (1, 4) for s in (0.0, 0.1, 0.2, 0.3)], [0, 0, 0, 0, 1, 1, 1, 1]
    >>> metric = CoupledGRU(4, max_iter=60, learning_rate=0.03, random_state=0).fit_labels(X, y)
    >>> knn = KNeighborsClassifier(1, metric="precomputed").fit(metric.pairwise_distances(X), y)
    >>> knn.predict(metric.pairwise_distances([np.sin(4 * np.pi * (t + 0.15))], X))
    array([1])
    """

    def __init__(
        self,
        hidden_size: int = 32,
        *,
        coupling: Coupling = "pre",
        kappa: float = 0.5,
        after_end: AfterEnd = "off",
        margin: float = 2.0,
        beta: float = 0.0,
        distance: Literal["euclidean", "manhattan", "cosine", "trajectory"] = "euclidean",
        max_iter: int = 50,
        batch_size: int = 32,
        learning_rate: float = 3e-3,
        max_norm: float = 1.0,
        crop: int | None = None,
        early_stopping: bool = False,
        validation_fraction: float = 0.2,
        n_iter_no_change: int = 10,
        tol: float = 1e-4,
        warm_start: bool = False,
        random_state: RandomState = None,
        verbose: int = 0,
        n_jobs: int | None = None,
    ) -> None:
        self.hidden_size = hidden_size
        self.coupling = coupling
        self.kappa = kappa
        self.after_end = after_end
        self.margin = margin
        self.beta = beta
        self.distance = distance
        self.max_iter = max_iter
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.max_norm = max_norm
        self.crop = crop
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.tol = tol
        self.warm_start = warm_start
        self.random_state = random_state
        self.verbose = verbose
        self.n_jobs = n_jobs

    @property
    def _coupling(self):
        return self.coupling

    @property
    def _kappa(self):
        return self.kappa

    @property
    def _after_end(self):
        return self.after_end

    def transform(self, X: ArrayLike) -> NoReturn:
        """Raise: with coupling, a sequence has no embedding of its own.

        Parameters
        ----------
        X : ignored

        Raises
        ------
        NotImplementedError
            Always; `SiameseGRU` has embeddings.
        """
        raise NotImplementedError(
            "CoupledGRU has no transform: the state of a sequence depends on the sequence it is compared with, so that "
            "it has no embedding of its own; use pairwise_distances, or SiameseGRU for embeddings"
        )

    def kneighbors(
        self,
        X: ArrayLike,
        Y: ArrayLike,
        n_neighbors: int = 5,
        *,
        shortlist: int | None = 50,
        lengths: Lengths = None,
        Y_lengths: Lengths = None,
    ) -> tuple[Array, Integers]:
        """Nearest series of a large collection: a shortlist without coupling, ranked anew with it.

        The same networks without coupling embed each series once. The series of Y whose embeddings are nearest to that
        of a query are then compared with it by the learned distance itself.

        Parameters
        ----------
        X, lengths
            Queries, as for `fit`.
        Y, Y_lengths
            The collection to search.
        n_neighbors : int >= 1, default 5
            At most `shortlist`.
        shortlist : int >= 1, optional
            Series that are compared with a query; None is all, which needs no embeddings.

        Returns
        -------
        distances : array of shape (len(X), n_neighbors)
            Ascending.
        indices : int64 array of shape (len(X), n_neighbors)
            Of series of Y; among equal distances the first.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            If the estimator is not fitted.
        TypeError, ValueError
            If X or Y is no collection of finite series, or a number is out of its range.

        Examples
        --------
        >>> from sdtwkit.metric_learning import CoupledGRU
        >>> X, y = [[0.0, 1.0, 0.0], [0.0, 0.9, 0.0], [1.0, 0.0, 1.0], [1.0, 0.1, 0.9]], [0, 0, 1, 1]
        >>> metric = CoupledGRU(4, max_iter=2, random_state=0).fit_labels(X, y)
        >>> distances, indices = metric.kneighbors(X[:1], X, n_neighbors=2)
        >>> indices
        array([[0, 1]])
        """
        X, Y = as_list(self._read(X, lengths)), as_list(self._read(Y, Y_lengths))
        shortlist = len(Y) if shortlist is None else min(_words.check_count(shortlist, "shortlist"), len(Y))
        n_neighbors = _words.check_count(n_neighbors, "n_neighbors")
        if n_neighbors > shortlist:
            raise ValueError(
                f"n_neighbors is {n_neighbors}, the shortlist has {shortlist} series; expected at most so many"
            )
        candidates = np.tile(np.arange(len(Y)), (len(X), 1))
        if shortlist < len(Y):
            candidates = np.sort(self._shortlist(X, Y, shortlist), axis=1)
        distances = self._distances(X, Y, np.repeat(np.arange(len(X)), shortlist), candidates.ravel())
        distances, candidates = distances.reshape(len(X), shortlist), _arrays.beside(candidates, distances)
        arrays = _arrays.namespace(distances)
        with _arrays.device_of(distances):
            best = arrays.argsort(distances, axis=1, kind="stable")[:, :n_neighbors]
            return tuple(arrays.take_along_axis(table, best, axis=1) for table in (distances, candidates))

    def _shortlist(self, X, Y, size):
        """(len(X), size) indices of the series of Y with the nearest embeddings."""
        with _arrays.device_of(X.data):
            alone = Network.stacked(self.params_, "none", 0.0, False)
            squared = cost_matrix(embeddings(alone, X), embeddings(alone, Y))
            return _arrays.on_host(_arrays.namespace(squared).argsort(squared, axis=1, kind="stable")[:, :size])
