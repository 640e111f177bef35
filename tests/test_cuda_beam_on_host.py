"""Beam search without a GPU, as test_cuda_on_host.py runs the kernels of alignments."""

import multiprocessing
import re

import cuda_on_host
import numpy as np
import pytest
from cuda_on_host import FORWARDS, ORDERS, Host, KernelFailure
from device_parity import BEAMS, DTYPES, check_beams, close
from numpy.testing import assert_array_equal

from sdtwkit._cuda import beam
from sdtwkit.dp import CTC

pytestmark = cuda_on_host.needed


@pytest.fixture(scope="module")
def host(tmp_path_factory):
    return Host(beam.FILE, beam.libraries(), tmp_path_factory.mktemp("kernels"))


@pytest.fixture
def cupy(monkeypatch, host):
    host.order, host.seed = FORWARDS, 0
    return cuda_on_host.install(monkeypatch, host)


# ---- the same answers


@pytest.mark.parametrize("shape", BEAMS, ids=str)
@pytest.mark.parametrize("dtype", DTYPES, ids=["float64", "float32"])
def test_beams(cupy, host, rng, dtype, shape):
    for host.order in ORDERS:
        check_beams(cupy, rng, dtype, shape)


def test_a_beam_of_all_sequences_has_the_probability_of_the_best(cupy, rng):
    """Nothing is dropped, so no label sequence is more probable than the one found, which CTC values the same."""
    log_probs = rng.normal(size=(5, 3))
    labels, value = CTC().decode(cupy.asarray(log_probs), beam_width=400)
    close(value, CTC().value(log_probs, labels.get()), np.float64)
    others = [np.array(others) for n in range(6) for others in np.ndindex(*(2,) * n)]
    assert value.get() <= min(CTC().value(log_probs, other + 1) for other in others) + 1e-12


def test_ties_go_to_those_that_stay_then_to_the_lowest_label(cupy):
    for shape, width in (((1, 4), 2), ((1, 40), 35), ((3, 3), 4), ((9, 3), 3), ((12, 5), 9)):
        log_probs = np.zeros(shape)
        expected = CTC(1).decode(log_probs, beam_width=width)
        assert_array_equal(CTC(1).decode(cupy.asarray(log_probs), beam_width=width)[0].get(), expected[0])


@pytest.mark.parametrize("scale", [1e-12, 1e6, 1e30])
def test_beams_over_many_orders_of_magnitude(cupy, rng, scale):
    log_probs = -scale * rng.random((3, 9, 4))
    labels, values = CTC().decode(cupy.asarray(log_probs), beam_width=5)
    expected, expected_values = CTC().decode(log_probs, beam_width=5)
    close(values, expected_values, np.float64)
    for got, answer in zip(labels, expected, strict=True):
        assert_array_equal(got.get(), answer)


def test_one_sample(cupy, rng):
    log_probs = rng.normal(size=(7, 4))
    labels, value = CTC().decode(cupy.asarray(log_probs), beam_width=3)
    expected, expected_value = CTC().decode(log_probs, beam_width=3)
    assert value.shape == ()
    assert_array_equal(labels.get(), expected)
    close(value, expected_value, np.float64)


def test_no_class_is_possible(cupy, rng):
    log_probs = rng.normal(size=(3, 6, 4))
    log_probs[1, 2] = -np.inf
    labels, values = CTC().decode(cupy.asarray(log_probs), beam_width=3)
    assert values.get()[1] == np.inf
    assert len(labels[1]) == 0
    assert np.isfinite(values.get()[[0, 2]]).all()


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_log_probability_that_is_none_makes_the_value_nan(cupy, rng, bad):
    log_probs = rng.normal(size=(4, 6, 40))
    expected = CTC().decode(log_probs, beam_width=3)
    log_probs[1, 5, 35] = log_probs[2, 0, 0] = bad
    labels, values = CTC().decode(cupy.asarray(log_probs), beam_width=3)
    assert_array_equal(np.isnan(values.get()), [False, True, True, False])
    assert [len(found) for found in labels[1:3]] == [0, 0]
    for b in (0, 3):
        assert_array_equal(labels[b].get(), expected[0][b])
    log_probs[:] = 0
    log_probs[:, 5:] = bad  # beyond the lengths
    assert np.isfinite(CTC().decode(cupy.asarray(log_probs), [5] * 4, beam_width=3)[1].get()).all()


def test_beams_do_not_depend_on_who_computes_them(cupy, host, monkeypatch, rng):
    """Neither on the order of the threads nor on the number of blocks, nor on that of rooms."""
    log_probs = cupy.asarray(rng.normal(size=(5, 20, 7)))
    results = []
    for host.order in ORDERS:
        for blocks, most_bytes in ((1, 2**30), (2, 2**30), (5, 2**30), (5, 1)):
            monkeypatch.setattr(cuda_on_host, "BLOCKS", blocks)
            monkeypatch.setattr(beam, "_MOST_BYTES", most_bytes)
            labels, values = CTC().decode(log_probs, beam_width=6)
            results.append(np.concatenate([values.get(), *(found.get() for found in labels)]))
    for result in results[1:]:
        assert_array_equal(result, results[0])


