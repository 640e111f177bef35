"""Files of CUDA kernels: their sources, compiled by NVRTC for the device at hand at first use, and their launches.

Sources are package data. Their headers are pasted in, since CuPy's cache of compiled kernels looks at the text alone.
"""

import functools
import re
from pathlib import Path

import numpy as np

from .. import _words

_SOURCES = Path(__file__).parent.parent / "_kernels"
WARP = 32
_BLOCKS_PER_MULTIPROCESSOR = 32  # as many as may reside on one; more would find no work
_SHARED_UNASKED = 48 * 1024  # bytes a block may have without more ado, on any device
OPTIONS = ("-std=c++17",)


class KernelFile:
    """Kernels that are templates of one file, all of which take one structure `sdtw::Arguments<float or double>`.

    file : name of the file in _kernels/cuda.
    threads, blocks : how many threads a block has at most, and how many blocks a multiprocessor shall have room for:
        few enough to leave each thread as many registers as it wants.
    options : for NVRTC, beside those that all have.
    """

    def __init__(self, file, threads, blocks, options=()):
        self.file, self.threads, self.blocks = file, threads, blocks
        self.options = (*OPTIONS, *options)
        self.compiled = {}

    @functools.cached_property
    def text(self):
        """The source, its headers pasted in."""
        included = set()

        def paste(path):
            for line in path.read_text(encoding="utf-8").splitlines():
                header = re.fullmatch(r'#include "(?:sdtwkit/)?(\w+\.h)"', line)
                if header is None:
                    if line != "#pragma once":
                        yield line
                elif header[1] not in included:
                    included.add(header[1])
                    yield from paste(_SOURCES / "include" / "sdtwkit" / header[1])

        return "\n".join(paste(_SOURCES / "cuda" / self.file)) + "\n"

    @functools.cached_property
    def arguments_dtype(self):
        """The layout of `Arguments`, read from the source: eight bytes a field, addresses and indices as int64."""
        body = re.search(r"struct Arguments \{(.*?)\n\};", self.text, re.DOTALL)[1]
        fields = re.findall(r"^  (\S.*?[ *])(\w+);", body, re.MULTILINE)
        return np.dtype([(name, np.float64 if kind == "double " else np.int64) for kind, name in fields])

    def program(self, names):
        """The source, and kernels that call these instances of its templates.

        Kernels with C names, for not every CuPy keeps on disk what it compiled of templates.
        """
        kernels = (
            f'extern "C" __global__ void __launch_bounds__({self.threads}, {self.blocks}) {identifier(name)}'
            f"(const sdtw::Arguments<{scalar_of(name)}> a) {{ {name}(a); }}\n"
            for name in names
        )
        return self.text + "".join(kernels)

    def kernel(self, name):
        """A kernel by its name, compiled at its first call, alone: calls share kernels in many combinations."""
        if name not in self.compiled:
            import cupy

            module = cupy.RawModule(code=self.program([name]), options=self.options)
            self.compiled[name] = module.get_function(identifier(name))
        return self.compiled[name]

    def arguments(self, numbers, arrays):
        """One `Arguments`; fields that are in neither are 0."""
        arguments = np.zeros((), self.arguments_dtype)
        for name, number in numbers.items():
            arguments[name] = number
        for name, array in arrays.items():
            arguments[name] = array.data.ptr
        return arguments

    def launch(self, grids, threads, arguments, shared=()):
        """Kernels by name, with their numbers of blocks, one after the other.

        shared : {name: bytes of shared memory}, of kernels that learn at the launch how much they have.
        """
        shared = dict(shared)
        for name, blocks in grids.items():
            kernel, size = self.kernel(name), shared.get(name, 0)
            if size > _SHARED_UNASKED:
                kernel.max_dynamic_shared_size_bytes = size
            kernel((blocks,), (threads,), (arguments,), shared_mem=size)


def flags(*values):
    """Template arguments."""
    return ", ".join("true" if value else "false" for value in values)


def identifier(name):
    """What a kernel is called in C: template arguments spelled out."""
    return re.sub(r"\W+", "_", name.replace("sdtw::", "")).strip("_")


def scalar_of(name):
    """The number format of a kernel."""
    return "double" if "double" in name else "float"


def node_bytes(state, scalar, tangents):
    """Bytes of a state, and of its tangent beside it, as C++ lays them out."""
    if not tangents:
        return state
    aligned = 8 if state == 16 else scalar
    return -(-(state + scalar) // aligned) * aligned


@functools.cache
def most_blocks(device_id, resident=_BLOCKS_PER_MULTIPROCESSOR):
    """As many blocks as are worth launching, of which a multiprocessor has room for so many."""
    import cupy

    return cupy.cuda.Device(device_id).attributes["MultiProcessorCount"] * resident


@functools.cache
def most_shared(device_id):
    """Bytes of shared memory that a block may have if it asks for them."""
    import cupy

    return cupy.cuda.Device(device_id).attributes["MaxSharedMemoryPerBlockOptin"]


def placed(arrays, device_id):
    """Arrays by name without those that are None, NumPy's sent to the device."""
    import cupy

    found = {}
    for name, array in arrays.items():
        if isinstance(array, np.ndarray):
            found[name] = cupy.asarray(array)
        elif array is not None:
            if array.device.id != device_id:
                raise _words.other_device(name, array.device.id, device_id)
            found[name] = array
    return found


def info():
    """What `show_versions` prints of the engine; loads cupy, if it is installed."""
    try:
        import cupy

        name = cupy.cuda.runtime.getDeviceProperties(cupy.cuda.Device().id)["name"].decode()
        return f"{name}, driver {cupy.cuda.runtime.driverGetVersion()}"
    except ImportError:
        return "no cupy"
    except Exception as error:  # whatever a machine without a driver or a device answers
        return f"no device ({type(error).__name__})"
