"""A CuPy of a few lines whose device is the host, so that the launch code and the real .cu sources run anywhere.

Its arrays refuse to be read as NumPy's, as CuPy's do, and memory comes filled with what no result may contain. Its
kernels are the sources of the package, compiled by g++ with cuda_on_host.h; see there for what they notice.
"""

import ctypes
import os
import re
import shutil
import subprocess
import sys
import tempfile
import textwrap
import types
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

from sdtwkit._cuda import kernels

HERE = Path(__file__).parent
BLOCKS = 3  # enough for warps that wait for each other
ORDERS = FORWARDS, BACKWARDS, AT_RANDOM = 0, 1, 2
needed = pytest.mark.skipif(
    shutil.which("g++") is None or sys.platform != "linux",
    reason="compiles the CUDA sources with g++, and runs threads as ucontext fibers of Linux",
)

_LIBRARY = """
#include "cuda_on_host.h"
#include "kernels.cu"
struct Entry { const char* name; void (*kernel)(const sdtw::Arguments<SCALAR>&); };
static const Entry entries[] = {
#include ENTRIES
};
extern "C" __attribute__((visibility("default")))
const char* run_kernel(const char* name, const void* arguments, unsigned blocks, unsigned threads, unsigned shared,
                       int order, unsigned seed) {
  static std::string failure;
  for (const Entry& e : entries)
    if (!std::strcmp(e.name, name)) {
      const auto kernel = e.kernel;
      const auto& a = *static_cast<const sdtw::Arguments<SCALAR>*>(arguments);
      cuda_on_host::shared_bytes = shared;
      const cuda_on_host::Flushing flushing(sizeof(SCALAR) == 4);
      failure = cuda_on_host::launch(blocks, threads, order, seed, [=] { kernel(a); });
      return failure.c_str();
    }
  return "no such kernel";
}
"""


class KernelFailure(Exception):
    """What cuda_on_host.h found wrong with a launch."""


_BUILT = {}  # text, names of kernels, flags -> run_kernel: many modules of tests ask for the same library


class Host:
    """Compiles and runs the kernels of one file.

    file : the KernelFile; `text` stands for its text, if given.
    libraries : names of kernels by the name of the library they are compiled together in.
    flags : for g++.
    """

    def __init__(self, file, libraries, folder=None, text=None, flags=()):
        self.file, self.libraries, self.text = file, libraries, file.text if text is None else text
        self.flags = ["-std=c++17", "-O1", "-g1", "-Wall", "-Wextra", "-Wno-unknown-pragmas", *flags]
        self.folder = Path(tempfile.mkdtemp(dir=folder))
        self.order, self.seed, self.launches = FORWARDS, 0, 0
        self.loaded = {}
        (self.folder / "kernels.cu").write_text(self.text)
        (self.folder / "library.cpp").write_text(_LIBRARY)

    def compile(self, names):
        """Several libraries, side by side."""
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            list(pool.map(self._library, names))

    def _library(self, library):
        if library not in self.loaded:
            key = self.text, tuple(self.libraries[library]), tuple(self.flags)
            if key not in _BUILT:
                _BUILT[key] = self._built(library)
            self.loaded[library] = _BUILT[key]
        return self.loaded[library]

    def _built(self, library):
        stem = self.folder / re.sub(r"\W+", "_", library)
        names = self.libraries[library]
        stem.with_suffix(".inc").write_text("".join(f'{{"{name}", {name}}},\n' for name in names))
        scalar = kernels.scalar_of(names[0])
        command = ["g++", *self.flags, "-shared", "-fPIC", "-fvisibility=hidden", f"-I{HERE}", f"-DSCALAR={scalar}"]
        command += [f'-DENTRIES="{stem.name}.inc"', str(self.folder / "library.cpp"), "-o", f"{stem}.so"]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(done.stderr[:4000])
        run = ctypes.CDLL(f"{stem}.so").run_kernel
        run.restype = ctypes.c_char_p
        run.argtypes = [ctypes.c_char_p, ctypes.c_void_p, *[ctypes.c_uint] * 3, ctypes.c_int, ctypes.c_uint]
        return run

    def run(self, name, grid, block, shared, arguments):
        assert block[0] % 32 == 0
        assert 0 < block[0] <= self.file.threads
        assert grid[0] < 2**31
        assert arguments.shape == ()
        self.launches += 1
        holders = [library for library, names in self.libraries.items() if name in names]
        library = next((library for library in holders if library in self.loaded), holders[0])
        blocks = min(grid[0], BLOCKS)
        run, size = self._library(library), (blocks, block[0], shared)
        failure = run(name.encode(), arguments.ctypes.data, *size, self.order, self.seed)
        if failure:
            raise KernelFailure(f"{name}: {failure.decode()}")


