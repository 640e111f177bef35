"""Which engine serves these arrays, with how many threads, at which instruction level.

A `Problem` says what is to be aligned; the functions below say what is wanted of it. They allocate the outputs, hand
one request to the kernels, and repeat it in float64 where float32 could not hold the numbers in between.
"""

import functools
import os
import sys
import threading
from dataclasses import dataclass, field, replace
from types import ModuleType
from typing import NamedTuple

import numpy as np

from . import _arrays, _options, _words
from ._kernels import alignment as _kernels
from ._kernels import chain as _chains
from ._kernels import warp as _warps

_OPERATORS = {None: _kernels.HARD, "entropy": _kernels.ENTROPY, "l2": _kernels.SPARSE}
_RANK = {(1, 1): 0, (0, 1): 1, (1, 0): 2}  # ties go to the diagonal, left, up, then as the steps were given
_SINGLE = np.dtype(np.float32)
_DOUBLE = np.dtype(np.float64)
BOTH = (True, True)  # sides of a pair, x and y


@dataclass(slots=True, eq=False)
class Problem:
    """Pairs to align: either series and a fused cost, or given costs, or both (a prior is added); not to be changed."""

    recursion: _options.Recursion
    x_lengths: np.ndarray  # (X,) int64
    y_lengths: np.ndarray  # (Y,) int64
    dtype: np.dtype
    x: _arrays.Series | None = None
    y: _arrays.Series | None = None
    fused: tuple | None = None  # (kernel number of the cost, its parameter)
    given: np.ndarray | None = None  # (B or 1, n, m)
    x_index: np.ndarray | None = None  # (B,) int64: pair b aligns x[x_index[b]] ...
    y_index: np.ndarray | None = None  # ... with y[y_index[b]]
    n_pairs: int = field(init=False)
    arrays: ModuleType = field(init=False)  # the namespace of the data, and so of the results

    def __post_init__(self):
        self.n_pairs = len(self.x_lengths if self.x_index is None else self.x_index)
        self.arrays = _arrays.namespace(self.given if self.x is None else self.x.data)

    def table(self, shape, dtype):
        """Room for a result of `shape` (B, n, m), zero where the kernels write nothing."""
        if self.arrays is not np and self.recursion.radius < 0:
            sides = zip((self.x_lengths, self.y_lengths), shape[1:], strict=True)
            if all(type(lengths) is np.ndarray and (lengths == most).all() for lengths, most in sides):
                return self.arrays.empty(shape, dtype)  # CUDA's write every cell
        return self.arrays.zeros(shape, dtype)

    def request(self, dtype, engine):
        """What `engine` is asked for: the compiled kernels, or CUDA's."""
        rules = self.recursion
        usual = rules.usual
        request = engine.Request(
            dtype == _SINGLE,
            self.n_pairs,
            self.x_lengths,
            self.y_lengths,
            self.x_index,
            self.y_index,
            _OPERATORS[rules.regularizer],
            rules.gamma,
            rules.step_weights if usual else (1.0, 1.0, 1.0),
            rules.radius,
            rules.mask,
            rules.open_begin,
            rules.open_end,
        )
        if not usual:
            order = _kernel_order(rules.steps)
            steps = np.array([rules.steps[s] for s in order], dtype=np.int64)
            request.general_steps(steps, np.array([rules.step_weights[s] for s in order]))
            if rules.graph is not None:
                by_step = [
                    a if a is None else _arrays.namespace(a).ascontiguousarray(a[..., order]) for a in rules.graph[:2]
                ]
                request.graph(*by_step, *rules.graph[2:])
        if self.x is not None:
            cost, parameter = self.fused
            x, y = self.x.data, self.y.data
            if x.dtype != dtype:
                x, y = x.astype(dtype), y.astype(dtype)
            request.series(cost, parameter, x.shape[1], x, self.x.starts, y, self.y.starts)
        if self.given is not None:
            request.costs(self.given if self.given.dtype == dtype else self.given.astype(dtype))
        return request


def _kernel_order(steps):
    """Indices of the steps in the order in which a general kernel prefers equal predecessors."""
    return sorted(range(len(steps)), key=lambda s: _RANK.get(steps[s], len(_RANK)))


