"""Coupled GRUs by the real .cu source and the real launch code, without a GPU; see cuda_on_host.h."""

import re

import cuda_on_host
import numpy as np
import pytest
from cuda_on_host import FORWARDS, ORDERS, Host, KernelFailure
from device_parity import DTYPES, close
from device_parity_gru import COUPLINGS, ENDS, SHAPES, both, check_gru, on_device, random_problem
from numpy.testing import assert_allclose, assert_array_equal
from reference_recurrent import forward, gradient, loss

from sdtwkit._cuda import gru
from sdtwkit.metric_learning import coupled_gru_forward, coupled_gru_loss_and_grad

pytestmark = cuda_on_host.needed


@pytest.fixture(scope="module")
def host(tmp_path_factory):
    host = Host(gru.FILE, gru.libraries(), tmp_path_factory.mktemp("kernels"))
    host.compile(host.libraries)
    return host


@pytest.fixture
def cupy(monkeypatch, host):
    host.order, host.seed = FORWARDS, 0
    return cuda_on_host.install(monkeypatch, host)


def sent(cupy, problem):
    """The same with sequences and parameters on the device."""
    return [*(on_device(cupy, value) for value in problem[:3]), *problem[3:]]


def pieces(results):
    states, gates, value, by_name = results
    return [states, gates, value, *by_name.values()]


# ---- the same answers


@pytest.mark.parametrize("near", [True, False], ids=["shared", "cached"])
@pytest.mark.parametrize("after_end", ENDS)
@pytest.mark.parametrize("coupling", COUPLINGS)
@pytest.mark.parametrize("dtype", DTYPES, ids=["float64", "float32"])
def test_coupled_grus(cupy, host, monkeypatch, rng, dtype, coupling, after_end, near):
    """Weights in shared memory, or read again and again."""
    if not near:
        monkeypatch.setattr(gru, "most_shared", lambda device: 0)
    for shape in SHAPES:
        for host.order in ORDERS:
            problem = random_problem(rng, *shape, dtype)
            check_gru(cupy, problem, dtype, coupling=coupling, after_end=after_end, kappa=0.7)
            check_gru(cupy, problem, dtype, coupling=coupling, after_end=after_end, margin=3.0, beta=0.4)


@pytest.mark.parametrize("after_end", ENDS)
@pytest.mark.parametrize("coupling", COUPLINGS)
def test_the_slow_twin(cupy, rng, coupling, after_end):
    p, x1, x2, same, n1, n2 = random_problem(rng, 4, 6, 2, 5, np.float64)
    x1, x2 = np.nan_to_num(x1), np.nan_to_num(x2)
    options = {"coupling": coupling, "kappa": 0.6, "after_end": after_end}
    states, gates, value, found = both(*sent(cupy, (p, x1, x2, same, n1, n2)), margin=1.5, beta=0.3, **options)
    expected_states, expected_gates, _ = forward(p, x1, x2, n1, n2, **options)
    assert_allclose(states.get(), expected_states, rtol=0, atol=1e-13)
    assert_allclose(gates.get(), expected_gates, rtol=0, atol=1e-13)
    assert_allclose(value.get(), loss(expected_states, same, n1, n2, 1.5, 0.3), rtol=0, atol=1e-13)
    for name, expected in gradient(p, x1, x2, same, n1, n2, margin=1.5, beta=0.3, **options).items():
        assert_allclose(found[name].get(), expected, rtol=0, atol=1e-12)


def test_more_units_than_a_block_has_threads(cupy, rng):
    for coupling in ("none", "pre"):
        check_gru(cupy, random_problem(rng, 1, 2, 3, 205, np.float64), np.float64, coupling=coupling, beta=0.5)


def test_more_parts_of_the_sums_than_memory_has_room_for(cupy, rng, monkeypatch):
    monkeypatch.setattr(gru, "_MOST_BYTES", 4000)
    check_gru(cupy, random_problem(rng, 5, 4, 2, 4, np.float64), np.float64)


def test_lists_and_sides_of_unequal_width(cupy, rng):
    p, x1, x2, same, n1, n2 = random_problem(rng, 3, 6, 2, 4, np.float64)
    lists = [[item[:n].copy() for item, n in zip(x, lengths, strict=True)] for x, lengths in ((x1, n1), (x2, n2))]
    check_gru(cupy, (p, *lists, same, None, None), np.float64)
    check_gru(cupy, (p, lists[0], x2, same, None, n2), np.float64)
    check_gru(cupy, (p, np.nan_to_num(x1[:, :4]), np.nan_to_num(x2), same, np.minimum(n1, 4), n2), np.float64)


