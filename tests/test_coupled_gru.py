"""The coupled GRU: open cases, the slow twin, finite differences, and what the couplings must leave alone."""

from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from reference_recurrent import COUPLINGS, forward, gradient, loss, random_parameters

from sdtwkit import _backend
from sdtwkit._backend import _kernels as alignment_kernels
from sdtwkit.metric_learning import coupled_gru_forward, coupled_gru_loss_and_grad

CASES = sorted((Path(__file__).parent / "cases" / "coupled_gru").glob("*.npz"))
ENDS = ("off", "hold")


def problem(seed=0, B=5, T=8, d=3, H=4, dtype=np.float64):
    """-> parameters, x1, x2, lengths1, lengths2, same; ragged."""
    rng = np.random.default_rng(seed)
    p = {name: value.astype(dtype) for name, value in random_parameters(rng, d, H).items()}
    x1, x2 = rng.standard_normal((2, B, T, d)).astype(dtype)
    return p, x1, x2, rng.integers(1, T + 1, B), rng.integers(1, T + 1, B), rng.integers(0, 2, B)


def without_gate(p):
    return {name: p[name] for name in ("W", "U", "bi", "bh")}


def largest_difference(a, b):
    return np.max([np.abs(np.asarray(a[name]) - b[name]).max() for name in b])  # NaN where one is NaN


# ---- values and gradients


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float64, 1e-12), (np.float32, 2e-5)])
@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_open_cases(path, dtype, tolerance):
    case = np.load(path)
    options = {"coupling": str(case["variant"]), "kappa": float(case["kappa"]), "after_end": str(case["after_end"])}
    p = {name[6:]: case[name].astype(dtype) for name in case.files if name.startswith("param_")}
    arguments = (*case["X"].astype(dtype), case["lengths1"], case["lengths2"])
    states, gates = coupled_gru_forward(p, *arguments, **options)
    value, found = coupled_gru_loss_and_grad(
        p, *arguments[:2], case["y"], *arguments[2:], margin=float(case["margin"]), beta=float(case["beta"]), **options
    )
    assert states.dtype == gates.dtype == dtype
    assert np.abs(states - case["H_all"]).max() < tolerance
    assert np.abs(gates - case["C_all"]).max() < tolerance
    assert abs(value - case["loss"]) < tolerance
    expected = {f"x{a + 1}": case["dX"][a] for a in (0, 1)} | {name: case[f"grad_{name}"] for name in p}
    assert set(found) == set(expected)
    assert largest_difference(found, expected) < tolerance


def test_there_are_open_cases():
    assert len(CASES) == 4


@pytest.mark.parametrize("H", [1, 4, 37])  # below, within and beyond a register
@pytest.mark.parametrize("after_end", ENDS)
@pytest.mark.parametrize("coupling", COUPLINGS)
def test_agrees_with_the_slow_twin(coupling, after_end, H):
    p, x1, x2, n1, n2, same = problem(seed=H, H=H)
    options = {"coupling": coupling, "kappa": 0.7, "after_end": after_end}
    expected_states, expected_gates, _ = forward(p, x1, x2, n1, n2, **options)
    states, gates = coupled_gru_forward(p, x1, x2, n1, n2, **options)
    np.testing.assert_allclose(states, expected_states, rtol=0, atol=1e-13)
    np.testing.assert_allclose(gates, expected_gates, rtol=0, atol=1e-13)
    value, found = coupled_gru_loss_and_grad(p, x1, x2, same, n1, n2, margin=1.5, beta=0.3, **options)
    assert value == pytest.approx(loss(expected_states, same, n1, n2, 1.5, 0.3), abs=1e-13)
    assert largest_difference(found, gradient(p, x1, x2, same, n1, n2, margin=1.5, beta=0.3, **options)) < 1e-12


