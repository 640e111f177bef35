"""Every instruction level that this processor has gives the same results to rounding, from vectorised loops."""

import hashlib
import os
import platform
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

import sdtwkit
from sdtwkit import _backend
from sdtwkit._kernels import alignment as kernels
from sdtwkit.dp import AlignmentDP

LEVELS = kernels.LEVELS[: kernels.best_level() + 1]
REGULARIZERS = ["entropy", "l2", None]
OPTIONS = [
    {},
    {"window": 9},
    {"step_weights": (1.0, 2.0, 0.5)},
    {"open_begin": "y", "open_end": True},
    {"window": 12, "step_weights": (0.3, 1.0, 1.0), "open_begin": "x"},
]
FUSED_COSTS = ["sqeuclidean", "half_sqeuclidean", "euclidean", "manhattan", "huber", "neg_dot"]


def results(dtype, regularizer, options):
    """(arrays, paths): what the kernels compute for one pair and for a ragged batch, from costs and from series."""
    rng = np.random.default_rng(3)
    C = rng.normal(1.0, 1.0, (3, 40, 70)).astype(dtype)
    Z = rng.normal(size=C.shape).astype(dtype)
    dp = AlignmentDP(0.7, regularizer=regularizer, **options)
    found, paths = [], []
    for case in ((C, Z, [40, 17, 1], [70, 33, 64]), (C[0], Z[0])):
        costs, direction, *lengths = case
        found += [*dp.value_and_grad(costs, *lengths), *dp.hvp(costs, direction, *lengths)]
        found += [dp.marginals_vjp(costs, direction, *lengths)]
    paths.append(dp.decode(C[0])[0])
    paths += dp.sample(C[0], 3, random_state=0)
    x = [rng.normal(size=(k, 3)).astype(dtype) for k in (150, 30, 21)]
    y = [rng.normal(size=(k, 3)).astype(dtype) for k in (140, 35, 21)]
    for cost in FUSED_COSTS:
        for pair in ((x, y), (x[0], y[0])):
            value, *gradients = sdtwkit.soft_dtw_value_and_grad(
                *pair, 0.7, regularizer=regularizer, cost=cost, **options
            )
            found += [value, *(array for g in gradients for array in (g if isinstance(g, list) else [g]))]
    return found, paths


def digest():
    """Of the bits of one set of results, at the level in force."""
    arrays, paths = results(np.float64, "entropy", OPTIONS[-1])
    return hashlib.sha256(b"".join(np.ascontiguousarray(array).tobytes() for array in arrays + paths)).hexdigest()


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize(
    ("dtype", "regularizer", "tolerance"),
    [
        *[(np.float64, regularizer, 1e-12) for regularizer in REGULARIZERS],
        (np.float32, "entropy", 1e-5),
        (np.float32, None, 1e-5),
        (np.float32, "l2", 1e-4),  # its probabilities are differences of values, divided by gamma
    ],
    ids=str,
)
def test_levels_agree_to_rounding(dtype, regularizer, tolerance, options, monkeypatch):
    found = []
    for level in range(len(LEVELS)):
        monkeypatch.setattr(_backend, "_level", level)
        found.append(results(dtype, regularizer, options))
    (arrays, paths), *others = found
    for other_arrays, other_paths in others:
        for a, b in zip(arrays, other_arrays, strict=True):
            assert_allclose(a, b, rtol=0, atol=tolerance * max(1.0, np.abs(a).max()))
        for a, b in zip(paths, other_paths, strict=True):
            assert_array_equal(a, b)


@st.composite
def problems(draw):
    """Series of any lengths, on both sides of lanes, blocks and strips, and options of soft_dtw_value_and_grad."""
    lengths = st.one_of(st.integers(1, 40), st.sampled_from([63, 64, 65, 127, 128, 129, 200, 257]))
    shapes = draw(st.lists(st.tuples(lengths, lengths), min_size=1, max_size=20))
    d, seed = draw(st.integers(1, 9)), draw(st.integers(0, 99))
    options = draw(st.sampled_from(OPTIONS)) | {"cost": draw(st.sampled_from(FUSED_COSTS))}
    options |= {"n_jobs": draw(st.sampled_from([1, 2])), "regularizer": draw(st.sampled_from(REGULARIZERS))}
    rng = np.random.default_rng(seed)
    x, y = ([rng.normal(size=(length, d)) for length in side] for side in zip(*shapes, strict=True))
    return x, y, options


