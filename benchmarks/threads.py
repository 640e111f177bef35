"""How many threads a process is given. Imports nothing: it must act before NumPy, Numba and torch are loaded."""

VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS")


def environment(count):
    """Environment variables that give every library `count` threads."""
    return dict.fromkeys(VARIABLES, str(count))
