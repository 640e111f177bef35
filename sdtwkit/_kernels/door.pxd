"""What all doors share: addresses of arrays, and signals that arrive while a kernel runs."""

from cpython.buffer cimport Py_buffer, PyBuffer_Release, PyObject_GetBuffer

cdef extern from "Python.h":
    int PyErr_CheckSignals()  # declared without `except`: the error it sets is raised after the kernel has returned


cdef inline int interrupted() noexcept with gil:
    return PyErr_CheckSignals()


cdef inline int raise_pending() except -1:
    return -1  # the signal handler's exception is already set


cdef inline void* address(array, int flags) except? NULL:
    """Of a C-contiguous buffer (asking for one checks that), writable if the flags say so; NULL for None."""
    cdef Py_buffer view
    if array is None:
        return NULL
    PyObject_GetBuffer(array, &view, flags)
    cdef void* data = view.buf
    PyBuffer_Release(&view)
    return data