@pytest.mark.parametrize("after_end", ENDS)
@pytest.mark.parametrize("coupling", COUPLINGS)
def test_gradient_is_that_of_finite_differences(coupling, after_end):
    p, x1, x2, n1, n2, same = problem(seed=1, B=3, T=5, d=2, H=3)
    options = {"coupling": coupling, "kappa": 0.6, "after_end": after_end, "margin": 2.0, "beta": 0.2}
    _, found = coupled_gru_loss_and_grad(p, x1, x2, same, n1, n2, **options)
    everything = {"x1": x1, "x2": x2} | p
    step = 1e-6
    for name, value in everything.items():
        for index in np.ndindex(value.shape):

            def shifted(by, name=name, index=index):
                moved = {key: array.copy() for key, array in everything.items()}
                moved[name][index] += by
                y1, y2 = moved.pop("x1"), moved.pop("x2")
                return coupled_gru_loss_and_grad(moved, y1, y2, same, n1, n2, **options)[0]

            slope = (shifted(step) - shifted(-step)) / (2 * step)
            assert found[name][index] == pytest.approx(slope, abs=3e-9), (name, index)


@pytest.mark.parametrize("coupling", COUPLINGS)
def test_single_precision_is_close(coupling):
    p, x1, x2, n1, n2, same = problem(seed=2, B=6, T=30, H=16)
    value, expected = coupled_gru_loss_and_grad(p, x1, x2, same, n1, n2, coupling=coupling)
    single = {name: array.astype(np.float32) for name, array in p.items()}
    one, found = coupled_gru_loss_and_grad(
        single, x1.astype(np.float32), x2.astype(np.float32), same, n1, n2, coupling=coupling
    )
    assert all(array.dtype == np.float32 for array in found.values())
    assert one == pytest.approx(value, rel=1e-5)
    assert largest_difference(found, expected) < 2e-5


@pytest.mark.parametrize("level", range(alignment_kernels.best_level() + 1))
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_instruction_levels_agree(level, dtype, monkeypatch):
    p, x1, x2, n1, n2, same = problem(seed=3, B=4, T=9, H=19, dtype=dtype)
    _, expected = coupled_gru_loss_and_grad(p, x1, x2, same, n1, n2)
    monkeypatch.setattr("sdtwkit._backend._level", level)
    _, found = coupled_gru_loss_and_grad(p, x1, x2, same, n1, n2)
    assert largest_difference(found, expected) < (1e-6 if dtype == np.float32 else 1e-14)


def test_equals_torch_without_coupling():
    torch = pytest.importorskip("torch", reason="torch is the reference of the plain GRU")
    p, x1, x2, *_ = problem(seed=4, H=7)
    gru = torch.nn.GRU(3, 7, batch_first=True, dtype=torch.float64)
    with torch.no_grad():
        for name, target in zip(("W", "U", "bi", "bh"), gru.parameters(), strict=True):
            target.copy_(torch.tensor(p[name]))
        expected = [gru(torch.tensor(x))[0].numpy() for x in (x1, x2)]
    for coupling in COUPLINGS:
        states, _ = coupled_gru_forward(p, x1, x2, coupling=coupling, kappa=0.0)
        np.testing.assert_allclose(states, expected, rtol=0, atol=1e-15)


# ---- what couplings leave alone


@pytest.mark.parametrize("coupling", COUPLINGS)
def test_no_strength_is_no_coupling(coupling):
    p, x1, x2, n1, n2, _ = problem(seed=5)
    states, gates = coupled_gru_forward(p, x1, x2, n1, n2, coupling=coupling, kappa=0.0)
    expected, none = coupled_gru_forward(without_gate(p), x1, x2, n1, n2, coupling="none")
    np.testing.assert_allclose(states, expected, rtol=0, atol=1e-15)
    assert (none == 0).all()
    assert (gates == 0).all() == (coupling == "none")


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("after_end", ENDS)
@pytest.mark.parametrize("coupling", COUPLINGS)
def test_equal_sequences_stay_together_exactly(coupling, after_end, dtype):
    p, x1, _, n1, *_ = problem(seed=6, B=37, T=20, H=21, dtype=dtype)
    states, gates = coupled_gru_forward(p, x1, x1, n1, n1, coupling=coupling, after_end=after_end)
    assert (states[0] == states[1]).all()
    assert (gates[0] == gates[1]).all()


@pytest.mark.parametrize("after_end", ENDS)
@pytest.mark.parametrize("coupling", COUPLINGS)
def test_exchanging_the_sequences_exchanges_the_states_exactly(coupling, after_end):
    p, x1, x2, n1, n2, _ = problem(seed=7, B=11, T=20)
    states, gates = coupled_gru_forward(p, x1, x2, n1, n2, coupling=coupling, after_end=after_end)
    turned, turned_gates = coupled_gru_forward(p, x2, x1, n2, n1, coupling=coupling, after_end=after_end)
    assert (turned == states[::-1]).all()
    assert (turned_gates == gates[::-1]).all()


