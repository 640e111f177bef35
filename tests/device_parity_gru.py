"""Coupled GRUs on a device as on the CPU: cases shared by test_cuda_gru_on_host.py and test_gpu_gru.py."""

import numpy as np
from device_parity import close
from reference_recurrent import COUPLINGS, random_parameters

from sdtwkit.metric_learning import coupled_gru_forward, coupled_gru_loss_and_grad

__all__ = ["COUPLINGS", "ENDS", "SHAPES", "both", "check_gru", "on_device", "random_problem"]
ENDS = ("off", "hold")
# Pairs, steps, channels, units: one of everything; few; units beyond a warp.
SHAPES = ((1, 1, 1, 1), (5, 8, 3, 4), (2, 4, 7, 37))


def random_problem(rng, B, T, d, H, dtype):
    """Parameters, and the arguments of a loss: ragged pairs, NaN beyond their lengths."""
    p = {name: value.astype(dtype) for name, value in random_parameters(rng, d, H).items()}
    x = rng.normal(size=(2, B, T, d)).astype(dtype)
    lengths = rng.integers(1, T + 1, (2, B))
    for side, b in np.ndindex(2, B):
        x[side, b, lengths[side, b] :] = np.nan
    return p, x[0], x[1], rng.integers(0, 2, B), lengths[0], lengths[1]


def on_device(cupy, value):
    if isinstance(value, dict):
        return {name: cupy.asarray(array) for name, array in value.items()}
    return [cupy.asarray(item) for item in value] if isinstance(value, list) else cupy.asarray(value)


def both(p, x1, x2, same, lengths1, lengths2, margin=2.0, beta=0.0, **options):
    """States, gates, and the gradient with the loss among it."""
    states, gates = coupled_gru_forward(p, x1, x2, lengths1, lengths2, **options)
    loss, gradient = coupled_gru_loss_and_grad(p, x1, x2, same, lengths1, lengths2, margin=margin, beta=beta, **options)
    return states, gates, loss, gradient


def check_gru(cupy, problem, dtype, **options):
    """All that the CPU answers, of sequences and parameters on the device."""
    p, x1, x2, *others = problem
    expected_states, expected_gates, expected_loss, expected = both(*problem, **options)
    states, gates, loss, gradient = both(*(on_device(cupy, value) for value in (p, x1, x2)), *others, **options)
    close(states, expected_states, dtype)
    close(gates, expected_gates, dtype)
    assert loss.shape == ()
    assert loss.dtype == np.float64
    close(loss.astype(dtype), np.asarray(expected_loss), dtype)
    assert list(gradient) == list(expected)
    for name, array in expected.items():
        if isinstance(array, list):
            for item, expected_item in zip(gradient[name], array, strict=True):
                close(item, expected_item, dtype)
        else:
            assert gradient[name].shape == array.shape
            close(gradient[name], array, dtype)
