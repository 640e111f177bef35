"""The door to the alignment kernels: fills a C++ request from arrays and runs it without the GIL.

Nothing is validated here beyond what a crash would need: buffers must be C-contiguous (asking for one checks that)
and of the dtype that `Request(dtype)` was made for; shapes are the caller's word.
"""

from cpython.buffer cimport (
    PyBUF_SIMPLE, PyBUF_WRITABLE, Py_buffer, PyBuffer_Release, PyObject_CheckBuffer, PyObject_GetBuffer,
)
from libc.stdint cimport int64_t, uint64_t

from sdtwkit._kernels.door cimport address, interrupted, raise_pending

cdef extern from "sdtwkit/ctc.h" namespace "sdtw" nogil:
    cdef cppclass CtcRequest:
        CtcRequest() except +
        bint single_precision
        int64_t samples, frames, classes, targets, blank
        const void* log_probs
        const int64_t* target
        const int64_t* frames_of
        const int64_t* targets_of
        void* value
        void* gradient
        int threads, level
        int (*interrupted)() noexcept

cdef extern from "sdtwkit/request.h" namespace "sdtw" nogil:
    cdef struct SeriesArray:
        const void* data
        const int64_t* start
        const int64_t* length
        const int64_t* index
        void* gradient

    cdef struct MatrixArray:
        void* data
        int64_t pair_stride, row_stride

    cdef cppclass CRequest "sdtw::Request":
        CRequest() except +
        bint single_precision, visits, unweighted_direction, along_costs
        int64_t pairs, channels, radius, n_steps, samples
        SeriesArray x, y
        int cost, op, open_begin, open_end, threads, level
        double cost_parameter, gamma
        double[3] weights
        const int64_t* steps
        const double* step_weights
        MatrixArray given, mask, gradient, direction, product
        MatrixArray step_mask, cell_weights, begin_mask, end_mask, begin_weights, end_weights, weight_gradient
        double* parameter_gradient
        void* value
        void* slope
        uint64_t seed
        const int64_t* path_start
        int64_t* paths
        int64_t* path_length
        int (*interrupted)() noexcept

    int c_run "sdtw::run"(const CRequest&) except +
    int c_run_ctc "sdtw::run"(const CtcRequest&) except +
    bint c_all_finite "sdtw::all_finite"(const void*, int64_t, bint)
    int c_best_level "sdtw::best_level"()
    int c_max_threads "sdtw::max_threads"()
    bint c_has_openmp "sdtw::has_openmp"()
    const char* c_compiler "sdtw::compiler"()

DONE, NEEDS_DOUBLE, OVERFLOW = 0, 1, 2
HARD, ENTROPY, SPARSE = 0, 1, 2
LEVELS = ("baseline", "avx2", "avx512")


def best_level():
    """Index into LEVELS of the highest instruction level this processor runs."""
    return c_best_level()


def max_threads():
    """Threads that OpenMP would use now (OMP_NUM_THREADS and threadpoolctl are heeded)."""
    return c_max_threads()


def build_info():
    return {"openmp": c_has_openmp(), "compiler": c_compiler().decode()}