def _is_tall(problem):
    """Whether the kernels would rather see the transposed problem.

    They cut rows into strips and sweep along the columns of each; a strip wider than long wastes less of its ends
    (a fifth of the time at 500 x 50). Transposing changes a value by rounding at most, but it would turn ties between
    left and up, which only the gradient of the hard operator shows.
    """
    if problem.x is None or problem.given is not None or problem.recursion.mask is not None:
        return False
    if problem.arrays is not np:  # where rows are cut into strips of 32, whatever the shape
        return False
    x, y = problem.x_lengths, problem.y_lengths
    if len(x) == len(y) == 1:  # as below, without the two microseconds of the sums
        return x.item() > 2 * y.item()
    return x.sum() * len(y) > 2 * y.sum() * len(x)


def _transposed(problem):
    rules = problem.recursion
    left, diagonal, up = rules.step_weights
    turned = {0: 0, 1: 2, 2: 1, 3: 3}
    rules = replace(
        rules,
        step_weights=(up, diagonal, left),
        open_begin=turned[rules.open_begin],
        open_end=turned[rules.open_end],
    )
    return replace(
        problem,
        recursion=rules,
        x=problem.y,
        y=problem.x,
        x_lengths=problem.y_lengths,
        y_lengths=problem.x_lengths,
        x_index=problem.y_index,
        y_index=problem.x_index,
    )


def values(problem, n_jobs=1):
    """(B,) values; +inf where no path is admissible."""
    if problem.n_pairs > 1 and _is_tall(problem):
        problem = _transposed(problem)
    return _solve(problem, n_jobs, _nothing_more)[0]


def _nothing_more(request, dtype):
    return ()


def series_gradients(problem, n_jobs=1, sides=BOTH):
    """(B,) values, and their gradients laid out as the data of the series; None for a side that is not wanted."""
    if problem.recursion.regularizer is not None and _is_tall(problem):
        value, grad_y, grad_x = _series_gradients(_transposed(problem), n_jobs, sides[::-1])
        return value, grad_x, grad_y
    return _series_gradients(problem, n_jobs, sides)


def _series_gradients(problem, n_jobs, sides):
    def want(request, dtype):
        gradients = _room_for_gradients(problem, dtype, sides)
        request.want_series_gradients(*gradients)
        return gradients

    return _solve(problem, n_jobs, want)


def _room_for_gradients(problem, dtype, sides=BOTH):
    """Zeros shaped as the data of x and of y; None for a side that is not wanted."""
    zeros, (of_x, of_y) = problem.arrays.zeros, sides
    return zeros(problem.x.data.shape, dtype) if of_x else None, zeros(problem.y.data.shape, dtype) if of_y else None


def matrix_gradients(problem, shape, n_jobs=1, visits=False):
    """(B,) values and d value / d C of `shape` (B, n, m); visits: the expected alignment instead."""

    def want(request, dtype):
        gradient = problem.table(shape, dtype)
        request.want_gradient(gradient, visits)
        return (gradient,)

    return _solve(problem, n_jobs, want)


def products(problem, direction, n_jobs=1):
    """(B,) values, (B,) slopes <gradient, direction>, (B, n, m) gradients and Hessian products."""

    def want(request, dtype):
        slope = problem.arrays.zeros(problem.n_pairs, dtype)
        gradient, product = problem.table(direction.shape, dtype), problem.table(direction.shape, dtype)
        request.want_gradient(gradient)
        request.want_product(direction.astype(dtype, copy=False), slope, product)
        return slope, gradient, product

    return _solve(problem, n_jobs, want)


def sharp_values(problem, n_jobs=1):
    """(B,) slopes <d value / d C, C>, the expected costs of a path; +inf where none is admissible."""

    def want(request, dtype):
        slope = problem.arrays.zeros(problem.n_pairs, dtype)
        request.want_along_costs(slope)
        return (slope,)

    return _solve_sharp(problem, n_jobs, want)[0]


def sharp_series_gradients(problem, n_jobs=1, sides=BOTH):
    """(B,) slopes <d value / d C, C>, and their gradients as `series_gradients` gives them."""

    def want(request, dtype):
        slope, gradients = problem.arrays.zeros(problem.n_pairs, dtype), _room_for_gradients(problem, dtype, sides)
        request.want_along_costs(slope)
        request.want_series_gradients(*gradients)
        return slope, *gradients

    return _solve_sharp(problem, n_jobs, want)