@settings(max_examples=150)
@given(problem=problems())
def test_levels_agree_on_any_shape(problem):
    x, y, options = problem
    found = []
    with pytest.MonkeyPatch.context() as patch:
        for level in range(len(LEVELS)):
            patch.setattr(_backend, "_level", level)
            value, *gradients = sdtwkit.soft_dtw_value_and_grad(x, y, 0.7, **options)
            found.append([value, *gradients[0], *gradients[1]])
    for other in found[1:]:
        for a, b in zip(found[0], other, strict=True):
            assert_allclose(a, b, rtol=0, atol=1e-10 * max(1.0, np.abs(a).max()))


@pytest.mark.parametrize("level", LEVELS)
def test_an_environment_variable_forces_a_level(level, monkeypatch):
    code = f"import sys; sys.path.append({os.path.dirname(__file__)!r}); import sdtwkit, test_levels\n"
    code += "sdtwkit.show_versions(); print(test_levels.digest())"
    environment = os.environ | {"SDTWKIT_SIMD": level}
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert re.search(rf"instruction level +{level}\n", shown.stdout)
    monkeypatch.setattr(_backend, "_level", LEVELS.index(level))
    assert shown.stdout.split()[-1] == digest()


def test_an_unknown_level_is_named(monkeypatch):
    monkeypatch.setattr(_backend, "_level", None)
    monkeypatch.setenv("SDTWKIT_SIMD", "sse9")
    with pytest.raises(ValueError, match="SDTWKIT_SIMD is 'sse9'; this processor runs 'baseline'"):
        sdtwkit.dtw([1.0], [2.0])


# ---- machine code

HOT_LOOPS = re.compile(
    r"^[0-9a-f]+ <void sdtw::(?P<level>avx2|avx512)::"
    r"(?P<loop>forward_lanes<[^(]*|backward_lanes<[^(]*|fill_costs<[^(]*|hard_rows<[^(]*|"
    r"ctc_frame<sdtw::EntropyMin<(?:float|double), false>[^(]*|ctc_step_back<[^(]*)>"
    r"\([^\n]*>:\n(?P<body>.*?)\n\n",
    flags=re.M | re.S,
)
ARITHMETIC = r"\tv(?:fn?m(?:add|sub)\d+|add|sub|mul|min|max)"
FMA = r"\tvfn?m(?:add|sub)\d+"
REGISTER = {"avx2": "ymm", "avx512": "zmm"}


@pytest.fixture(scope="module")
def hot_loops():
    """{level: {name of the loop: its machine code}} of the built extension."""
    if platform.machine() != "x86_64" or sys.platform != "linux" or "lang" in kernels.build_info()["compiler"]:
        pytest.skip("knows what GCC makes for x86-64 Linux")
    if shutil.which("objdump") is None:
        pytest.skip("reads machine code with objdump (Debian package binutils)")
    code = subprocess.run(["objdump", "-d", "-C", kernels.__file__], capture_output=True, text=True, check=True).stdout
    loops = {level: {} for level in REGISTER}
    for found in HOT_LOOPS.finditer(code):
        loops[found["level"]][found["loop"]] = found["body"]
    if "sdtw::" not in code:
        pytest.skip("the extension has been stripped of its symbols")
    return loops


@pytest.mark.parametrize("level", REGISTER)
def test_hot_loops_are_vectorised(level, hot_loops):
    names = " ".join(hot_loops[level])
    for loop in (
        "forward_lanes<sdtw::EntropyMin",
        "SparseMin",
        "HardMin",
        "backward_lanes",
        "fill_costs<sdtw::Huber",
        "hard_rows",
        "ctc_frame",
        "ctc_step_back",
    ):
        assert loop in names
    for name, body in hot_loops[level].items():
        kind = "s" if name.endswith("float") else "d"
        full = len(re.findall(rf"{ARITHMETIC}p{kind} [^\n]*%{REGISTER[level]}", body))
        scalar = len(re.findall(rf"{ARITHMETIC}s{kind} ", body))
        assert full >= 3, f"{name} at {level}: {full} full vector operations, {scalar} scalar ones"
        most = full if name.startswith("ctc_frame") else full // 3  # the blank's cost is one number a frame
        assert scalar <= most, f"{name} at {level}: {full} full vector operations, {scalar} scalar ones"


@pytest.mark.parametrize("level", REGISTER)
def test_powers_of_two_are_fused_polynomials(level, hot_loops):
    for name, body in hot_loops[level].items():
        if name.startswith("forward_lanes<sdtw::EntropyMin"):
            kind, least = ("s", 6) if name.endswith("float") else ("d", 10)  # degree of 2^f
            assert len(re.findall(rf"{FMA}p{kind} [^\n]*%{REGISTER[level]}", body)) >= least, name
