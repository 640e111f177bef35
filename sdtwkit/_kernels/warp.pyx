"""The door to the continuous warps: holds the arrays of one problem and runs the kernels on them without the GIL.

Nothing is validated here: arrays are C-contiguous float64 of the shapes said (a memoryview checks dtype and layout),
and bounds leave a feasible path.
"""

from libc.stdint cimport int8_t

cdef extern from "sdtwkit/warp.h" namespace "sdtw::warp" nogil:
    cdef struct Loss:
        int shape
        double delta

    cdef struct Problem:
        ptrdiff_t n, nx, ny, channels
        const double* t
        const double* x
        const double* tx
        const double* y
        const double* ty
        const double* reg
        const double* slope_lower
        const double* slope_upper
        const double* lower
        const double* upper
        double target
        Loss loss, reg_loss, cum_loss
        double cum
        bint symmetric

    cdef cppclass Optimality:
        void adjoint(const double*, double*, double*, double*)
        void pull_back(const double*, const double*, double*, double*, double*)
        void pull_back_value(double, double*, double*, double*)

    cdef cppclass Certificate:
        const Optimality& best()

    cdef cppclass CWarp "sdtw::warp::Warp":
        CWarp() except +
        Problem problem
        const double* bound_lower
        const double* bound_upper
        double tolerance
        Certificate certificate
        double certify(double*, int8_t*, int8_t*, double*, double*, double*, double*) except +

    int search_for "sdtw::warp::search"(const Problem&, const double*, ptrdiff_t, double*) except +

NOWHERE, SOMEWHERE, EVERYWHERE = 0, 1, 2
SHAPES = ("l2", "l1", "huber")
FREE, KNOT, ROOT, AT_LOWER, AT_UPPER, PINNED = range(6)
LOOSE, SLOPE_LOWER, SLOPE_UPPER, SLOPE_TARGET = range(4)


cdef const double* start(const double[::1] array) noexcept nogil:
    return &array[0] if array.shape[0] else NULL


cdef double* out(double[::1] array) noexcept nogil:
    return &array[0] if array.shape[0] else NULL


cdef class Warp:
    """One problem: what is given, then `search`, `certify`, and derivatives at the certified phi."""
    cdef CWarp c
    cdef list kept  # arrays whose memory the problem points into

    def __init__(
        self,
        const double[::1] t,
        const double[:, ::1] x,
        const double[::1] tx,
        const double[:, ::1] y,
        const double[::1] ty,
        const double[::1] reg,
        double target,
        double tolerance,
    ):
        """t (n,); x (nx, channels) at tx; y (ny, channels) at ty; reg (n - 1,)."""
        self.kept = [t, x, tx, y, ty, reg]
        self.c.problem.n, self.c.problem.channels = t.shape[0], x.shape[1]
        self.c.problem.nx, self.c.problem.ny = x.shape[0], y.shape[0]
        self.c.problem.t, self.c.problem.tx, self.c.problem.ty = start(t), start(tx), start(ty)
        self.c.problem.x, self.c.problem.y, self.c.problem.reg = &x[0, 0], &y[0, 0], start(reg)
        self.c.problem.target, self.c.tolerance = target, tolerance

    def losses(self, int loss, double delta, int reg_loss, double reg_delta, int cum_loss, double cum_delta, double cum,
               bint symmetric):
        """Indices into SHAPES, and where Huber's turn linear; cum: weight of the cumulative term."""
        self.c.problem.loss.shape, self.c.problem.loss.delta = loss, delta
        self.c.problem.reg_loss.shape, self.c.problem.reg_loss.delta = reg_loss, reg_delta
        self.c.problem.cum_loss.shape, self.c.problem.cum_loss.delta = cum_loss, cum_delta
        self.c.problem.cum, self.c.problem.symmetric = cum, symmetric

    def bounds(self, const double[::1] bound_lower, const double[::1] bound_upper, const double[::1] lower,
               const double[::1] upper, const double[::1] slope_lower, const double[::1] slope_upper):
        """Of phi (n,), as given and tightened by the slopes, and of its slopes (n - 1,)."""
        self.kept += [bound_lower, bound_upper, lower, upper, slope_lower, slope_upper]
        self.c.bound_lower, self.c.bound_upper = start(bound_lower), start(bound_upper)
        self.c.problem.lower, self.c.problem.upper = start(lower), start(upper)
        self.c.problem.slope_lower, self.c.problem.slope_upper = start(slope_lower), start(slope_upper)

    def search(self, products, ptrdiff_t candidates, double[::1] phi):
        """IN products (n, nx) or None; OUT phi (n,). NOWHERE, SOMEWHERE or EVERYWHERE: where phi is the best path."""
        cdef const double[:, ::1] table
        cdef const double* first = NULL
        cdef int found
        if products is not None:
            table = products
            first = &table[0, 0]
        with nogil:
            found = search_for(self.c.problem, first, candidates, out(phi))
        return found

    def certify(self, double[::1] phi, int8_t[::1] held, int8_t[::1] joined, double[::1] nodes, double[::1] slopes):
        """INOUT phi (n,); OUT the other arrays, (n,) or (n - 1,). -> objective, KKT residual, scale of multipliers."""
        cdef double objective, residual, scale
        cdef int8_t* joins = &joined[0] if joined.shape[0] else NULL
        with nogil:
            objective = self.c.certify(out(phi), &held[0], joins, out(nodes), out(slopes), &residual, &scale)
        return objective, residual, scale

    def adjoint(self, const double[::1] cotangent, double[::1] u, double[::1] nodes, double[::1] slopes):
        """OUT u (n,) and the multipliers of nodes (n,) and slopes (n - 1,)."""
        with nogil:
            self.c.certificate.best().adjoint(start(cotangent), out(u), out(nodes), out(slopes))

    def pull_back(self, const double[::1] u, const double[::1] nodes, double[:, ::1] x, double[:, ::1] y,
                  double[::1] reg):
        """Of an adjoint solution. INOUT x (nx, channels), y (ny, channels), reg (n - 1,): added to."""
        with nogil:
            self.c.certificate.best().pull_back(start(u), start(nodes), &x[0, 0], &y[0, 0], out(reg))

    def pull_back_value(self, double cotangent, double[:, ::1] x, double[:, ::1] y, double[::1] reg):
        """Of the objective, times a cotangent. INOUT x (nx, channels), y (ny, channels), reg (n - 1,): added to."""
        with nogil:
            self.c.certificate.best().pull_back_value(cotangent, &x[0, 0], &y[0, 0], out(reg))