def sharp_matrix_gradients(problem, shape, n_jobs=1):
    """(B,) slopes <d value / d C, C>, and their gradients with respect to C of `shape` (B, n, m)."""

    def want(request, dtype):
        slope, gradient = problem.arrays.zeros(problem.n_pairs, dtype), problem.table(shape, dtype)
        request.want_along_costs(slope, gradient)
        return slope, gradient

    return _solve_sharp(problem, n_jobs, want)


def _solve_sharp(problem, n_jobs, want):
    value, slope, *gradients = _solve(problem, n_jobs, want)
    with _arrays.device_of(value):
        slope[value == np.inf] = np.inf
    return slope, *gradients


def visit_vjp(problem, cotangent, n_jobs=1, to_series=False):
    """Gradient of <cotangent, E>: with respect to C (B, n, m), or to both series."""

    def want(request, dtype):
        slope = problem.arrays.zeros(problem.n_pairs, dtype)
        product = None if to_series else problem.table(cotangent.shape, dtype)
        request.want_product(cotangent.astype(dtype, copy=False), slope, product, unweighted=True)
        if not to_series:
            return (product,)
        gradients = _room_for_gradients(problem, dtype)
        request.want_series_gradients(*gradients)
        return gradients

    return _solve(problem, n_jobs, want)[1:]


def parameter_gradients(problem):
    """d value / d gamma (B,), d value / d step weights (B, S), and per cell (B, n, m, S) if the weights are, or None.

    Always by the general kernel, in float64.
    """
    problem, dtype, arrays = _generalised(problem), problem.dtype, problem.arrays
    rules = problem.recursion
    order = _kernel_order(rules.steps)
    shape = (*problem.given.shape, len(order))

    def want(request, dtype):
        gradient = arrays.zeros((problem.n_pairs, 1 + len(order)))
        of_cells = None if rules.graph.cell_weights is None else arrays.zeros(shape)
        request.want_parameter_gradient(gradient, of_cells)
        return gradient, of_cells

    _, gradient, of_cells = _solve(replace(problem, dtype=_DOUBLE), 1, want)
    with _arrays.device_of(gradient):
        inverse = arrays.asarray(np.argsort(order))
        of_cells = None if of_cells is None else _arrays.narrowed(of_cells[..., inverse], dtype)
        gradient = _arrays.narrowed(gradient, dtype)
        return gradient[:, 0], gradient[:, 1:][:, inverse], of_cells


def paths(problem, samples=0, seed=0, n_jobs=1):
    """Per pair a list of paths (L, 2): the best one (samples=0, hard operator) or draws from the law; (B,) values."""
    if problem.arrays is not np:
        return _drawn_on_device(problem, samples, seed) if samples else _paths_on_device(problem)
    rooms = problem.x_lengths + problem.y_lengths - 1  # paths are asked of paired collections only
    each = max(samples, 1)
    starts = np.cumsum(rooms * each) - rooms * each
    lengths = np.zeros((problem.n_pairs, each), dtype=np.int64)
    cells = np.empty((int((rooms * each).sum()), 2), dtype=np.int64)

    def want(request, dtype):
        request.want_paths(samples, seed, starts, cells, lengths)
        return ()

    value = _solve(problem, n_jobs, want)[0]
    found = []
    for start, room, row in zip(starts.tolist(), rooms.tolist(), lengths.tolist(), strict=True):
        begins = range(start, start + each * room, room)
        found.append([cells[begin : begin + length].copy() for begin, length in zip(begins, row, strict=True)])
    return found, value


def _paths_on_device(problem):
    """The best paths as the cells with a gradient, which a path meets row by row. Their number is waited for."""
    if problem.given is None:
        shape = (problem.n_pairs, problem.x.n_rows, problem.y.n_rows)
    else:
        shape = (problem.n_pairs, *problem.given.shape[1:])
    value, visits = matrix_gradients(problem, shape, visits=True)
    with visits.device:
        return [[problem.arrays.argwhere(visits[b] > 0)] for b in range(problem.n_pairs)], value


