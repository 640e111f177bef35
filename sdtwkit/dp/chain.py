"""Smoothed Viterbi on chains of states: value, gradient, marginals, Hessian products, best and sampled sequences.

One recursion (Mensch & Blondel 2018; its entropy case is the forward algorithm of linear-chain models): V_0 = 0 and

    V_{t+1}(i) = max_Omega over j of theta(t, i, j) + V_t(j),      value = max_Omega over i of V_T(i).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from .. import _arrays, _backend, _options, _words
from .._typing import Array, Arrays, Lengths, Paths, Potentials, RandomState, Regularizer, Value


class ChainDP:
    """Smoothed best sequence of states under additive potentials.

    Parameters
    ----------
    gamma : float > 0, default 1.0
        Smoothing, in units of the potentials; towards 0 the value becomes the score of the best sequence.
    regularizer : {"entropy", "l2", None}, default "entropy"
        "entropy": every sequence counts, with weight exp(score / gamma); the value is gamma times the log-partition
        function of a linear-chain model. "l2": sparse laws of sequences. None: Viterbi, and gamma is ignored; among
        equal predecessors, and among equal last states, the lowest state wins.
    n_jobs : None or int, default None
        Threads; None is 1, -1 all. A batch is spread over chains, a single chain over its states where there are
        hundreds of them. No bit of a result depends on the number.

    Notes
    -----
    Potentials theta are given in one of two forms.

    * In full, an array of shape (T, S, S), or (B, T, S, S) for a batch: theta[t, i, j] scores the move INTO state i
      FROM state j at step t. Before step 0 any of the S states costs nothing, so a theta[0] that does not depend on
      j counts each first state S times; `chain_potentials` builds potentials that do not.
    * As a tuple ``(unary, transition)`` of shapes (T, S) or (B, T, S), and (S, S), the same as
      ``chain_potentials(unary, transition)``, but never expanded: memory is that of a few arrays (T, S). A gradient is
      such a tuple, too; the transition serves the whole batch, so its gradient is that of the sum of the values.

    -inf forbids a move; its gradient is 0. Where no sequence is admissible the value is -inf and derivatives are 0.
    The keyword argument ``lengths`` of every method gives the true numbers of steps within a padded batch; what lies
    beyond is never read, and results are zero there. float32 potentials give float32 results.

    References
    ----------
    Mensch and Blondel, Differentiable dynamic programming for structured prediction and attention, ICML 2018.

    Examples
    --------
    >>> import numpy as np
    >>> from sdtwkit.dp import ChainDP
    >>> unary = np.array([[2.0, 0.0], [0.0, 0.5], [0.0, 2.0]])
    >>> transition = np.array([[0.0, -1.0], [-1.0, 0.0]])  # staying is free, moving costs 1
    >>> states, score = ChainDP().decode((unary, transition))
    >>> states.tolist(), float(score)
    ([0, 1, 1], 3.5)
    >>> ChainDP(gamma=1.0).marginals((unary, transition)).round(2)
    array([[0.81, 0.19],
           [0.38, 0.62],
           [0.13, 0.87]])
    """

    def __init__(self, gamma: float = 1.0, *, regularizer: Regularizer = "entropy", n_jobs: int | None = None) -> None:
        self._gamma, self._regularizer = _options.check_smoothing(gamma, regularizer), regularizer
        self._n_jobs = _options.check_n_jobs(n_jobs)
        self._shown = f"gamma={gamma!r}, regularizer={regularizer!r}"

    def __repr__(self):
        return f"ChainDP({self._shown})"

    def value(self, theta: Potentials, lengths: Lengths = None) -> Value:
        """Smoothed score of the best sequence.

        Parameters
        ----------
        theta : array of shape (T, S, S) or (B, T, S, S), or tuple (unary, transition)
            Potentials; see the notes of the class.
        lengths : None, or int array of shape (B,)
            True numbers of steps.

        Returns
        -------
        value : NumPy scalar, or array of shape (B,)

        Raises
        ------
        TypeError, ValueError
            If theta holds NaN or +inf, or shapes and lengths disagree.

        Examples
        --------
        >>> from sdtwkit.dp import ChainDP
        >>> float(ChainDP(regularizer=None).value([[[1.0, 3.0], [2.0, 0.0]]]))
        3.0
        """
        problem = self._problem(theta, lengths)
        return _answer(problem, _backend.chain_values(problem))

    def value_and_grad(self, theta: Potentials, lengths: Lengths = None) -> tuple[Value, Arrays]:
        """Smoothed score of the best sequence and its gradient with respect to every potential.

        Parameters
        ----------
        theta, lengths
            As for `value`.

        Returns
        -------
        value : NumPy scalar, or array of shape (B,)
        gradient : array of the shape of theta, or tuple of arrays of the shapes of the pair
            The probability that a random sequence makes each move. Of the pair: the probability of each state at each
            step, and the expected number of moves between any two states, summed over the batch.

        Raises
        ------
        TypeError, ValueError
            As for `value`.

        Examples
        --------
        >>> import numpy as np
        >>> from sdtwkit.dp import ChainDP
        >>> pair = np.zeros((3, 2)), np.array([[0.0, 0.0], [-np.inf, 0.0]])
        >>> value, (states, moves) = ChainDP().value_and_grad(pair)
        >>> moves
        array([[0.75, 0.5 ],
               [0.  , 0.75]])
        """
        problem = self._problem(theta, lengths)
        value, gradient, transition = _backend.chain_gradients(problem)
        return _answer(problem, value), problem.potentials.like(gradient, transition)

    def marginals(self, theta: Potentials, lengths: Lengths = None) -> Array:
        """Marginals of the smoothed law of sequences.

        Parameters
        ----------
        theta, lengths
            As for `value`.

        Returns
        -------
        E : array of the shape of theta, or of the unary of the pair
            E[t, i, j] is the probability of moving into i from j at step t. For the pair E[t, i] is the probability
            of state i at step t; of theta in full that is ``E.sum(axis=-1)``.

        Raises
        ------
        TypeError, ValueError
            As for `value`.

        Examples
        --------
        >>> import numpy as np
        >>> from sdtwkit.dp import ChainDP
        >>> ChainDP(regularizer="l2").marginals((np.array([[0.0, 0.5], [0.0, 2.0]]), np.zeros((2, 2))))
        array([[0.25, 0.75],
               [0.  , 1.  ]])
        """
        problem = self._problem(theta, lengths)
        return _backend.chain_gradients(problem, marginals_alone=True)[1].reshape(problem.potentials.shape)

    def hvp(self, theta: Potentials, direction: Potentials, lengths: Lengths = None) -> tuple[Value, Arrays]:
        """Directional derivative of the value, and the product of its Hessian with the direction.

        Parameters
        ----------
        theta, lengths
            As for `value`.
        direction : array of the shape of theta, or tuple of arrays of the shapes of the pair, finite

        Returns
        -------
        slope : NumPy scalar, or array of shape (B,)
            <gradient, direction>.
        product : as the direction
            d gradient(theta + s direction) / ds at s = 0.

        Raises
        ------
        TypeError, ValueError
            As for `value`, and if the direction does not fit theta.

        Examples
        --------
        >>> import numpy as np
        >>> from sdtwkit.dp import ChainDP
        >>> slope, product = ChainDP().hvp(np.zeros((1, 2, 2)), np.array([[[1.0, 0.0], [0.0, 0.0]]]))
        >>> product
        array([[[ 0.1875, -0.0625],
                [-0.0625, -0.0625]]])
        """
        problem = self._problem(theta, lengths)
        direction, turned = _arrays.as_potential_direction(direction, problem.potentials, "direction")
        slope, product, transition = _backend.chain_products(problem, direction, turned)
        return _answer(problem, slope), problem.potentials.like(product, transition)

    def marginals_vjp(self, theta: Potentials, cotangent: ArrayLike, lengths: Lengths = None) -> Arrays:
        """Gradient of <cotangent, E(theta)> with respect to theta: what backpropagation through `marginals` needs.

        Parameters
        ----------
        theta, lengths
            As for `value`.
        cotangent : array of the shape of `marginals`, finite

        Returns
        -------
        gradient : array of the shape of theta, or tuple of arrays of the shapes of the pair

        Raises
        ------
        TypeError, ValueError
            As for `hvp`.

        Examples
        --------
        >>> import numpy as np
        >>> from sdtwkit.dp import ChainDP
        >>> pair = np.zeros((2, 2)), np.zeros((2, 2))
        >>> unary, transition = ChainDP().marginals_vjp(pair, np.array([[0.0, 0.0], [1.0, 0.0]]))
        >>> unary
        array([[ 0.  ,  0.  ],
               [ 0.25, -0.25]])
        """
        problem = self._problem(theta, lengths)
        cotangent = _arrays.as_marginal_cotangent(cotangent, problem.potentials)
        # E of the pair is the gradient along the unary alone: None is a transition that does not move.
        _, product, transition = _backend.chain_products(problem, cotangent, None)
        return problem.potentials.like(product, transition)

    def decode(self, theta: Potentials, lengths: Lengths = None) -> tuple[Paths, Value]:
        """Best sequence, whatever the regularizer, and its score.

        Parameters
        ----------
        theta, lengths
            As for `value`.

        Returns
        -------
        states : int64 array of shape (T,), or list of B such arrays, each of its own length
            Empty where no sequence is admissible.
        value : NumPy scalar, or array of shape (B,)
            Sum of the potentials along the sequence.

        Raises
        ------
        TypeError, ValueError
            As for `value`.

        Examples
        --------
        >>> from sdtwkit.dp import ChainDP
        >>> states, value = ChainDP().decode([[[0.0, 0.0], [1.0, 0.0]], [[0.0, 3.0], [1.0, 0.0]]])
        >>> states.tolist(), float(value)
        ([1, 0], 4.0)
        """
        problem = self._problem(theta, lengths)._replace(regularizer=None)
        states, value = self._sequences(problem)
        states = [found[0] for found in states]
        return (states[0] if problem.potentials.single else states), _answer(problem, value)

    def sample(
        self, theta: Potentials, n_samples: int, random_state: RandomState = None, lengths: Lengths = None
    ) -> Paths:
        """Sequences drawn from the smoothed law: step back from the end with the probabilities of the recursion.

        Parameters
        ----------
        theta, lengths
            As for `value`.
        n_samples : int >= 1
        random_state : None, int, Generator or RandomState

        Returns
        -------
        states : int64 array of shape (n_samples, T), or list of B such arrays, each of its own length
            For "entropy" draws from the Gibbs law, with probability proportional to exp(score / gamma). Of shape
            (n_samples, 0) where no sequence is admissible. Of a device the same sequences, but where rounding decides.

        Raises
        ------
        TypeError, ValueError
            As for `value`, and if n_samples < 1.

        Examples
        --------
        >>> import numpy as np
        >>> from sdtwkit.dp import ChainDP
        >>> pair = np.array([[9.0, 0.0], [0.0, 9.0]]), np.zeros((2, 2))
        >>> ChainDP(gamma=0.1).sample(pair, 2, random_state=0)
        array([[0, 1],
               [0, 1]])
        """
        problem = self._problem(theta, lengths)
        n_samples = _words.check_count(n_samples, "n_samples")
        seed = int(_options.check_random_state(random_state).integers(2**63))
        states, _ = self._sequences(problem, n_samples, seed)
        return states[0] if problem.potentials.single else states

    def _problem(self, theta, lengths):
        potentials = _arrays.as_potentials(theta, lengths)
        return _backend.ChainProblem(potentials, self._regularizer, self._gamma, self._n_jobs)

    def _sequences(self, problem, samples=0, seed=0):
        """Lists of (max(samples, 1), length) states, none of them where the value is -inf; (B,) values."""
        paths, value = _backend.chain_paths(problem, samples, seed)
        # On a device this waits: how many states there are is the value's to tell. They are none under a NaN.
        lengths = np.where(_arrays.on_host(value) > -np.inf, _arrays.on_host(problem.potentials.lengths), 0)
        whole = problem.potentials.single and lengths[0] == paths.shape[2]
        found = [path if whole else path[:, :length].copy() for path, length in zip(paths, lengths, strict=True)]
        return found, value


def chain_potentials(unary: ArrayLike, transition: ArrayLike, start: ArrayLike | None = None) -> Array:
    """Potentials of a chain that begins in a single way, from scores of states and of moves.

    Parameters
    ----------
    unary : array of shape (T, S) or (B, T, S)
        Score of each state at each step.
    transition : array of shape (S, S)
        transition[i, j] scores moving INTO state i FROM state j.
    start : None, or array of shape (S,)
        Score of each first state, added to unary[0].

    Returns
    -------
    theta : array of shape (T, S, S) or (B, T, S, S)
        theta[t, i, j] = unary[t, i] + transition[i, j] from step 1 on. At step 0 all sequences come from state 0:
        theta[0, i, 0] = unary[0, i] + start[i], and -inf elsewhere.

    Raises
    ------
    TypeError, ValueError
        If the shapes disagree, or a score is NaN or +inf.

    Notes
    -----
    ``ChainDP`` takes the tuple ``(unary, transition)`` directly, which saves memory and time.

    Examples
    --------
    >>> from sdtwkit.dp import chain_potentials
    >>> chain_potentials([[1.0, 2.0], [3.0, 4.0]], [[0.0, 0.5], [0.25, 0.0]]).tolist()
    [[[1.0, -inf], [2.0, -inf]], [[3.0, 3.5], [4.25, 4.0]]]
    """
    potentials = _arrays.as_potentials((unary, transition))
    _arrays.check_potentials(potentials)
    unary, transition = potentials.data, potentials.transition
    with np.errstate(over="ignore"), _arrays.device_of(unary):
        theta = unary[..., None] + transition
        theta[:, 0, :, 1:] = -np.inf
        theta[:, 0, :, 0] = unary[:, 0]
        if start is not None:
            theta[:, 0, :, 0] += _arrays.as_start_scores(start, theta)
    return theta[0] if potentials.single else theta


def _answer(problem, values):
    """(B,) values, or the only one of a single chain."""
    return values[0] if problem.potentials.single else values
