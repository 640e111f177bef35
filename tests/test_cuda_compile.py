"""Every CUDA kernel compiles for every architecture we name, without a device, and keeps its registers.

NVRTC comes with the extra [gpu] (or [gpu12]); it needs neither a driver nor a device. All kernels of given costs are
compiled for all architectures; of those with a fused cost, which differ from them in a few lines, and of other steps,
chains, CTC and GRUs each kernel for one architecture; with SDTWKIT_COMPILE=all in the environment everything for all of
them: half an hour.
"""

import os
import re

import numpy as np
import pytest

from sdtwkit._cuda import alignment, beam, chain, ctc, general, gru, kernels, warp

cupy = pytest.importorskip("cupy", reason="the CUDA kernels are compiled by NVRTC, of the extra [gpu]")
nvrtc = cupy.cuda.nvrtc

try:
    VERSION = nvrtc.getVersion()
    SUPPORTED = set(nvrtc.getSupportedArchs())
except Exception as error:  # cupy is there, the library that it loads is not
    pytest.skip(f"NVRTC does not load: {error}", allow_module_level=True)

ARCHITECTURES = [architecture for architecture in (70, 75, 80, 90, 120) if architecture in SUPPORTED]
ALL_OPERATORS = [name for names in alignment.OPERATORS.values() for name, _ in names]
COMPILE_ALL = os.environ.get("SDTWKIT_COMPILE") == "all"
# What CuPy adds by itself, and the report of the assembler.
OPTIONS = (*kernels.OPTIONS, "-ftz=true", "--device-as-default-execution-space", "--ptxas-options=-v")


def compile_text(text, architecture, options=()):
    """The log of compiling to machine code."""
    program = nvrtc.createProgram(text, "kernels.cu", (), ())
    try:
        try:
            nvrtc.compileProgram(program, (*OPTIONS, *options, f"-arch=sm_{architecture}"))
        except nvrtc.NVRTCError:
            raise AssertionError(nvrtc.getProgramLog(program)) from None
        assert nvrtc.getCUBIN(program)
        return nvrtc.getProgramLog(program).replace("\0", "")
    finally:
        nvrtc.destroyProgram(program)


def spills(log):
    """Bytes spilled by each kernel of a log."""
    return [int(a) + int(b) for a, b in re.findall(r"(\d+) bytes spill stores, (\d+) bytes spill loads", log)]


def check(names, architecture, file=alignment.FILE):
    log = compile_text(file.program(names), architecture)
    assert spills(log) == [0] * len(names), log
    assert not re.search(r"\(\d+\): warning", log), log
    # More static shared memory than 48 KB could not be launched.
    assert all(int(size) <= 48 * 1024 for size in re.findall(r"(\d+) bytes smem", log))


@pytest.mark.parametrize("operator", ALL_OPERATORS)
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_kernels_for_given_costs(architecture, operator):
    check(alignment.kernel_names(operator, "Given"), architecture)


@pytest.mark.parametrize("operator", ALL_OPERATORS)
@pytest.mark.parametrize("cost", alignment.COSTS[1:])
def test_kernels_for_series(cost, operator):
    names = [name for name in alignment.kernel_names(operator, cost) if "close" not in name]
    turn = (ALL_OPERATORS.index(operator) + alignment.COSTS.index(cost)) % len(ARCHITECTURES)
    for architecture in ARCHITECTURES if COMPILE_ALL else ARCHITECTURES[turn : turn + 1]:
        check(names, architecture)


@pytest.mark.parametrize("family", [beam, chain, ctc, general, gru], ids=lambda family: family.FILE.file)
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_other_kernels(architecture, family):
    for k, names in enumerate(family.libraries().values()):
        if not COMPILE_ALL and len(names) > 1:  # for each architecture its share
            names = names[(ARCHITECTURES.index(architecture) + k) % len(ARCHITECTURES) :: len(ARCHITECTURES)]
        check(names, architecture, family.FILE)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_kernels_for_warps(architecture):
    (names,) = warp.libraries().values()
    log = compile_text(warp.FILE.program(names), architecture, warp.FILE.options[len(kernels.OPTIONS) :])
    assert len(spills(log)) >= len(names)  # functions that are called report, too
    assert not any(spills(log)), log
    assert not re.search(r"\(\d+\): warning", log), log


def test_spills_are_noticed():
    # A block of 1024 threads leaves 64 registers each.
    name = alignment.backward_name("EntropyMin<double, true>", "Given", True, True)
    crowded = alignment.FILE.program([name]).replace(f"(32, {alignment.FILE.blocks})", "(1024, 1)")
    assert max(spills(compile_text(crowded, ARCHITECTURES[-1]))) > 0


def test_an_error_is_noticed():
    wrong = alignment.FILE.program([alignment.close_name("HardMin<float>", False)]).replace(
        "lane_of_thread()", "lane()"
    )
    with pytest.raises(AssertionError, match="error: "):
        compile_text(wrong, 90)


@pytest.mark.parametrize("family", [alignment, beam, chain, ctc, general, gru], ids=lambda family: family.FILE.file)
def test_arguments_are_laid_out_as_the_compiler_does(family):
    """All fields are of eight bytes and nothing lies between them: NumPy's structure is C++'s."""
    file = family.FILE
    fields = file.arguments_dtype.names
    claims = [f"sizeof(sdtw::Arguments<{scalar}>) == {8 * len(fields)}" for scalar in ("float", "double")]
    claims += [f"sizeof(sdtw::Arguments<float>::{name}) == 8" for name in fields]
    compile_text(file.text + "".join(f'static_assert({claim}, "");\n' for claim in claims), 90)
    assert {file.arguments_dtype[name] for name in fields} <= {np.dtype(np.int64), np.dtype(np.float64)}


@pytest.mark.parametrize("tangents", [False, True])
@pytest.mark.parametrize("operator", alignment.OPERATORS, ids=str)
def test_nodes_have_the_size_that_rooms_are_made_for(operator, tangents):
    for name, state in alignment.OPERATORS[operator]:
        size = kernels.node_bytes(state, 4 if operator[1] == "float" else 8, tangents)
        node = f"sdtw::Node<sdtw::{name}, {'true' if tangents else 'false'}>"
        compile_text(alignment.FILE.text + f'static_assert(sizeof({node}) == {size}, "");\n', 90)
