"""What warps hand to each other is ordered in the compiled code, too: the fibers of the other tests cannot show that.

The compiler's intermediate code (PTX) says what may move past what: it is read here, without a device.
"""

import functools
import re

import pytest

from sdtwkit._cuda import alignment, beam, chain, ctc, gru, warp

cupy = pytest.importorskip("cupy", reason="the CUDA kernels are compiled by NVRTC, of the extra [gpu]")
nvrtc = cupy.cuda.nvrtc

try:
    nvrtc.getVersion()
except Exception as error:  # cupy is there, the library that it loads is not
    pytest.skip(f"NVRTC does not load: {error}", allow_module_level=True)

ENTROPY = "EntropyMin<float>"
WAITING = {
    "alignment forward": (alignment.FILE, alignment.forward_name(ENTROPY, "Given", False, True)),
    "alignment backward": (alignment.FILE, alignment.backward_name(ENTROPY, "SquaredEuclidean", False, True)),
    "CTC forward": (ctc.FILE, ctc.forward_name("double", True)),
    "CTC backward": (ctc.FILE, ctc.backward_name("double", True)),
}
OTHERS = {
    "chains": (chain.FILE, chain.kernel_name("float", "kEntropy", "kFirst")),
    "walks": (chain.FILE, chain.walks_name("float", "kEntropy")),
    "beams": (beam.FILE, beam.kernel_name("float")),
    "GRU": (gru.FILE, gru.names_of("float", "pre", True)[1][0]),
    "warps": (warp.FILE, warp.DIFFERENTIATE),
}


@functools.cache
def ptx(kernel):
    """Instructions, in the order of the text."""
    file, name = {**WAITING, **OTHERS}[kernel]
    program = nvrtc.createProgram(file.program([name]), "kernels.cu", (), ())
    try:
        options = (*file.options, "-ftz=true", "--device-as-default-execution-space", "-arch=compute_90")
        nvrtc.compileProgram(program, options)
        text = nvrtc.getPTX(program).decode()
    finally:
        nvrtc.destroyProgram(program)
    lines = (line.split("//")[0].strip() for line in text.splitlines())
    return [line for line in lines if line and not line.startswith(".")]


def places(code, pattern):
    return [k for k, line in enumerate(code) if re.match(pattern, line)]


@pytest.mark.parametrize("kernel", [*WAITING, *OTHERS])
def test_no_load_goes_through_the_cache_for_constants(kernel):
    """It would not see what the same kernel writes."""
    code = ptx(kernel)
    assert places(code, r"ld\.global")
    assert not places(code, r"ld\.global\S*\.nc")


@pytest.mark.parametrize("kernel", WAITING)
def test_who_waits_looks_again_each_time(kernel):
    code = ptx(kernel)
    naps = places(code, "nanosleep")
    assert naps
    for nap in naps:
        after = code[nap : nap + 8]
        looked = next(k for k, line in enumerate(after) if line.startswith("ld.relaxed.gpu"))
        back = next(line for line in after[looked:] if "bra" in line).rstrip(";").split()[-1]
        assert back + ":" in code[nap - 8 : nap]


@pytest.mark.parametrize("kernel", WAITING)
def test_what_others_wrote_is_read_after_they_said_so(kernel):
    code = ptx(kernel)
    seen, read = places(code, r"ld\.acquire\.gpu"), places(code, r"ld\.global\.cg")
    assert seen
    assert read
    for k in seen:  # then all lanes meet, and no load stands between
        met = next(j for j in places(code, r"bar\.warp\.sync") if j > k)
        assert not [j for j in read if k < j < met]


@pytest.mark.parametrize("kernel", WAITING)
def test_what_others_read_is_written_before_it_is_said(kernel):
    code = ptx(kernel)
    said, written = places(code, r"st\.release\.gpu"), places(code, r"st\.global\.cg")
    assert said
    assert written
    for k in said:  # all lanes have met, and no store stands between
        met = max(j for j in places(code, r"bar\.warp\.sync") if j < k)
        assert not [j for j in written if met < j < k]