def _drawn_on_device(problem, samples, seed):
    """Paths of given costs drawn by the general kernel, with the CPU's numbers. Their lengths are waited for."""
    arrays, (pairs, n, m) = problem.arrays, problem.given.shape
    problem = _generalised(problem)

    def want(request, dtype):
        cells = arrays.empty((pairs, samples, n + m - 1, 2), np.int64)
        lengths = arrays.empty((pairs, samples), np.int64)
        request.want_paths(samples, seed, cells, lengths)
        return cells, lengths

    value, cells, lengths = _solve(problem, 1, want)
    with cells.device:
        counts = lengths.get().tolist()
        return [[cells[b, k, :count].copy() for k, count in enumerate(row)] for b, row in enumerate(counts)], value


def _generalised(problem):
    """The same problem for the general kernels, whatever its steps."""
    rules = problem.recursion
    return replace(problem, recursion=replace(rules, graph=rules.graph or _options.Graph()))


def ctc(batch, blank, with_gradient, n_jobs=1):
    """(B,) values of a Transcripts batch, and d value / d log_probs (B, T, K) or None."""
    if _arrays.on_device(batch.log_probs):
        return _ctc_on_device(batch, blank, with_gradient)
    dtype = batch.dtype
    while True:
        log_probs = batch.log_probs.astype(dtype, copy=False)
        value = np.empty(len(log_probs), dtype)
        gradient = np.zeros(log_probs.shape, dtype) if with_gradient else None
        arguments = (log_probs, batch.targets, batch.frames, batch.lengths, blank, value, gradient)
        status = _kernels.ctc(dtype == _SINGLE, *arguments, threads(n_jobs), level())
        if status == _kernels.DONE:
            break
        if status == _kernels.OVERFLOW:
            raise _words.costs_overflow()
        dtype = _DOUBLE
    if dtype is batch.dtype or not with_gradient:
        return _arrays.narrowed(value, batch.dtype), gradient
    return _arrays.narrowed(value, batch.dtype), _arrays.narrowed(gradient, batch.dtype)


def ctc_products(batch, blank, direction):
    """Of a Transcripts batch on a device, (B,) slopes <gradient, direction>, (B, T, K) products with the Hessian."""
    return _ctc_on_device(batch, blank, True, direction)[1:]


def ctc_beams(batch, blank, width):
    """Of a Transcripts batch on a device, int64 labels (B, T), how many of them there are (B,), (B,) values."""
    from ._cuda import beam as engine

    data, arrays = batch.log_probs, _arrays.namespace(batch.log_probs)
    with data.device:
        labels, count = (arrays.empty(shape, np.int64) for shape in (data.shape[:2], len(data)))
        value = arrays.empty(len(data))
        engine.run(data, batch.frames, blank, width, value, labels, count)
        return labels, count, value.astype(batch.dtype)


def _ctc_on_device(batch, blank, with_gradient, direction=None):
    """(B,) values and (B, T, K) gradients or None; with a direction values, slopes and products."""
    from ._cuda import ctc as engine

    data, arrays = batch.log_probs, _arrays.namespace(batch.log_probs)
    with data.device:  # where results are allocated and kernels launched
        value = arrays.empty(len(data), data.dtype)
        slope = () if direction is None else (arrays.empty(len(data), data.dtype),)
        gradient = arrays.zeros(data.shape, data.dtype) if with_gradient else None
        engine.run(data, batch.targets, batch.frames, batch.lengths, blank, value, gradient, direction, *slope)
    return value, *slope, gradient


def _solve(problem, n_jobs, want):
    """Run the request that `want` completes; -> (values, *the arrays `want` returned)."""
    if problem.arrays is not np:
        if problem.recursion.usual:
            from ._cuda import alignment as engine
        else:
            from ._cuda import general as engine

        with (problem.given if problem.x is None else problem.x.data).device:  # for results and kernels
            return _solve_by(engine, problem, n_jobs, want)
    if "cupy" in sys.modules:
        rules = problem.recursion
        graph = zip(_options.GRAPH_NAMES, rules.graph or (), strict=False)
        for name, array in (("window", rules.mask), ("prior", problem.given), *graph):
            if _arrays.on_device(array):
                raise _words.mixed_devices(name, True)
    return _solve_by(_kernels, problem, n_jobs, want)


