"""The pages' examples are doctests: those that need a package beyond the tests' own are skipped where it is missing."""

from importlib.util import find_spec
from pathlib import Path

import pytest

HERE = Path(__file__).parent
# Page -> packages that its examples import.
NEEDS = {
    "coming_from/aeon.md": ["aeon"],
    "coming_from/dtaidistance.md": ["dtaidistance"],
    "coming_from/gdtw.md": ["gdtw"],
    "coming_from/librosa.md": ["librosa"],
    "coming_from/pytorch_softdtw_cuda.md": ["torch"],
    "coming_from/tslearn.md": ["tslearn"],
    "recipes/cupy_streams.md": ["cupy"],
    "recipes/dask.md": ["distributed"],
    "recipes/jax.md": ["jax"],
    "recipes/keras.md": ["keras", "jax"],
    "recipes/tensorflow.md": ["tensorflow"],
    "recipes/torch.md": ["torch"],
}


def _has_device():
    import cupy

    try:
        return cupy.cuda.runtime.getDeviceCount() > 0
    except cupy.cuda.runtime.CUDARuntimeError:
        return False


def pytest_collection_modifyitems(items):
    for item in items:
        if not item.path.is_relative_to(HERE):
            continue
        packages = NEEDS.get(item.path.relative_to(HERE).as_posix(), [])
        if missing := [package for package in packages if not find_spec(package)]:
            item.add_marker(pytest.mark.skip(reason=f"{missing[0]} is not installed"))
        elif "cupy" in packages and not _has_device():
            item.add_marker(pytest.mark.skip(reason="no CUDA device"))
