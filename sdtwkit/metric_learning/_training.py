"""Stochastic gradient descent on pairs: Adam with clipped gradients, minibatches, early stopping.

What is learned, and from what, is the caller's: a dict of parameters and two functions of it. Parameters of a device
stay there, and so does Adam: a step waits for nothing, only the loss of each epoch is read. Adam on the host would
wait twice a step, for the gradient and for the new parameters to be sent.
"""

from typing import NamedTuple

import numpy as np

from .. import _arrays, _words


class Schedule(NamedTuple):
    """How long and how fast; checked by `check_schedule`."""

    max_iter: int
    batch_size: int
    learning_rate: float
    max_norm: float
    early_stopping: bool
    validation_fraction: float
    n_iter_no_change: int
    tol: float
    verbose: int


def check_schedule(estimator):
    """The parameters of an estimator that bear these names."""
    given = {name: getattr(estimator, name) for name in Schedule._fields}
    for name in ("max_iter", "batch_size", "n_iter_no_change"):
        given[name] = _words.check_count(given[name], name)
    if given["batch_size"] < 2:
        raise ValueError("batch_size is 1; expected at least 2, a same pair and a different one")
    for name in ("learning_rate", "max_norm"):
        given[name] = _words.check_real(given[name], name, "a number > 0")
        if not given[name] > 0 or (name == "learning_rate" and given[name] == np.inf):
            raise ValueError(f"{name} is {given[name]}; expected a number > 0")
    given["tol"] = _words.check_nonnegative(given["tol"], "tol")
    share = given["validation_fraction"] = _words.check_real(
        given["validation_fraction"], "validation_fraction", "a number within (0, 1)"
    )
    if not 0 < share < 1:
        raise ValueError(f"validation_fraction is {share}; expected a number within (0, 1)")
    _words.check_flag(given["early_stopping"], "early_stopping")
    return Schedule(**given)


def check_crop(crop):
    return None if crop is None else _words.check_count(crop, "crop")


class Trained(NamedTuple):
    parameters: dict
    losses: list  # mean of each epoch
    validation_losses: list  # empty without validation
    best_iter: int  # 1 is the first epoch; the parameters are those after it


def train(parameters, sampler, loss_and_grad, validation_loss, schedule, rng):
    """Minimise ``loss_and_grad(parameters, same pairs, different pairs, rng) -> loss, {name: gradient}``.

    `parameters` : a dict of arrays of one dtype, NumPy's or of the current device. `validation_loss` : function of the
    parameters, or None. With it training ends after `n_iter_no_change` epochs in which it did not fall by `tol`, and
    the best parameters are kept.
    """
    step = Adam(parameters, schedule.learning_rate, schedule.max_norm)
    losses, validation, best = [], [], parameters
    best_loss, best_iter, stale = np.inf, 0, 0
    size = schedule.batch_size // 2
    for iteration in range(1, schedule.max_iter + 1):
        total, (same, different) = 0.0, sampler.epoch(rng)
        for k in range(0, len(same), size):
            batch = same[k : k + size], different[k : k + size]
            loss, gradient = loss_and_grad(parameters, *batch, rng)
            parameters = step(parameters, gradient)
            total += loss * len(batch[0])
        losses.append(float(_arrays.on_host(total)) / len(same))
        if not np.isfinite(losses[-1]):  # of a device, whose calls do not raise
            lost = f"the loss of epoch {iteration} is {losses[-1]}"
            raise ValueError(f"{lost}; rescale the series, or lower learning_rate")
        said = f"epoch {iteration}: loss {losses[-1]:.4f}"
        if validation_loss is not None:
            validation.append(validation_loss(parameters))
            said += f", validation {validation[-1]:.4f}"
            stale = 0 if validation[-1] < best_loss - schedule.tol else stale + 1
            if validation[-1] < best_loss:
                best, best_loss, best_iter = parameters, validation[-1], iteration
        if schedule.verbose:
            print(said, flush=True)
        if stale >= schedule.n_iter_no_change:
            break
    if validation_loss is None:
        best, best_iter = parameters, iteration
    return Trained(best, losses, validation, best_iter)


class Adam:
    """Kingma and Ba, Adam: a method for stochastic optimization, ICLR 2015; of gradients of norm max_norm at most.

    All parameters are one vector here: on a device that is a dozen launches a step, not a hundred.
    """

    DECAY = 0.9, 0.999
    EPSILON = 1e-8

    def __init__(self, parameters, learning_rate, max_norm):
        self.learning_rate, self.max_norm, self.steps = learning_rate, max_norm, 0
        self.mean = self.square = np.zeros_like(_joined(parameters.values()))

    def __call__(self, parameters, gradient):
        """New arrays, in the dtype of the old ones; views of one vector."""
        before, g = _joined(parameters.values()), _joined([gradient[name] for name in parameters])
        norm = np.sqrt((g.astype(np.float64) ** 2).sum())
        g = g / np.maximum(norm / self.max_norm, 1.0).astype(g.dtype)
        self.steps += 1
        a, b = self.DECAY
        rate = self.learning_rate * np.sqrt(1 - b**self.steps) / (1 - a**self.steps)
        self.mean, self.square = a * self.mean + (1 - a) * g, b * self.square + (1 - b) * g * g
        after = before - rate.astype(before.dtype) * self.mean / (np.sqrt(self.square) + self.EPSILON)
        moved, begin = {}, 0
        for name, value in parameters.items():
            moved[name] = after[begin : begin + value.size].reshape(value.shape)
            begin += value.size
        return moved


def _joined(arrays):
    """Arrays of one kind as one vector."""
    arrays = list(arrays)
    return _arrays.namespace(arrays[0]).concatenate([array.reshape(-1) for array in arrays])
