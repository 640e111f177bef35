"""The door to the kernels of coupled GRUs: passes over all steps, without the GIL, on scipy's BLAS.

Nothing is validated: the shapes, of which include/sdtwkit/gru.h speaks, are the caller's word. Arrays are C-contiguous
(a memoryview checks that) and of one dtype.
"""

from cython cimport floating
from libc.stdint cimport int64_t
from libcpp cimport bool as boolean
from scipy.linalg.cython_blas cimport dgemm, sgemm

cdef extern from "sdtwkit/gru.h" namespace "sdtw" nogil:
    cdef cppclass Gru[T]:
        Gru()
        Py_ssize_t sides, pairs, steps, channels, hidden
        int coupling, level
        boolean hold
        T kappa
        void* gemm
        const int64_t* active
        const int64_t* length[2]
        const T* x
        const T* input_weights
        const T* bias
        const T* state_weights
        T* states
        T* rows
        T* moved
        T* scratch
        T* cotangent
        T* before
        const T* sync
        T* x_gradient
        T* input_gradient
        T* bias_gradient
        T* state_gradient

    void gru_forward[T](const Gru[T]&)
    void gru_backward[T](const Gru[T]&)

COUPLINGS = ("none", "pre", "leak", "add")  # by their numbers


def forward(batch):
    """Fill `states`, whose first step is zero on entry, `rows` and `moved`.

    `batch` has the attributes coupling (a number), hold, kappa, level and the arrays up to `scratch` of gru.h, in
    their shapes there; `lengths` is (sides, pairs). `backward` wants the others, too; its `sync` may be None.
    """
    cdef Gru[float] single
    cdef Gru[double] double_
    if batch.x.itemsize == 4:
        describe(single, batch)
        with nogil:
            gru_forward(single)
    else:
        describe(double_, batch)
        with nogil:
            gru_forward(double_)


def backward(batch):
    """After `forward`: fill the gradients, `bias_gradient` zero on entry; `rows` and `cotangent` are used up."""
    cdef Gru[float] single
    cdef Gru[double] double_
    if batch.x.itemsize == 4:
        describe(single, batch)
        describe_backward(single, batch)
        with nogil:
            gru_backward(single)
    else:
        describe(double_, batch)
        describe_backward(double_, batch)
        with nogil:
            gru_backward(double_)


cdef int describe(Gru[floating]& g, batch) except -1:
    cdef const int64_t[::1] active = batch.active
    cdef const int64_t[:, ::1] lengths = batch.lengths
    cdef const floating[:, :, :, ::1] x = batch.x
    cdef const floating[:, ::1] input_weights = batch.input_weights
    cdef const floating[::1] bias = batch.bias
    cdef const floating[:, ::1] state_weights = batch.state_weights
    cdef floating[:, :, :, ::1] states = batch.states
    cdef floating[:, :, :, ::1] rows = batch.rows
    cdef floating[:, :, :, ::1] moved = batch.moved
    cdef floating[:, :, ::1] scratch = batch.scratch
    if floating is float:
        g.gemm = <void*>sgemm
    else:
        g.gemm = <void*>dgemm
    g.sides, g.steps, g.pairs, g.channels = x.shape[0], x.shape[1], x.shape[2], x.shape[3]
    g.hidden = states.shape[3]
    g.coupling, g.level, g.hold, g.kappa = batch.coupling, batch.level, batch.hold, batch.kappa
    g.active, g.length[0], g.length[1] = &active[0], &lengths[0, 0], &lengths[lengths.shape[0] - 1, 0]
    g.x, g.input_weights = &x[0, 0, 0, 0], &input_weights[0, 0]
    g.bias, g.state_weights = &bias[0], &state_weights[0, 0]
    g.states, g.rows = &states[0, 0, 0, 0], &rows[0, 0, 0, 0]
    g.moved, g.scratch = &moved[0, 0, 0, 0], &scratch[0, 0, 0]
    return 0


cdef int describe_backward(Gru[floating]& g, batch) except -1:
    cdef floating[:, :, ::1] cotangent = batch.cotangent
    cdef floating[:, :, ::1] before = batch.before
    cdef floating[::1] sync = batch.sync
    cdef floating[:, :, :, ::1] x_gradient = batch.x_gradient
    cdef floating[:, ::1] input_gradient = batch.input_gradient
    cdef floating[::1] bias_gradient = batch.bias_gradient
    cdef floating[:, ::1] state_gradient = batch.state_gradient
    g.cotangent, g.before = &cotangent[0, 0, 0], &before[0, 0, 0]
    g.sync = NULL
    if sync is not None:
        g.sync = &sync[0]
    g.x_gradient = &x_gradient[0, 0, 0, 0]
    g.input_gradient, g.bias_gradient = &input_gradient[0, 0], &bias_gradient[0]
    g.state_gradient = &state_gradient[0, 0]
    return 0
