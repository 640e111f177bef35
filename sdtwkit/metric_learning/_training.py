"""Stochastic gradient descent on pairs: Adam with clipped gradients, minibatches, early stopping.

What is learned, and from what, is the caller's: a dict of parameters and two functions of it.
"""

from typing import NamedTuple

import numpy as np

from .. import _words


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

    `validation_loss` : function of the parameters, or None. With it training ends after `n_iter_no_change` epochs in
    which it did not fall by `tol`, and the best parameters are kept.
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
        losses.append(total / len(same))
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
    """Kingma and Ba, Adam: a method for stochastic optimization, ICLR 2015; of gradients of norm max_norm at most."""

    DECAY = 0.9, 0.999
    EPSILON = 1e-8

    def __init__(self, parameters, learning_rate, max_norm):
        self.learning_rate, self.max_norm, self.steps = learning_rate, max_norm, 0
        self.mean = {name: np.zeros_like(value) for name, value in parameters.items()}
        self.square = {name: np.zeros_like(value) for name, value in parameters.items()}

    def __call__(self, parameters, gradient):
        """New arrays, in the dtypes of the old ones."""
        norm = np.sqrt(sum(np.sum(g.astype(np.float64) ** 2) for g in gradient.values()))
        shrink = min(1.0, self.max_norm / norm) if norm > 0 else 1.0
        self.steps += 1
        (a, b), moved = self.DECAY, {}
        rate = self.learning_rate * np.sqrt(1 - b**self.steps) / (1 - a**self.steps)
        for name, value in parameters.items():
            g = gradient[name] * value.dtype.type(shrink)
            self.mean[name] = a * self.mean[name] + (1 - a) * g
            self.square[name] = b * self.square[name] + (1 - b) * g * g
            moved[name] = value - rate.astype(value.dtype) * self.mean[name] / (
                np.sqrt(self.square[name]) + self.EPSILON
            )
        return moved
