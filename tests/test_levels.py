"""Every instruction level that this processor has gives the same results to rounding, from vectorised loops."""

import os
import platform
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest
from numpy.testing import assert_allclose

import sdtwkit
from sdtwkit import _backend
from sdtwkit._kernels import alignment as kernels
from sdtwkit.dp import AlignmentDP

LEVELS = kernels.LEVELS[: kernels.best_level() + 1]
OPTIONS = [
    {},
    {"window": 9},
    {"step_weights": (1.0, 2.0, 0.5)},
    {"open_begin": "y", "open_end": True},
    {"window": 12, "step_weights": (0.3, 1.0, 1.0), "open_begin": "x"},
]


def results(dtype, regularizer, options):
    """Everything the kernels compute, on one pair and on a ragged batch."""
    rng = np.random.default_rng(3)
    C = rng.normal(1.0, 1.0, (3, 40, 70)).astype(dtype)
    Z = rng.normal(size=C.shape).astype(dtype)
    n, m = [40, 17, 1], [70, 33, 64]
    dp = AlignmentDP(0.7, regularizer=regularizer, **options)
    x = [rng.normal(size=(k, 3)).astype(dtype) for k in (150, 30, 21)]
    y = [rng.normal(size=(k, 3)).astype(dtype) for k in (140, 35, 21)]
    kinds = [dp.value_and_grad(C, n, m), dp.hvp(C, Z, n, m), (dp.marginals_vjp(C, Z, n, m),)]
    for cost in ("sqeuclidean", "euclidean", "manhattan", "huber", "neg_dot"):
        value, gx, gy = sdtwkit.soft_dtw_value_and_grad(x, y, 0.7, regularizer=regularizer, cost=cost, **options)
        kinds.append((value, *gx, *gy))
    return [array for kind in kinds for array in kind]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("regularizer", ["entropy", "l2", None], ids=str)
@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float64, 1e-11), (np.float32, 2e-4)], ids=["float64", "float32"])
def test_levels_agree_to_rounding(dtype, tolerance, regularizer, options, monkeypatch):
    if regularizer == "l2" and dtype == np.float32:
        tolerance = 2e-3  # the support of a sparse alignment may change by a rounding
    found = []
    for level in range(len(LEVELS)):
        monkeypatch.setattr(_backend, "_level", level)
        found.append(results(dtype, regularizer, options))
    for other in found[1:]:
        for a, b in zip(found[0], other, strict=True):
            assert_allclose(a, b, rtol=tolerance, atol=tolerance * max(1.0, np.abs(a).max()))


@pytest.mark.parametrize("level", LEVELS)
def test_an_environment_variable_forces_a_level(level):
    code = "import sdtwkit; sdtwkit.show_versions()"
    environment = os.environ | {"SDTWKIT_SIMD": level}
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert re.search(rf"instruction level +{level}\n", shown.stdout)


def test_an_unknown_level_is_named(monkeypatch):
    monkeypatch.setattr(_backend, "_level", None)
    monkeypatch.setenv("SDTWKIT_SIMD", "sse9")
    with pytest.raises(ValueError, match="SDTWKIT_SIMD is 'sse9'; this processor runs 'baseline'"):
        sdtwkit.dtw([1.0], [2.0])


@pytest.mark.skipif(
    platform.machine() != "x86_64" or shutil.which("objdump") is None or "GCC" not in sys.version.upper(),
    reason="reads x86-64 machine code with objdump",
)
@pytest.mark.parametrize(("level", "register"), [("avx2", "ymm"), ("avx512", "zmm")])
def test_hot_loops_are_vectorised(level, register):
    code = subprocess.run(["objdump", "-d", "-C", kernels.__file__], capture_output=True, text=True, check=True).stdout
    for scalar, fused in (("double", "vfmadd...pd"), ("float", "vfmadd...ps")):
        name = rf"sdtw::{level}::forward_lanes<sdtw::EntropyMin<{scalar}, false>"
        bodies = re.findall(rf"^[0-9a-f]+ <[^\n]*{name}[^\n@]*>:\n(.*?)\n\n", code, flags=re.M | re.S)
        assert bodies
        for body in bodies:
            # The polynomial of one vector of cells takes ten fused multiply-adds (six in float32).
            assert len(re.findall(rf"{fused}[^\n]*%{register}", body)) >= 6