@pytest.mark.parametrize("coupling", COUPLINGS)
def test_padding_cannot_matter(coupling):
    p, x1, x2, n1, n2, same = problem(seed=8)
    B, T, d = x1.shape
    states, gates = coupled_gru_forward(p, x1, x2, n1, n2, coupling=coupling)
    value, found = coupled_gru_loss_and_grad(p, x1, x2, same, n1, n2, coupling=coupling, beta=0.5)
    longer = [np.full((B, T + 3, d), np.nan) for _ in range(2)]
    for wide, x, lengths in zip(longer, (x1, x2), (n1, n2), strict=True):
        for b, n in enumerate(lengths):
            wide[b, :n] = x[b, :n]
            wide[b, n:] = np.nan if b % 2 else np.inf
    wide_states, wide_gates = coupled_gru_forward(p, *longer, n1, n2, coupling=coupling)
    assert (wide_states[:, :, :T] == states).all()
    assert (wide_states[:, :, T:] == states[:, :, -1:]).all()
    assert (wide_gates[:, :, :T] == gates).all()
    assert (wide_gates[:, :, T:] == 0).all()
    same_value, wide_found = coupled_gru_loss_and_grad(p, *longer, same, n1, n2, coupling=coupling, beta=0.5)
    assert same_value == value
    for name in p:
        assert (wide_found[name] == found[name]).all()
    for name, lengths in (("x1", n1), ("x2", n2)):
        assert (wide_found[name][:, :T] == found[name]).all()
        assert all((wide_found[name][b, n:] == 0).all() for b, n in enumerate(lengths))


@pytest.mark.parametrize("after_end", ENDS)
@pytest.mark.parametrize("coupling", COUPLINGS)
def test_the_order_of_pairs_cannot_matter(coupling, after_end):
    p, x1, x2, n1, n2, same = problem(seed=9, B=9)
    order = np.random.default_rng(0).permutation(9)
    options = {"coupling": coupling, "after_end": after_end}
    states, gates = coupled_gru_forward(p, x1, x2, n1, n2, **options)
    moved, moved_gates = coupled_gru_forward(p, x1[order], x2[order], n1[order], n2[order], **options)
    np.testing.assert_allclose(moved, states[:, order], rtol=0, atol=1e-14)
    np.testing.assert_allclose(moved_gates, gates[:, order], rtol=0, atol=1e-14)
    value, found = coupled_gru_loss_and_grad(p, x1, x2, same, n1, n2, **options)
    again, turned = coupled_gru_loss_and_grad(p, x1[order], x2[order], same[order], n1[order], n2[order], **options)
    assert again == pytest.approx(value, abs=1e-14)
    assert largest_difference(turned, found | {"x1": found["x1"][order], "x2": found["x2"][order]}) < 1e-14


@pytest.mark.parametrize("coupling", COUPLINGS)
def test_a_pair_alone_is_the_pair_of_a_batch(coupling):
    p, x1, x2, n1, n2, _ = problem(seed=10)
    states, _ = coupled_gru_forward(p, x1, x2, n1, n2, coupling=coupling)
    for b in range(len(x1)):
        alone, _ = coupled_gru_forward(p, x1[b, None], x2[b, None], n1[[b]], n2[[b]], coupling=coupling)
        np.testing.assert_allclose(alone[:, 0], states[:, b], rtol=0, atol=1e-14)