def all_finite(array):
    """Whether a C-contiguous float32 or float64 array holds neither NaN nor an infinity.

    An array without a buffer lies on a device and is taken at its word: to look would be to wait for it. Its kernels
    turn what is not finite into a value of NaN.
    """
    cdef Py_buffer view
    cdef bint finite
    if not PyObject_CheckBuffer(array):
        return True
    PyObject_GetBuffer(array, &view, PyBUF_SIMPLE)
    if view.len < 1 << 20:  # others need not wait for the lock
        finite = c_all_finite(view.buf, view.len // view.itemsize, view.itemsize == 4)
    else:
        with nogil:
            finite = c_all_finite(view.buf, view.len // view.itemsize, view.itemsize == 4)
    PyBuffer_Release(&view)
    return finite


cdef void set_matrix(MatrixArray* target, array, int flags) except *:
    """A (B, n, m) array, or (B, n, m, S) with an entry for each step; (1, ...) is shared by all pairs."""
    if array is None:
        return
    target.data = address(array, flags)
    shape = array.shape
    target.row_stride = shape[2] if len(shape) == 3 else shape[2] * shape[3]
    target.pair_stride = shape[1] * target.row_stride if shape[0] > 1 else 0


cdef class Request:
    """One alignment problem, any number of pairs; the methods say what is given and what is wanted."""
    cdef CRequest c
    cdef list kept  # arrays whose memory the request points into

    def __init__(
        self,
        bint single_precision,
        int64_t pairs,
        x_lengths,
        y_lengths,
        x_index,
        y_index,
        int op,
        double gamma,
        tuple step_weights,
        int64_t radius,
        mask,
        int open_begin,
        int open_end,
    ):
        """Pair b has x_lengths[x_index[b]] rows and y_lengths[y_index[b]] columns; an index of None is b itself."""
        self.kept = [x_lengths, y_lengths, x_index, y_index, mask]
        self.c.single_precision = single_precision
        self.c.pairs = pairs
        self.c.x.length = <int64_t*>address(x_lengths, PyBUF_SIMPLE)
        self.c.y.length = <int64_t*>address(y_lengths, PyBUF_SIMPLE)
        self.c.x.index = <int64_t*>address(x_index, PyBUF_SIMPLE)
        self.c.y.index = <int64_t*>address(y_index, PyBUF_SIMPLE)
        self.c.op, self.c.gamma, self.c.radius = op, gamma, radius
        self.c.weights[0], self.c.weights[1], self.c.weights[2] = step_weights
        self.c.open_begin, self.c.open_end = open_begin, open_end
        set_matrix(&self.c.mask, mask, PyBUF_SIMPLE)

    def general_steps(self, steps, step_weights):
        """Other steps than the three: (S, 2) int64 and (S,) float64."""
        self.kept += [steps, step_weights]
        self.c.n_steps = len(step_weights)
        self.c.steps = <int64_t*>address(steps, PyBUF_SIMPLE)
        self.c.step_weights = <double*>address(step_weights, PyBUF_SIMPLE)

    def graph(self, step_mask, cell_weights, begin_mask, end_mask, begin_weights, end_weights):
        """After general_steps, what differs from cell to cell: bool and float64, (B or 1, n, m, ...), or None."""
        self.kept += [step_mask, cell_weights, begin_mask, end_mask, begin_weights, end_weights]
        set_matrix(&self.c.step_mask, step_mask, PyBUF_SIMPLE)
        set_matrix(&self.c.cell_weights, cell_weights, PyBUF_SIMPLE)
        set_matrix(&self.c.begin_mask, begin_mask, PyBUF_SIMPLE)
        set_matrix(&self.c.end_mask, end_mask, PyBUF_SIMPLE)
        set_matrix(&self.c.begin_weights, begin_weights, PyBUF_SIMPLE)
        set_matrix(&self.c.end_weights, end_weights, PyBUF_SIMPLE)

    def series(self, int cost, double parameter, int64_t channels, x, x_starts, y, y_starts):
        """Local costs on the fly from (rows, channels) arrays."""
        self.kept += [x, x_starts, y, y_starts]
        self.c.cost, self.c.cost_parameter, self.c.channels = cost, parameter, channels
        self.c.x.data, self.c.x.start = address(x, PyBUF_SIMPLE), <int64_t*>address(x_starts, PyBUF_SIMPLE)
        self.c.y.data, self.c.y.start = address(y, PyBUF_SIMPLE), <int64_t*>address(y_starts, PyBUF_SIMPLE)

    def costs(self, given):
        """Given local costs, or what is added to those of the series; (B or 1, n, m)."""
        self.kept.append(given)
        set_matrix(&self.c.given, given, PyBUF_SIMPLE)

    def want_series_gradients(self, x_gradient, y_gradient):
        """OUT, zero on entry, laid out as the series, or None; under a direction, of the Hessian product."""
        self.kept += [x_gradient, y_gradient]
        self.c.x.gradient = address(x_gradient, PyBUF_WRITABLE)
        self.c.y.gradient = address(y_gradient, PyBUF_WRITABLE)

    def want_gradient(self, gradient, bint visits=False):
        """OUT (B, n, m), zero on entry; visits: the expected alignment instead of d value / d C."""
        self.kept.append(gradient)
        self.c.visits = visits
        set_matrix(&self.c.gradient, gradient, PyBUF_WRITABLE)

    def want_product(self, direction, slope, product, bint unweighted=False):
        """IN (B, n, m); OUT (B,) and, zero on entry, (B, n, m) or None."""
        self.kept += [direction, slope, product]
        self.c.unweighted_direction = unweighted
        set_matrix(&self.c.direction, direction, PyBUF_SIMPLE)
        self.c.slope = address(slope, PyBUF_WRITABLE)
        set_matrix(&self.c.product, product, PyBUF_WRITABLE)

    def want_along_costs(self, slope, product=None):
        """The direction is C itself: OUT (B,) <d value / d C, C> and its gradient, (B, n, m), zero on entry, or None.

        Gradients of the series are then those of the slope, too.
        """
        self.kept += [slope, product]
        self.c.along_costs = True
        self.c.slope = address(slope, PyBUF_WRITABLE)
        set_matrix(&self.c.product, product, PyBUF_WRITABLE)

    def want_parameter_gradient(self, gradient, weight_gradient=None):
        """After general_steps. OUT, zero on entry: (B, 1 + S) for gamma and the steps, (B, n, m, S) for the cells."""
        self.kept += [gradient, weight_gradient]
        self.c.parameter_gradient = <double*>address(gradient, PyBUF_WRITABLE)
        set_matrix(&self.c.weight_gradient, weight_gradient, PyBUF_WRITABLE)

    def want_paths(self, int64_t samples, uint64_t seed, path_starts, paths, path_lengths):
        """samples 0: the best path. OUT (rooms, 2) cells and the lengths (B, max(samples, 1)), int64."""
        self.kept += [path_starts, paths, path_lengths]
        self.c.samples, self.c.seed = samples, seed
        self.c.path_start = <int64_t*>address(path_starts, PyBUF_SIMPLE)
        self.c.paths = <int64_t*>address(paths, PyBUF_WRITABLE)
        self.c.path_length = <int64_t*>address(path_lengths, PyBUF_WRITABLE)

    def run(self, value, int threads, int level):
        """Fill the OUT arrays; returns DONE, NEEDS_DOUBLE or OVERFLOW (then they hold nothing)."""
        cdef int status
        self.c.value = address(value, PyBUF_WRITABLE)
        self.c.threads, self.c.level = threads, level
        self.c.interrupted = interrupted
        with nogil:
            status = c_run(self.c)
        if status == -1:
            raise_pending()
        return status


def ctc(
    bint single_precision, log_probs, targets, frames_of, targets_of, int64_t blank, value, gradient, int threads,
    int level
):
    """CTC of (B, T, K) log-probabilities and (B, M) int64 targets of true lengths frames_of and targets_of (B,).

    OUT value (B,) and gradient, like log_probs and zero on entry, or None; returns a status as `Request.run`.
    """
    cdef CtcRequest c
    cdef int status
    c.single_precision = single_precision
    c.samples, c.frames, c.classes = log_probs.shape
    c.targets, c.blank = targets.shape[1], blank
    c.log_probs = address(log_probs, PyBUF_SIMPLE)
    c.target = <int64_t*>address(targets, PyBUF_SIMPLE)
    c.frames_of = <int64_t*>address(frames_of, PyBUF_SIMPLE)
    c.targets_of = <int64_t*>address(targets_of, PyBUF_SIMPLE)
    c.value, c.gradient = address(value, PyBUF_WRITABLE), address(gradient, PyBUF_WRITABLE)
    c.threads, c.level, c.interrupted = threads, level, interrupted
    with nogil:
        status = c_run_ctc(c)
    if status == -1:
        raise_pending()
    return status