SANITIZERS = ("-fsanitize=address,undefined", "-fno-sanitize-recover")


def sanitized(script):
    """Run a script in a process that AddressSanitizer watches; at its end it prints "sanitized"."""
    library = subprocess.run(["g++", "-print-file-name=libasan.so"], capture_output=True, text=True).stdout.strip()
    if not os.path.isabs(library):
        pytest.skip("libasan is not installed")
    environment = os.environ | {
        "LD_PRELOAD": library,
        "ASAN_OPTIONS": "detect_leaks=0:detect_stack_use_after_return=0",
        "PYTHONMALLOC": "malloc",
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
    }
    script = "import sys\n" + textwrap.dedent(script) + '\nprint("sanitized")\n'
    return subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=environment, timeout=300)


class Pointer:
    def __init__(self, ptr):
        self.ptr = ptr


class Stream:
    """A stream of another framework's; entered, the current one."""

    entered: ClassVar = []  # (device, handle) of all

    def __init__(self, handle):
        self.handle = handle

    @classmethod
    def from_external(cls, stream):
        version, handle = stream.__cuda_stream__()
        assert version == 0
        return cls(handle)

    def __enter__(self):
        self.entered.append((Device.current, self.handle))

    def __exit__(self, *_):
        pass


class Device:
    """One of the devices of a machine; entered, the current one."""

    current = 0

    def __init__(self, number=None):
        self.id = Device.current if number is None else number
        self.attributes = {"MultiProcessorCount": 1, "MaxSharedMemoryPerBlockOptin": 64 * 1024}
        self.before = []  # the same device may be entered again

    def __enter__(self):
        self.before.append(Device.current)
        Device.current = self.id

    def __exit__(self, *_):
        Device.current = self.before.pop()


# What NumPy hands over to CuPy, of which the package uses these.
UFUNCS = set("absolute add subtract multiply divide true_divide negative power sqrt exp log1p expm1 sign floor".split())
UFUNCS |= set("log maximum less less_equal greater greater_equal equal not_equal".split())
UFUNCS |= set("bitwise_or bitwise_and invert isfinite".split())
FUNCTIONS = {np.where, np.clip, np.zeros_like, np.full_like, np.ndim, np.shape}


class Array(np.lib.mixins.NDArrayOperatorsMixin):
    """What the package uses of cupy.ndarray, around a NumPy array that nobody else may see."""

    __array_priority__ = 100
    __cuda_array_interface__ = None

    def __init__(self, hidden, device=None):
        self._hidden = hidden
        self.device = Device(device)

    dtype = property(lambda self: self._hidden.dtype)
    shape = property(lambda self: self._hidden.shape)
    ndim = property(lambda self: self._hidden.ndim)
    size = property(lambda self: self._hidden.size)
    data = property(lambda self: Pointer(self._hidden.ctypes.data))
    T = property(lambda self: self.swapaxes(-1, -2))

    def __len__(self):
        return len(self._hidden)

    def __array__(self, *_, **__):
        raise TypeError("Implicit conversion to a NumPy array is not allowed.")

    def __array_ufunc__(self, ufunc, method, *inputs, out=(), **options):
        assert method == "__call__"
        assert ufunc.__name__ in UFUNCS, f"does CuPy have {ufunc}?"
        for value in inputs:
            if isinstance(value, np.ndarray):
                raise TypeError(f"Unsupported type {type(value)}")
        result = ufunc(*map(_bare, inputs), out=tuple(map(_bare, out)) or None, **options)
        return out[0] if out else Array(np.asarray(result), self.device.id)

    def __array_function__(self, function, types, args, options):
        assert function in FUNCTIONS, f"does CuPy have {function}?"
        result = function(*map(_bare, args), **options)
        return result if isinstance(result, (int, tuple)) else Array(result, self.device.id)

    def __bool__(self):
        raise AssertionError("this would wait for the device")

    __float__ = __int__ = __index__ = __bool__

    def __iter__(self):
        return (self[k] for k in range(len(self)))

    def __dlpack__(self, **options):
        return self._hidden.__dlpack__(**options)

    def __dlpack_device__(self):
        return self._hidden.__dlpack_device__()

    def get(self):
        return self._hidden.copy()

    def astype(self, dtype, copy=True):
        with np.errstate(over="ignore"):
            return Array(self._hidden.astype(dtype, copy=copy), self.device.id)

    def __getitem__(self, key):
        for part in key if isinstance(key, tuple) else (key,):
            assert not (isinstance(part, Array) and part.dtype == bool), "this would wait for the device"
            assert not isinstance(part, np.ndarray), "an index would be sent to the device"
        return Array(np.asarray(self._hidden[_bare(key)]), self.device.id)

    def __setitem__(self, key, value):
        assert not isinstance(value, np.ndarray), "CuPy refuses NumPy arrays"
        self._hidden[_bare(key)] = _bare(value)

    __hash__ = None