@pytest.mark.parametrize("coupling", ["pre", "leak", "none"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_states_stay_within_the_unit_cube(coupling, dtype):
    p, x1, x2, n1, n2, _ = problem(seed=11, T=60, H=8, dtype=dtype)
    strong = {name: 30 * value for name, value in p.items()}
    states, _ = coupled_gru_forward(strong, 50 * x1, 50 * x2, n1, n2, coupling=coupling, kappa=0.5)
    assert np.abs(states).max() <= 1


def test_lists_are_their_padded_array():
    p, x1, x2, n1, n2, same = problem(seed=12)
    T = max(n1.max(), n2.max())
    lists = [x[:n] for x, n in zip(x1, n1, strict=True)], [x[:n] for x, n in zip(x2, n2, strict=True)]
    states, gates = coupled_gru_forward(p, *lists, after_end="hold")
    expected, expected_gates = coupled_gru_forward(p, x1[:, :T], x2[:, :T], n1, n2, after_end="hold")
    assert (states == expected).all()
    assert (gates == expected_gates).all()
    value, found = coupled_gru_loss_and_grad(p, *lists, same)
    same_value, padded = coupled_gru_loss_and_grad(p, x1, x2, same, n1, n2)
    assert value == same_value
    for name, lengths in (("x1", n1), ("x2", n2)):
        assert [g.shape for g in found[name]] == [(n, 3) for n in lengths]
        assert all((g == padded[name][b, : len(g)]).all() for b, g in enumerate(found[name]))


def test_inputs_are_left_alone_and_may_be_read_only_and_strided():
    p, x1, x2, n1, n2, same = problem(seed=13)
    expected = coupled_gru_loss_and_grad(p, x1, x2, same, n1, n2)
    strided = {name: np.asfortranarray(value) for name, value in p.items()}
    y1, y2 = np.asfortranarray(x1), x2[:, ::-1].copy()[:, ::-1]
    arrays = [*strided.values(), y1, y2, n1, n2, same]
    copies = [array.copy() for array in arrays]
    for array in arrays:
        array.flags.writeable = False
    value, found = coupled_gru_loss_and_grad(strided, y1, y2, same, n1, n2)
    assert value == expected[0]
    assert largest_difference(found, expected[1]) == 0
    assert all((array == copy).all() for array, copy in zip(arrays, copies, strict=True))


@pytest.mark.parametrize(("x_dtype", "p_dtype", "result"), [("f4", "f8", "f8"), ("i8", "f4", "f8"), ("f2", "f4", "f4")])
def test_dtypes_mix_as_in_numpy(x_dtype, p_dtype, result):
    p, x1, x2, *_ = problem(dtype=p_dtype)
    states, _ = coupled_gru_forward(p, x1.astype(x_dtype), x2.astype(x_dtype))
    assert states.dtype == result


def test_parameters_without_effect_have_zero_gradient():
    p, x1, x2, n1, n2, same = problem(seed=14)
    _, found = coupled_gru_loss_and_grad(p, x1, x2, same, n1, n2, coupling="none")
    assert list(found) == ["x1", "x2", *p]
    assert all((found[name] == 0).all() and found[name].shape == p[name].shape for name in ("Wc", "Uc", "Vc", "bc"))


@pytest.mark.parametrize("coupling", COUPLINGS)
def test_what_memory_held_before_cannot_matter(coupling, monkeypatch):
    p, x1, x2, n1, n2, same = problem(seed=15)
    states, gates = coupled_gru_forward(p, x1, x2, n1, n2, coupling=coupling)
    _, first = coupled_gru_loss_and_grad(p, x1, x2, same, n1, n2, coupling=coupling, beta=0.1)
    monkeypatch.setattr(np, "empty_like", lambda array: np.full_like(array, np.nan))
    monkeypatch.setattr(np, "empty", lambda shape, dtype: np.full(shape, np.nan, dtype))
    again_states, again_gates = coupled_gru_forward(p, x1, x2, n1, n2, coupling=coupling)
    _, again = coupled_gru_loss_and_grad(p, x1, x2, same, n1, n2, coupling=coupling, beta=0.1)
    assert (again_states == states).all()
    assert (again_gates == gates).all()
    assert largest_difference(first, again) == 0


def test_blas_is_held_to_one_thread_by_whoever_is_within_and_has_its_threads_back():
    held = _backend._recurrent()[1]

    def threads():
        return {library["num_threads"] for library in held.libraries.info()}

    with held.libraries.limit(limits=2):
        before = threads()
    with ThreadPoolExecutor(1) as other:
        for _ in range(2):  # what a call leaves behind must not stand in the way of the next, from whichever thread
            with held.libraries.limit(limits=2):
                with held:
                    assert threads() == {1}
                assert threads() == before
            other.submit(held.__enter__).result()
            held.__enter__()
            assert threads() == {1}
            other.submit(held.__exit__).result()
            assert threads() == {1}
            held.__exit__()
        p, x1, x2, n1, n2, same = problem(seed=16, B=16, T=20)
        run = partial(coupled_gru_loss_and_grad, p, x1, x2, same, n1, n2)
        assert largest_difference(run()[1], other.submit(run).result()[1]) == 0


# ---- wrong arguments


def changed(**parts):
    def change(arguments):
        arguments["params"].update(parts)

    return change


def without(name):
    def change(arguments):
        del arguments["params"][name]

    return change


def given(**parts):
    def change(arguments):
        arguments.update(parts)

    return change


NAN = np.zeros((5, 8, 3))
NAN[1, 2, 0] = np.nan


@pytest.mark.parametrize(
    ("change", "error", "match"),
    [
        (without("U"), ValueError, "params lacks 'U'; expected W, U, bi, bh, Wc"),
        (without("Vc"), ValueError, "params lacks 'Vc'"),
        (changed(V=1), ValueError, "params holds 'V'"),
        (changed(U=np.zeros((12, 5))), ValueError, r"params\['W'\] has shape \(12, 3\); expected \(15, 3\)"),
        (changed(bc=np.zeros(3)), ValueError, r"params\['bc'\] has shape \(3,\); expected \(4,\)"),
        (changed(W=np.zeros(3)), ValueError, r"params\['W'\] has shape \(3,\); expected \(3H, d\)"),
        (changed(bi=np.full(12, np.nan)), ValueError, r"params\['bi'\] holds NaN at index \(0\)"),
        (changed(bi=np.zeros(12, complex)), TypeError, r"params\['bi'\] has dtype complex128"),
        (given(params=None), TypeError, "params is None"),
        (given(coupling="post"), ValueError, "coupling is 'post'; expected 'none', 'pre', 'leak' or 'add'"),
        (given(coupling=None), TypeError, "coupling is None"),
        (given(after_end="on"), ValueError, "after_end is 'on'; expected 'off' or 'hold'"),
        (given(kappa=-1.0), ValueError, "kappa is -1.0; expected a finite number >= 0"),
        (given(kappa="1"), TypeError, "kappa is '1'"),
        (given(margin=0), ValueError, "margin is 0.0; expected a finite number > 0"),
        (given(beta=np.inf), ValueError, "beta is inf; expected a finite number >= 0"),
        (given(x1=np.zeros((4, 8, 3))), ValueError, "x1 is a collection of 4, x2 is a collection of 5"),
        (given(x1=np.zeros((5, 8, 2)), x2=np.zeros((5, 8, 2))), ValueError, "x1 and x2 have d = 2, params"),
        (given(x1=np.zeros((8, 3)), x2=np.zeros((8, 3)), same=[1]), ValueError, "x1 and x2 are single series"),
        (given(x2=NAN), ValueError, r"x2\[1\] holds NaN at time 2, channel 0; .* mark padding with lengths2"),
        (given(lengths1=[9] * 5), ValueError, r"lengths1\[0\] is 9, x1\[0\] has 8 rows"),
        (given(lengths2=[0] * 5), ValueError, r"lengths2\[0\] is 0"),
        (given(same=[1, 0, -1, 1, 0]), ValueError, r"same\[2\] is -1.0; expected 1 \(same\) or 0 \(different\)"),
        (given(same=[1, 0]), ValueError, r"same has shape \(2,\); expected \(5,\)"),
        (given(same=["a"] * 5), TypeError, "same has dtype"),
    ],
)
def test_errors_say_what_is_wrong(change, error, match):
    p, x1, x2, _, _, same = problem()
    arguments = {"params": p, "x1": x1, "x2": x2, "same": same}
    change(arguments)
    with pytest.raises(error, match=match):
        coupled_gru_loss_and_grad(**arguments)


def test_overflow_is_an_error_not_a_number():
    p, x1, x2, *_ = problem(dtype=np.float32)
    p["W"][:], p["W"][4:8], p["U"][:] = 3e38, 0, -3e38  # states of 1/2, then inf from x less inf from the states
    with pytest.raises(ValueError, match="exceed the range of float32"):
        coupled_gru_forward(p, 10 * abs(x1), 10 * abs(x2))
