"""Memory and streams of other frameworks: nothing is copied, and nobody waits."""

from contextlib import contextmanager


def array_of(tensor):
    """A CuPy array over the memory of a tensor on a CUDA device, by DLPack; within `on_stream`."""
    return _cupy().from_dlpack(tensor)


@contextmanager
def on_stream(device, pointer):
    """Within, CuPy computes on a device (its number) and on another framework's stream there (its CUDA handle)."""
    cupy = _cupy()
    with cupy.cuda.Device(device), _stream(cupy, device, pointer):
        yield


def _stream(cupy, device, pointer):
    if hasattr(cupy.cuda.Stream, "from_external"):
        return cupy.cuda.Stream.from_external(_Handle(pointer))
    return cupy.cuda.ExternalStream(pointer, device)  # before CuPy 14


class _Handle:
    """A stream as CUDA's stream protocol wants it."""

    def __init__(self, pointer):
        self.pointer = pointer

    def __cuda_stream__(self):
        return 0, self.pointer


def _cupy():
    try:
        import cupy
    except ImportError as error:
        raise ImportError(
            "tensors on a CUDA device need CuPy: python -m pip install 'sdtwkit[gpu]' (CUDA 13) or 'sdtwkit[gpu12]' "
            "(CUDA 12)"
        ) from error
    return cupy