def test_other_number_formats(cupy, rng):
    """Those of sequences and parameters are settled together; parameters that are not needed count in the answer."""
    p, x1, x2, same, n1, n2 = random_problem(rng, 3, 6, 2, 4, np.float64)
    x1, x2 = (np.nan_to_num(3 * x).astype(int) for x in (x1, x2))
    check_gru(cupy, (p, x1, x2, same.astype(bool), n1, n2), np.float64, coupling="none")
    single = {name: array.astype(np.float32) for name, array in p.items()}
    check_gru(cupy, (single, x1.astype(np.float16), x2.astype(np.float32), same, n1, n2), np.float32)
    check_gru(cupy, (single, np.float64(x1), x2, same, n1, n2), np.float64)


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e3, 1e12])
@pytest.mark.parametrize("coupling", COUPLINGS)
@pytest.mark.parametrize("dtype", DTYPES, ids=["float64", "float32"])
def test_weights_over_many_orders_of_magnitude(cupy, rng, dtype, coupling, scale):
    p, *others = random_problem(rng, 3, 5, 2, 3, dtype)
    problem = {name: array * dtype(scale) for name, array in p.items()}, *others
    expected = pieces(both(*problem, coupling=coupling))
    for got, array in zip(pieces(both(*sent(cupy, problem), coupling=coupling)), expected, strict=True):
        assert np.isfinite(got.get()).all()
        if scale <= 1:  # beyond, states jump with the last bit
            assert_allclose(got.get(), array, rtol=0, atol=1e-9 if dtype == np.float64 else 1e-4)


def test_equal_sequences_stay_together_and_order_does_not_matter(cupy, rng):
    p, x1, x2, same, _, _ = (value for value in random_problem(rng, 3, 9, 2, 37, np.float32))
    x1, x2 = np.nan_to_num(x1), np.nan_to_num(x2)
    p, x1, x2 = (on_device(cupy, value) for value in (p, x1, x2))
    states, _ = coupled_gru_forward(p, x1, x1)
    assert_array_equal(states[0].get(), states[1].get())
    one, other = (coupled_gru_loss_and_grad(p, *pair, same) for pair in ((x1, x2), (x2, x1)))
    assert_array_equal(one[0].get(), other[0].get())
    assert_array_equal(one[1]["x1"].get(), other[1]["x2"].get())


# ---- what a device cannot refuse


@pytest.mark.parametrize("wrong", [0, -1, 7])
def test_lengths_on_the_device(cupy, rng, wrong):
    p, x1, x2, same, n1, n2 = random_problem(rng, 3, 6, 2, 4, np.float64)
    expected = both(p, x1, x2, same, n1, n2)
    p, x1, x2 = (on_device(cupy, value) for value in (p, x1, x2))
    for got, array in zip(
        pieces(both(p, x1, x2, same, cupy.asarray(n1), cupy.asarray(n2))), pieces(expected), strict=True
    ):
        close(got, np.asarray(array), np.float64)
    n2[1] = wrong
    states, _, value, found = both(p, x1, x2, same, n1, cupy.asarray(n2))
    assert_array_equal(np.isnan(states.get()).all(axis=(0, 2, 3)), [False, True, False])
    close(states[:, [0, 2]], expected[0][:, [0, 2]], np.float64)
    assert np.isnan(value.get())
    assert all(np.isnan(found[name].get()).all() for name in p)


def test_a_length_beyond_the_item_of_a_list(cupy, rng):
    p, x1, _, same, _, _ = random_problem(rng, 3, 6, 2, 4, np.float64)
    p, x1 = on_device(cupy, p), cupy.asarray(np.nan_to_num(x1))
    short = [x1[0], x1[1, :2], x1[2]]
    states, _, value, _ = both(p, short, x1, same, cupy.asarray([6, 3, 6]), None)
    assert_array_equal(np.isnan(states.get()).any(axis=(0, 2, 3)), [False, True, False])
    assert np.isnan(value.get())


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_sample_that_is_not_finite(cupy, rng, bad):
    p, x1, x2, same, n1, n2 = random_problem(rng, 3, 6, 2, 4, np.float64)
    expected = coupled_gru_forward(p, x1, x2, n1, n2)[0]
    x1[1, 0] = bad * np.array([1, -1])  # inf - inf inside a gate
    p["W"][0] = p["W"][4] = p["W"][8] = 1.0
    expected = coupled_gru_forward(p, np.nan_to_num(x1, posinf=0, neginf=0), x2, n1, n2)[0]
    states, _, value, _ = both(*sent(cupy, (p, x1, x2, same, n1, n2)))
    assert_array_equal(np.isnan(states.get()).any(axis=(0, 2, 3)), [False, True, False])
    close(states[:, [0, 2]], expected[:, [0, 2]], np.float64)
    assert np.isnan(value.get())


