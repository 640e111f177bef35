"""Parameters learned by Adam (Kingma and Ba, ICLR 2015) from losses that bring their gradients, such as those through a
warp: no framework is needed.

Errors of alignments have kinks and jumps, since another path becomes the best one; line searches stumble there, steps
of a decaying size do not.
"""

import numpy as np

MEANS = 0.9, 0.99  # memory of the gradient and of its square
FLOOR = 1e-8  # of the root of the latter


def learned(loss, start, items, *, steps, batch, rate, rng):
    """Parameters that make the mean of loss(parameters, item) -> (value, gradient) over the items small.

    start : array of any shape, or named tuple of arrays; parameters and gradients have the same form
    batch : so many different items, drawn anew, make one step, or all if there are fewer
    rate : how far each parameter moves in a step, about; it decays to 0 as half a cosine
    """
    parameters = flat(start)
    mean, square = np.zeros_like(parameters), np.zeros_like(parameters)
    for k in range(1, steps + 1):
        chosen = rng.choice(len(items), min(batch, len(items)), replace=False)
        gradient = np.mean([flat(loss(shaped(parameters, start), items[i])[1]) for i in chosen], axis=0)
        mean = MEANS[0] * mean + (1 - MEANS[0]) * gradient
        square = MEANS[1] * square + (1 - MEANS[1]) * gradient**2
        unbiased, scale = mean / (1 - MEANS[0] ** k), np.sqrt(square / (1 - MEANS[1] ** k))
        parameters = parameters - rate * (1 + np.cos(np.pi * k / (steps + 1))) / 2 * unbiased / (scale + FLOOR)
    return shaped(parameters, start)


def flat(parameters):
    """All entries, (p,) float64; a copy."""
    parts = parameters if isinstance(parameters, tuple) else (parameters,)
    return np.concatenate([np.ravel(part) for part in parts]).astype(np.float64)


def shaped(entries, like):
    """The inverse of `flat`."""
    if not isinstance(like, tuple):
        return entries.reshape(np.shape(like))
    ends = np.cumsum([np.size(part) for part in like])
    parts = np.split(entries, ends[:-1])
    return type(like)(*(part.reshape(np.shape(other)) for part, other in zip(parts, like, strict=True)))