def _method(name):
    def method(self, *args, **options):
        return Array(np.asarray(getattr(self._hidden, name)(*map(_bare, args), **options)), self.device.id)

    return method


for _name in ("all", "any", "argmax", "argmin", "copy", "max", "mean", "min", "ravel", "reshape", "sum", "swapaxes"):
    setattr(Array, _name, _method(_name))


def _bare(value):
    if isinstance(value, (tuple, list)):
        return type(value)(map(_bare, value))
    return value._hidden if isinstance(value, Array) else value


def _here(function):
    return lambda *args, **options: Array(function(*map(_bare, args), **options))


def _empty(shape, dtype=float):
    array = np.empty(shape, dtype)
    array.view(np.uint8).reshape(-1)[...] = 0xFF  # NaN, or an index far out of bounds
    return Array(array)


def cupy_on(*hosts):
    """A module that stands for cupy, kernels of each file run by its host."""

    class RawModule:
        def __init__(self, *, code, options):
            self.host = next(host for host in hosts if code.startswith(host.text))
            assert options == self.host.file.options
            entries = code[len(self.host.text) :]
            self.names = dict(
                re.findall(r'extern "C" __global__ \S+ .*? (\w+)\(const .*? a\) \{ (.*)\(a\); \}\n', entries)
            )

        def get_function(self, identifier):
            return RawKernel(self.host, self.names[identifier])

    class RawKernel:
        max_dynamic_shared_size_bytes = 48 * 1024

        def __init__(self, host, name):
            self.host, self.name = host, name

        def __call__(self, grid, block, arguments, *, shared_mem=0):
            assert shared_mem <= self.max_dynamic_shared_size_bytes, "this launch would fail"
            self.host.run(self.name, grid, block, shared_mem, *arguments)

    cupy = types.ModuleType("cupy")
    cupy.ndarray, cupy.RawModule = Array, RawModule
    cupy.cuda = types.SimpleNamespace(Device=Device, Stream=Stream)
    cupy.empty = _empty
    cupy.zeros = _here(lambda shape, dtype=float: np.zeros(shape, dtype))
    cupy.asarray = _here(lambda array, dtype=None: np.array(array, dtype, order="C", ndmin=1))
    cupy.ascontiguousarray = _here(np.ascontiguousarray)
    cupy.argwhere, cupy.from_dlpack = _here(np.argwhere), _here(np.from_dlpack)
    for name in ("arange", "argsort", "broadcast_to", "concatenate", "cumsum", "interp", "isfinite", "stack"):
        setattr(cupy, name, _here(getattr(np, name)))
    for name in ("sort", "take", "take_along_axis", "tile", "where"):
        setattr(cupy, name, _here(getattr(np, name)))
    cupy.fill_diagonal = lambda array, value: np.fill_diagonal(_bare(array), value)
    cupy.asnumpy = lambda array: array.get()
    return cupy


def install(monkeypatch, *hosts):
    """Let the package believe that CuPy is there; kernels are compiled anew where the text is another."""
    cupy = cupy_on(*hosts)
    monkeypatch.setitem(sys.modules, "cupy", cupy)
    for host in hosts:
        monkeypatch.setattr(host.file, "text", host.text)
        monkeypatch.setattr(host.file, "compiled", {})
    kernels.most_blocks.cache_clear()
    kernels.most_shared.cache_clear()
    return cupy