def test_labels_on_the_device(cupy, rng):
    problem = random_problem(rng, 3, 6, 2, 4, np.float64)
    expected = both(*problem)[2]
    p, x1, x2, same, n1, n2 = sent(cupy, problem)
    close(both(p, x1, x2, cupy.asarray(same), n1, n2)[2], np.asarray(expected), np.float64)
    same[2] = 2
    value, found = coupled_gru_loss_and_grad(p, x1, x2, cupy.asarray(same), n1, n2)
    assert np.isnan(value.get())
    assert np.isnan(found["U"].get()).all()
    with pytest.raises(ValueError, match=r"same\[2\] is 2"):  # those of the host are looked at
        coupled_gru_loss_and_grad(p, x1, x2, same, n1, n2)


# ---- wrong arguments, other devices


@pytest.mark.parametrize(
    ("change", "error", "sentence"),
    [
        (lambda c, a: a | {"x2": a["x2"].get()}, TypeError, "x2 is no CuPy array"),
        (lambda c, a: a | {"params": on_host(a["params"])}, TypeError, "params is no CuPy array"),
        (lambda c, a: a | {"x1": a["x1"].get(), "x2": a["x2"].get()}, TypeError, "params is a CuPy array"),
        (
            lambda c, a: a | {"params": a["params"] | {"bh": a["params"]["bh"].get()}},
            TypeError,
            r"params\['bh'\] is no",
        ),
        (lambda c, a: a | {"x2": elsewhere(c, a["x2"])}, ValueError, "x2 lies on CUDA device 1, the data on device 0"),
        (
            lambda c, a: a | {"params": a["params"] | {"U": elsewhere(c, a["params"]["U"])}},
            ValueError,
            r"params\['U'\] lies on CUDA device 1",
        ),
        (
            lambda c, a: a | {"x1": elsewhere(c, a["x1"]), "x2": elsewhere(c, a["x2"])},
            ValueError,
            "params lies on CUDA device 0, the data on device 1",
        ),
        (lambda c, a: a | {"same": elsewhere(c, c.asarray([1, 0, 1]))}, ValueError, "same lies on CUDA device 1"),
        (
            lambda c, a: a | {"lengths1": elsewhere(c, c.asarray([1, 2, 3]))},
            ValueError,
            "lengths1 lies on CUDA device 1",
        ),
        (lambda c, a: a | {"same": c.asarray([1, 0])}, ValueError, r"same has shape \(2,\); expected \(3,\)"),
        (
            lambda c, a: a | {"params": a["params"] | {"bc": a["params"]["bh"]}},
            ValueError,
            r"params\['bc'\] has shape \(12,\)",
        ),
    ],
)
def test_wrong_arguments(cupy, rng, change, error, sentence):
    p, x1, x2, same, _, _ = random_problem(rng, 3, 6, 2, 4, np.float64)
    p, x1, x2 = (on_device(cupy, value) for value in (p, x1, x2))
    with pytest.raises(error, match=sentence):
        coupled_gru_loss_and_grad(**change(cupy, {"params": p, "x1": x1, "x2": x2, "same": same}))


def on_host(p):
    return {name: array.get() for name, array in p.items()}


def elsewhere(cupy, array):
    with cupy.cuda.Device(1):
        return cupy.asarray(array.get())


def test_labels_on_a_device_and_the_rest_on_the_host(cupy, rng):
    p, x1, x2, same, n1, n2 = random_problem(rng, 3, 6, 2, 4, np.float64)
    with pytest.raises(TypeError, match="taking same from a device is not available for CuPy arrays"):
        coupled_gru_loss_and_grad(p, x1, x2, cupy.asarray(same), n1, n2)


def test_results_lie_on_the_device_of_the_data(cupy, rng):
    problem = random_problem(rng, 2, 4, 2, 3, np.float64)
    with cupy.cuda.Device(1):
        there = sent(cupy, problem)
    assert {array.device.id for array in pieces(both(*there))} == {1}
    assert {array.device.id for array in pieces(both(*there, coupling="none"))} == {1}


# ---- the same bits


def test_results_do_not_depend_on_who_computes_them(cupy, host, monkeypatch, rng):
    """Neither on the order of the threads nor on the number of blocks."""
    problem = sent(cupy, random_problem(rng, 7, 9, 3, 20, np.float32))
    results = []
    for host.order in ORDERS:
        for blocks in (1, 2, 5):
            host.seed = blocks
            monkeypatch.setattr(cuda_on_host, "BLOCKS", blocks)
            results.append([array.get() for array in pieces(both(*problem, beta=0.3))])
    for result in results[1:]:
        for array, first in zip(result, results[0], strict=True):
            assert_array_equal(array, first)


# ---- the checks notice

LINES = gru.FILE.text.splitlines()
BARRIERS = [k for k, line in enumerate(LINES) if re.match(r" +block_barrier\(\);", line)]