def _solve_by(engine, problem, n_jobs, want):
    n_threads, dtype = threads(n_jobs), problem.dtype
    while True:
        request = problem.request(dtype, engine)
        outputs = want(request, dtype)
        value = problem.arrays.empty(problem.n_pairs, dtype)
        status = request.run(value, n_threads, level())
        if status == _kernels.DONE:
            break
        if status == _kernels.OVERFLOW:
            raise _words.costs_overflow()
        dtype = _DOUBLE  # NEEDS_DOUBLE: too large a range for float32
    if dtype is problem.dtype:
        return value, *outputs
    return tuple(None if array is None else _arrays.narrowed(array, problem.dtype) for array in (value, *outputs))


# ---- recurrent networks


def gru_forward(batch):
    """Run a batch of coupled GRUs, which describes itself as the kernels want it (see _kernels/recurrent.pyx)."""
    kernels, blas = _recurrent()
    with blas:
        kernels.forward(batch)


def gru_backward(batch):
    """Backpropagation through time after `gru_forward`."""
    kernels, blas = _recurrent()
    with blas:
        kernels.backward(batch)


def gru_on_device(network, x, lengths1, lengths2, whole=False):
    """Coupled GRUs after their forward pass, on CuPy arrays; see _cuda/gru.py."""
    from ._cuda import gru

    done = gru.Pass(network, x, lengths1, lengths2, whole)
    done.forward()
    return done


@functools.cache
def _recurrent():
    """The kernels and the BLAS they use, on one thread; loaded at first use, for scipy.linalg takes its time."""
    from ._kernels import recurrent

    return recurrent, _BlasOnOneThread()


class _BlasOnOneThread:
    """While any thread is within, BLAS uses no threads of its own.

    Products of this size gain nothing from them, and their rounding would vary. The setting is the process's, so the
    first thread to enter makes it and the last to leave restores what was before.
    """

    def __init__(self):
        from threadpoolctl import ThreadpoolController

        self.libraries = ThreadpoolController().select(user_api="blas")
        self.lock, self.inside, self.limit = threading.Lock(), 0, None

    def __enter__(self):
        with self.lock:
            self.inside += 1
            if self.inside == 1:
                self.limit = self.libraries.limit(limits=1)

    def __exit__(self, *_):
        with self.lock:
            self.inside -= 1
            if self.inside == 0:
                for library in self.libraries.lib_controllers:
                    # threadpoolctl 3.8 listens to the thread that made the setting alone; the last may be another.
                    if hasattr(library, "clear_controlling_thread"):
                        library.clear_controlling_thread(force=True)
                self.limit.__exit__(None, None, None)


# ---- chains and graphs


class ChainProblem(NamedTuple):
    """Chains whose smoothed best sequence is sought."""

    potentials: _arrays.Potentials
    regularizer: str | None
    gamma: float
    n_jobs: int

    @property
    def arrays(self):
        """The namespace of the potentials, and so of the results."""
        return _arrays.namespace(self.potentials.data)


def chain_values(problem):
    """(B,) values; -inf where no sequence is admissible."""
    return _solve_chains(problem, _nothing_more)[0]


def chain_gradients(problem, marginals_alone=False):
    """(B,) values, gradient laid out as the potentials, and None or (S, S): of the transition, summed over the batch.

    marginals_alone : not the transition's.
    """
    data, transition = problem.potentials.data, problem.potentials.transition
    zeros = problem.arrays.zeros

    def want(request, dtype):
        gradient = zeros(data.shape, dtype)
        total = None if transition is None or marginals_alone else zeros(transition.shape)
        request.want_gradient(gradient, total)
        return gradient, total

    return _solve_chains(problem, want)


def chain_products(problem, direction, transition_direction):
    """(B,) slopes <gradient, direction>, and the Hessian product, laid out as `chain_gradients` says.

    transition_direction : None for zeros.
    """
    data, transition = problem.potentials.data, problem.potentials.transition
    zeros = problem.arrays.zeros

    def want(request, dtype):
        slope, product = zeros(len(data)), zeros(data.shape, dtype)
        total = None if transition is None else zeros(transition.shape)
        turned = None if transition_direction is None else transition_direction.astype(dtype, copy=False)
        request.want_product(direction.astype(dtype, copy=False), turned, slope, product, total)
        return slope, product, total

    return _solve_chains(problem, want)[1:]


