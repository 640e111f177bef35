"""Every CUDA kernel compiles for every architecture we name, without a device, and keeps its registers.

NVRTC comes with the extra [gpu], or [gpu12], which knows sm_70, too; it needs neither a driver nor a device. Kernels
that differ in their flags are one program. NVRTC takes one program at a time, however many threads call it, so
processes share them.
"""

import importlib
import multiprocessing
import os
import re
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from sdtwkit._cuda import alignment, kernels

cupy = pytest.importorskip("cupy", reason="the CUDA kernels are compiled by NVRTC, of the extra [gpu]")
nvrtc = cupy.cuda.nvrtc

try:
    SUPPORTED = set(nvrtc.getSupportedArchs())
except Exception as error:  # cupy is there, the library that it loads is not
    pytest.skip(f"NVRTC does not load: {error}", allow_module_level=True)

ARCHITECTURES = [architecture for architecture in (70, 75, 80, 90, 120) if architecture in SUPPORTED]
# The modules that launch the kernels of a file, by its name; from behind, since warps take longest.
FILES = sorted((Path(kernels.__file__).parents[1] / "_kernels" / "cuda").glob("*.cu"), reverse=True)
FAMILIES = {path.name: importlib.import_module(f"sdtwkit._cuda.{path.stem}") for path in FILES}
LIBRARIES = [(file, library) for file, family in FAMILIES.items() for library in family.libraries()]
# What CuPy adds by itself, and the report of the assembler.
ADDED = ("-ftz=true", "--device-as-default-execution-space", "--ptxas-options=-v")


def compile_text(text, architecture, options=kernels.OPTIONS):
    """The log of compiling to machine code."""
    program = nvrtc.createProgram(text, "kernels.cu", (), ())
    try:
        try:
            nvrtc.compileProgram(program, (*options, *ADDED, f"-arch=sm_{architecture}"))
        except nvrtc.NVRTCError:
            raise AssertionError(nvrtc.getProgramLog(program)) from None
        assert nvrtc.getCUBIN(program)
        return nvrtc.getProgramLog(program).replace("\0", "")
    finally:
        nvrtc.destroyProgram(program)


def spills(log):
    """Bytes that each kernel, and each function that is called, spills."""
    found = re.findall(r"properties for (\w+)\n.*? (\d+) bytes spill stores, (\d+) bytes spill loads", log)
    return {name: int(stores) + int(loads) for name, stores, loads in found}


@pytest.fixture(scope="module")
def logs(request):
    """The logs that the selected tests will ask for, in their order, by file, library and architecture."""
    selected = [item.callspec.params for item in request.session.items if getattr(item, "function", 0) is test_kernels]
    promised = {}
    with ProcessPoolExecutor(os.cpu_count(), multiprocessing.get_context("spawn")) as pool:
        for key in [(chosen["file"], chosen["library"], chosen["architecture"]) for chosen in selected]:
            family = FAMILIES[key[0]]
            text = family.FILE.program(family.libraries()[key[1]])
            promised[key] = pool.submit(compile_text, text, key[2], family.FILE.options)
        yield promised
        pool.shutdown(cancel_futures=True)


@pytest.mark.parametrize("architecture", ARCHITECTURES, ids="sm_{}".format)
@pytest.mark.parametrize(("file", "library"), LIBRARIES)
def test_kernels(logs, file, library, architecture):
    log = logs[file, library, architecture].result()
    names = FAMILIES[file].libraries()[library]
    entries = re.findall(r"Compiling entry function '(\w+)'", log)
    assert sorted(entries) == sorted(kernels.identifier(name) for name in names)
    assert set(entries) <= spills(log).keys()
    assert not {name: size for name, size in spills(log).items() if size}
    assert not re.search(r"\(\d+\): warning", log), log
    # More static shared memory than 48 KB could not be launched.
    assert all(int(size) <= 48 * 1024 for size in re.findall(r"(\d+) bytes smem", log))


def test_spills_are_noticed():
    # A block of 1024 threads leaves 64 registers each.
    name = alignment.backward_name("EntropyMin<double, true>", "Given", True, True)
    crowded = alignment.FILE.program([name]).replace(f"(32, {alignment.FILE.blocks})", "(1024, 1)")
    assert spills(compile_text(crowded, ARCHITECTURES[-1]))[kernels.identifier(name)] > 0


def test_an_error_is_noticed():
    right = alignment.FILE.program([alignment.close_name("HardMin<float>", False)])
    wrong = right.replace("blockIdx.x", "blockIdx.w")
    with pytest.raises(AssertionError, match="error: "):
        compile_text(wrong, 90)


@pytest.mark.parametrize("family", FAMILIES)
def test_arguments_are_laid_out_as_the_compiler_does(family):
    """All fields are of eight bytes and nothing lies between them: NumPy's structure is C++'s."""
    file = FAMILIES[family].FILE
    fields = file.arguments_dtype.names
    claims = [f"sizeof(sdtw::Arguments<{scalar}>) == {8 * len(fields)}" for scalar in ("float", "double")]
    claims += [f"sizeof(sdtw::Arguments<float>::{name}) == 8" for name in fields]
    compile_text(file.text + "".join(f'static_assert({claim}, "");\n' for claim in claims), 90, file.options)
    assert {file.arguments_dtype[name] for name in fields} <= {np.dtype(np.int64), np.dtype(np.float64)}


@pytest.mark.parametrize("tangents", [False, True])
@pytest.mark.parametrize("operator", alignment.OPERATORS, ids=str)
def test_nodes_have_the_size_that_rooms_are_made_for(operator, tangents):
    for name, state in alignment.OPERATORS[operator]:
        size = kernels.node_bytes(state, 4 if operator[1] == "float" else 8, tangents)
        node = f"sdtw::Node<sdtw::{name}, {'true' if tangents else 'false'}>"
        compile_text(alignment.FILE.text + f'static_assert(sizeof({node}) == {size}, "");\n', 90)