def test_results_lie_on_the_device_of_the_data(cupy):
    with cupy.cuda.Device(1):
        log_probs = cupy.asarray(np.zeros((3, 3)))
    assert {array.device.id for array in CTC().decode(log_probs, beam_width=2)} == {1}


# ---- the checks notice

NEEDED = {"needed": [beam.kernel_name("double")]}
LINES = beam.FILE.text[beam.FILE.text.index("class Beam") :].splitlines()
BARRIERS = [k for k, line in enumerate(LINES) if re.match(r" +block_barrier\(\);", line)]


def notices(monkeypatch, tmp_path, text):
    """What running a changed text in all orders brings up: a complaint, "wrong results", "a crash", or "nothing".

    In a process of its own, for what is read too early may be an address.
    """
    host = Host(beam.FILE, NEEDED, tmp_path, text, ["-O0"])
    host.compile(NEEDED)
    cupy = cuda_on_host.install(monkeypatch, host)
    monkeypatch.setattr(beam, "_MOST_BYTES", 1)  # sample after sample in one room
    context = multiprocessing.get_context("fork")
    found = context.SimpleQueue()
    process = context.Process(target=lambda: found.put(look_at(cupy, host)))
    process.start()
    process.join()
    return found.get() if process.exitcode == 0 else "a crash"


def look_at(cupy, host):
    rng = np.random.default_rng(0)
    problems = [(rng.normal(size=(4, 60, 3)), 6), (rng.normal(size=(3, 9, 70)), 45)]  # the second with three warps
    for host.order in ORDERS:
        for host.seed, (log_probs, width) in enumerate(problems):
            expected = CTC().decode(log_probs, beam_width=width)
            try:
                labels, values = CTC().decode(cupy.asarray(log_probs), beam_width=width)
            except KernelFailure as failure:
                return str(failure)
            if not np.allclose(values.get(), expected[1], rtol=1e-12):
                return "wrong results"
            if any(not np.array_equal(got.get(), answer) for got, answer in zip(labels, expected[0], strict=True)):
                return "wrong results"
    return "nothing"


def test_an_unchanged_source_is_right(monkeypatch, tmp_path):
    assert notices(monkeypatch, tmp_path, beam.FILE.text) == "nothing"


@pytest.mark.parametrize("barrier", BARRIERS)
def test_a_removed_barrier_is_noticed(monkeypatch, tmp_path, barrier):
    start = beam.FILE.text.index("class Beam")
    lines = [line for k, line in enumerate(LINES) if k != barrier]
    text = beam.FILE.text[:start] + "\n".join(lines)
    assert re.search("wrong results|a crash|race in shared|nobody wrote", notices(monkeypatch, tmp_path, text))


@pytest.mark.parametrize(
    ("text", "changed", "complaint"),
    [
        ("if (found < oldest && parent", "if (false && parent", "wrong results"),
        (
            "const Index w = find(total, size, high);",
            "const Index w = lane_of_thread() < 7 ? find(total, size, high) : size;",
            "divergent warp|every thread waits",
        ),
        ("same = never();", "", "wrong results"),
        ("strange = any_thread(strange);", "", "wrong results"),
    ],
    ids=["forgotten prefixes", "lane astray", "counted twice", "picked too early"],
)
def test_defects_are_noticed(monkeypatch, tmp_path, text, changed, complaint):
    assert beam.FILE.text.count(text) == 1
    assert re.search(complaint, notices(monkeypatch, tmp_path, beam.FILE.text.replace(text, changed)))


# ---- AddressSanitizer


def sanitized(tmp_path, change="pass"):
    """Beams of kernels built with AddressSanitizer; `change` edits `beam.FILE.text`."""
    return cuda_on_host.sanitized(
        f"""
        import numpy as np
        import cuda_on_host, device_parity
        from sdtwkit._cuda import beam
        from sdtwkit.dp import CTC
        {change}
        host = cuda_on_host.Host(beam.FILE, beam.libraries(), {str(tmp_path)!r}, flags=cuda_on_host.SANITIZERS)
        cupy = sys.modules["cupy"] = cuda_on_host.cupy_on(host)
        rng = np.random.default_rng(0)
        for host.order, (T, K, width) in enumerate(((1, 1, 2), (9, 3, 5), (3, 260, 40))):
            for dtype in (np.float64, np.float32):
                log_probs, _, lengths = device_parity.random_transcripts(rng, T, K, 0, dtype)
                CTC(K - 1).decode(cupy.asarray(log_probs), lengths["input_lengths"], width)
        """
    )


def test_nothing_is_touched_out_of_bounds(tmp_path):
    done = sanitized(tmp_path)
    assert "sanitized" in done.stdout, done.stderr[-3000:]


def test_a_write_out_of_bounds_is_noticed(tmp_path):
    done = sanitized(tmp_path, 'beam.FILE.text = beam.FILE.text.replace("r < width; ++r", "r < 2 * width; ++r")')
    assert "ERROR: AddressSanitizer: " in done.stderr