def chain_paths(problem, samples=0, seed=0):
    """(B, max(samples, 1), T) states of the best sequences (samples=0, hard operator) or of draws; (B,) values."""
    shape = (len(problem.potentials), max(samples, 1), problem.potentials.data.shape[1])

    def want(request, dtype):
        paths = problem.arrays.zeros(shape, np.int64)
        request.want_paths(samples, seed, paths)
        return (paths,)

    value, paths = _solve_chains(problem, want)
    return paths, value


def _solve_chains(problem, want):
    """Run the request that `want` completes; -> (values, *the arrays `want` returned)."""
    given, gamma = problem.potentials, problem.gamma
    engine = _chains
    if problem.arrays is not np:
        from ._cuda import chain as engine
    n_threads = threads(problem.n_jobs)
    narrow = given.dtype == _SINGLE and 1e-30 < gamma < 1e30
    with _arrays.device_of(given.data):  # where results are allocated and kernels launched
        for dtype in (_SINGLE, _DOUBLE) if narrow else (_DOUBLE,):
            data, transition = (
                part if part is None else part.astype(dtype, copy=False) for part in (given.data, given.transition)
            )
            request = engine.Request(
                dtype == _SINGLE, given.lengths, _OPERATORS[problem.regularizer], gamma, data, transition
            )
            outputs = want(request, dtype)
            value = problem.arrays.empty(len(data))
            if request.run(value, n_threads, level()) == _kernels.DONE:
                break
            _arrays.check_potentials(given)  # the common reason; else the range of dtype is too small
        else:
            raise _words.potentials_overflow()
        return tuple(
            array if array is None or array.dtype in (given.dtype, np.int64) else _arrays.narrowed(array, given.dtype)
            for array in (value, *outputs)
        )


def shortest_paths(first, source, regularizer, gamma, costs, direction=None):
    """Of a graph in CSR order: (B,) values, (B, E) edge marginals; along a direction (B, E), slopes and products."""
    value, marginals = np.empty(len(costs)), np.empty(costs.shape)
    slope, product = (None, None) if direction is None else (np.empty(len(costs)), np.empty(costs.shape))
    operator = _OPERATORS[regularizer]
    _chains.shortest_paths(first, source, operator, gamma, costs, value, marginals, direction, slope, product)
    return value, marginals, slope, product


# ---- threads and instruction levels

_forked = False


def _after_fork():
    global _forked
    _forked = True


if hasattr(os, "register_at_fork"):
    # GNU OpenMP's threads do not survive a fork, and a child that asks for them waits for ever.
    os.register_at_fork(after_in_child=_after_fork)


def threads(n_jobs):
    """Threads for a validated n_jobs (0: all that OpenMP would use); one in a forked child."""
    if n_jobs == 1 or _forked:
        return 1
    return n_jobs or _kernels.max_threads()


_level = None


def level():
    """Instruction level of the kernels: the best of this processor, or what SDTWKIT_SIMD names."""
    global _level
    if _level is None:
        _level = _options.check_level(os.environ.get("SDTWKIT_SIMD"), _kernels.LEVELS, _kernels.best_level())
    return _level


def info():
    """What `show_versions` prints of the engines."""
    from ._cuda import kernels

    built = _kernels.build_info()
    return {
        "instruction level": _kernels.LEVELS[level()],
        "OpenMP": f"{'yes' if built['openmp'] else 'no'}, {_kernels.max_threads()} threads",
        "compiler": built["compiler"],
        "CUDA": kernels.info(),
    }


# ---- continuous warps

WARP_NOWHERE, WARP_EVERYWHERE = _warps.NOWHERE, _warps.EVERYWHERE
warp_kernel = _warps.Warp


def warps_on_device(x, y, frames, which, starts, size, n_values):
    """The pairs of two Series of CuPy arrays, solved; see _cuda/warp.py."""
    from ._cuda import warp

    return warp.Warps(x, y, frames, which, starts, size, n_values)