def notices(monkeypatch, tmp_path, text):
    """What running a changed text in all orders brings up: a complaint, "wrong results", or "nothing"."""
    used = {"pre": True, "none": False}  # weights in shared memory
    names = [name for kind in used.items() for way in gru.names_of("double", *kind) for name in way]
    host = Host(gru.FILE, {"double": list(dict.fromkeys(names))}, tmp_path, text, ["-O0"])
    cupy = cuda_on_host.install(monkeypatch, host)
    rng = np.random.default_rng(0)
    p, x1, x2, *_ = random_problem(rng, 2, 5, 2, 40, np.float64)
    problem = p, np.nan_to_num(x1), np.nan_to_num(x2), [1, 0], [5, 4], [5, 5]  # coupled beyond the first step
    for coupling, near in used.items():
        monkeypatch.setattr(gru, "most_shared", lambda device, near=near: 64000 * near)
        expected = pieces(both(*problem, coupling=coupling, beta=0.3))
        for host.order in ORDERS:
            try:
                got = pieces(both(*sent(cupy, problem), coupling=coupling, beta=0.3))
            except KernelFailure as failure:
                return str(failure)
            if not all(
                np.allclose(result.get(), answer, rtol=1e-9) for result, answer in zip(got, expected, strict=True)
            ):
                return "wrong results"
    return "nothing"


def test_an_unchanged_source_is_right(monkeypatch, tmp_path):
    assert notices(monkeypatch, tmp_path, gru.FILE.text) == "nothing"


@pytest.mark.parametrize("barrier", BARRIERS)
def test_a_removed_barrier_is_noticed(monkeypatch, tmp_path, barrier):
    lines = [line for k, line in enumerate(LINES) if k != barrier]
    assert re.search("wrong results|race in shared|nobody wrote", notices(monkeypatch, tmp_path, "\n".join(lines)))


@pytest.mark.parametrize(
    ("text", "changed", "complaint"),
    [
        (
            "return over_lanes(sum, Sum());",
            "return unit_of(threadIdx.x) ? over_lanes(sum, Sum()) : sum;",
            "every thread",
        ),
        (
            "      release(t);\n",
            "      if (threadIdx.x > 40) continue;\n      release(t);\n",
            "every thread|wrong results",
        ),
        ("weights_[k * width_ + s]", "weights_[k * width_ + s + 1]", "out of bounds"),
        (
            "Near ? count : 0);\n  const Kept<T, Near> kept(room, a.state_columns",
            "Near ? count + 1 : 0);\n  const Kept<T, Near> kept(room, a.state_columns",
            "more shared memory is declared than was asked for",
        ),
    ],
    ids=["lane astray", "thread astray", "shared out of bounds", "more shared than asked for"],
)
def test_defects_are_noticed(monkeypatch, tmp_path, text, changed, complaint):
    assert gru.FILE.text.count(text) == 1
    assert re.search(complaint, notices(monkeypatch, tmp_path, gru.FILE.text.replace(text, changed)))


# ---- AddressSanitizer


def sanitized(tmp_path, change="pass"):
    """States and gradients on kernels built with AddressSanitizer; `change` edits `gru.FILE.text`."""
    return cuda_on_host.sanitized(
        f"""
        import numpy as np
        import cuda_on_host, device_parity_gru
        from sdtwkit._cuda import gru
        {change}
        names = {{"double": gru.libraries()["double"]}}
        host = cuda_on_host.Host(gru.FILE, names, {str(tmp_path)!r}, flags=cuda_on_host.SANITIZERS)
        cupy = sys.modules["cupy"] = cuda_on_host.cupy_on(host)
        rng = np.random.default_rng(0)
        for k, coupling in enumerate(2 * device_parity_gru.COUPLINGS):
            if k == 4:
                gru.most_shared = lambda device: 0
            for host.order, shape in enumerate(((1, 1, 1, 1), (3, 5, 2, 4), (2, 3, 1, 33))):
                p, x1, x2, *others = device_parity_gru.random_problem(rng, *shape, np.float64)
                arrays = [device_parity_gru.on_device(cupy, value) for value in (p, x1, x2)]
                after_end = device_parity_gru.ENDS[k % 2]
                device_parity_gru.both(*arrays, *others, coupling=coupling, after_end=after_end, beta=0.3)
                wrong = [cupy.asarray(np.full(shape[0], length)) for length in (-1, -2)]
                device_parity_gru.both(*arrays, others[0], *wrong, coupling=coupling, after_end=after_end)
        """
    )


def test_nothing_is_touched_out_of_bounds(tmp_path):
    done = sanitized(tmp_path)
    assert "sanitized" in done.stdout, done.stderr[-3000:]


def test_a_read_out_of_bounds_is_noticed(tmp_path):
    change = 'gru.FILE.text = gru.FILE.text.replace("for (Index t = run - 1; t", "for (Index t = a_.steps + run; t")'
    assert "ERROR: AddressSanitizer: " in sanitized(tmp_path, change).stderr
