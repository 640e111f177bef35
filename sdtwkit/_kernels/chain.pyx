"""The door to the kernels of chains and of graphs: fills C++ requests from arrays and runs them without the GIL.

Nothing is validated here beyond what a crash would need: buffers must be C-contiguous; dtypes and shapes are the
caller's word. The numbers of operators, levels and states of completion are those of the alignment door.
"""

from cpython.buffer cimport PyBUF_SIMPLE, PyBUF_WRITABLE
from libc.stdint cimport int64_t, uint64_t

from sdtwkit._kernels.door cimport address, interrupted, raise_pending

cdef extern from "sdtwkit/chain.h" namespace "sdtw" nogil:
    cdef cppclass ChainRequest:
        ChainRequest() except +
        bint single_precision
        int64_t chains, steps, states, samples
        const int64_t* length
        int op, threads, level
        double gamma
        const void* theta
        const void* unary
        const void* transition
        double* value
        void* gradient
        double* transition_gradient
        const void* direction
        const void* transition_direction
        double* slope
        void* product
        double* transition_product
        uint64_t seed
        int64_t* paths
        int (*interrupted)() noexcept

    int run_chains(const ChainRequest&) except +

cdef extern from "sdtwkit/dag.h" namespace "sdtw" nogil:
    cdef cppclass DagRequest:
        DagRequest() except +
        int64_t problems, nodes, edges
        const int64_t* first
        const int64_t* source
        int op
        double gamma
        const double* cost
        double* value
        double* marginals
        const double* direction
        double* slope
        double* product
        int (*interrupted)() noexcept

    int run_dag(const DagRequest&) except +


cdef class Request:
    """Chains of S states in at most T steps, any number of them; the methods say what is wanted."""
    cdef ChainRequest c
    cdef list kept  # arrays whose memory the request points into

    def __init__(self, bint single_precision, lengths, int op, double gamma, theta, transition=None):
        """theta (B, T, S, S); or, with a transition (S, S), theta is the unary (B, T, S)."""
        self.kept = [lengths, theta, transition]
        self.c.single_precision, self.c.op, self.c.gamma = single_precision, op, gamma
        self.c.chains, self.c.steps, self.c.states = theta.shape[:3]
        self.c.length = <int64_t*>address(lengths, PyBUF_SIMPLE)
        if transition is None:
            self.c.theta = address(theta, PyBUF_SIMPLE)
        else:
            self.c.unary, self.c.transition = address(theta, PyBUF_SIMPLE), address(transition, PyBUF_SIMPLE)

    def want_gradient(self, gradient, transition_gradient=None):
        """OUT as theta, zero on entry, and float64 (S, S), zero on entry."""
        self.kept += [gradient, transition_gradient]
        self.c.gradient = address(gradient, PyBUF_WRITABLE)
        self.c.transition_gradient = <double*>address(transition_gradient, PyBUF_WRITABLE)

    def want_product(self, direction, transition_direction, slope, product, transition_product):
        """IN as theta and (S, S); OUT float64 (B,), as theta and float64 (S, S), zero on entry."""
        self.kept += [direction, transition_direction, slope, product, transition_product]
        self.c.direction = address(direction, PyBUF_SIMPLE)
        self.c.transition_direction = address(transition_direction, PyBUF_SIMPLE)
        self.c.slope = <double*>address(slope, PyBUF_WRITABLE)
        self.c.product = address(product, PyBUF_WRITABLE)
        self.c.transition_product = <double*>address(transition_product, PyBUF_WRITABLE)

    def want_paths(self, int64_t samples, uint64_t seed, paths):
        """samples 0: the best sequence. OUT (B, max(samples, 1), T) int64."""
        self.kept.append(paths)
        self.c.samples, self.c.seed = samples, seed
        self.c.paths = <int64_t*>address(paths, PyBUF_WRITABLE)

    def run(self, value, int threads, int level):
        """Fill the OUT arrays, float64 value (B,) among them; returns DONE or OVERFLOW (then they hold nothing)."""
        cdef int status
        self.c.value = <double*>address(value, PyBUF_WRITABLE)
        self.c.threads, self.c.level, self.c.interrupted = threads, level, interrupted
        with nogil:
            status = run_chains(self.c)
        if status == -1:
            raise_pending()
        return status


def shortest_paths(first, source, int op, double gamma, cost, value, marginals, direction, slope, product):
    """IN int64 (N + 1,), (E,), float64 (B, E); OUT float64 (B,), (B, E); direction (B, E) and what follows or None."""
    cdef DagRequest c
    cdef int status
    c.problems, c.edges = cost.shape
    c.nodes = len(first) - 1
    c.first, c.source = <int64_t*>address(first, PyBUF_SIMPLE), <int64_t*>address(source, PyBUF_SIMPLE)
    c.op, c.gamma, c.cost = op, gamma, <double*>address(cost, PyBUF_SIMPLE)
    c.value, c.marginals = <double*>address(value, PyBUF_WRITABLE), <double*>address(marginals, PyBUF_WRITABLE)
    c.direction = <double*>address(direction, PyBUF_SIMPLE)
    c.slope, c.product = <double*>address(slope, PyBUF_WRITABLE), <double*>address(product, PyBUF_WRITABLE)
    c.interrupted = interrupted
    with nogil:
        status = run_dag(c)
    if status == -1:
        raise_pending()
