"""
Attention to segments
=====================

Softmax attention weighs every position for itself. Here the weights are the marginals of a chain with two states, off
and on: neighbours have a say, so attention comes in segments (Kim, Denton, Hoang and Rush, ICLR 2017; Mensch and
Blondel, ICML 2018). The entropy regularizer makes it smooth; under l2 it is exactly zero elsewhere.

The task is to read a noisy sequence of four runs, each of one symbol, and to write the four symbols down in reverse
order. Everything is learned by gradients, which pass through the marginals as a product with the Hessian of the chain's
value: `ChainDP.marginals_vjp`.
"""

import matplotlib.pyplot as plt
import numpy as np
from scipy.special import softmax

from sdtwkit.dp import ChainDP

RUNS, SYMBOLS = 4, 6


def draw(rng, count):
    """-> noisy numbers of the runs (count, T, 4), noisy symbols (count, T, 6), sizes of the runs, symbols to write"""
    sizes, symbols = rng.integers(4, 10, size=(count, RUNS)), rng.integers(SYMBOLS, size=(count, RUNS))
    lengths = sizes.sum(axis=1)
    keys, values = (rng.normal(size=(count, lengths.max(), width)) for width in (RUNS, SYMBOLS))
    for b in range(count):
        run = np.repeat(np.arange(RUNS), sizes[b])
        time = np.arange(lengths[b])
        keys[b, time, run] += 1.5
        values[b, time, symbols[b, run]] += 1.5
        keys[b, lengths[b] :], values[b, lengths[b] :] = 0, 0
    return keys, values, sizes, symbols[:, ::-1]


# %%
# Each of the four outputs has a query, and a chain of its own over the positions; the score of "on" is the product of
# query and key. What moves between "off" and "on" cost is learned, too. The sum of the values, weighted by the
# attention, goes through a linear layer.


def attention(dp, weights, keys, sizes):
    """-> marginals of "on" (count * 4, T), and the potentials and lengths of the chains"""
    scores = np.einsum("btk,ok->bot", keys, weights["query"]) + weights["bias"]
    scores = scores.reshape(-1, keys.shape[1])
    theta = np.stack([np.zeros_like(scores), scores], axis=2), weights["moves"]
    lengths = np.repeat(sizes.sum(axis=1), RUNS)
    return dp.marginals(theta, lengths)[:, :, 1], theta, lengths


def loss_and_gradients(dp, weights, keys, values, sizes, symbols):
    on, theta, lengths = attention(dp, weights, keys, sizes)
    on = on.reshape(len(keys), RUNS, -1)
    context = on @ values
    p = softmax(context @ weights["out"].T, axis=2)
    index = np.indices(symbols.shape)
    loss = -np.log(p[*index, symbols]).mean()

    error = p.copy()
    error[*index, symbols] -= 1
    error /= symbols.size
    d_on = error @ weights["out"] @ values.transpose(0, 2, 1)
    cotangent = np.zeros_like(theta[0])
    cotangent[:, :, 1] = d_on.reshape(cotangent.shape[:2])
    d_unary, d_moves = dp.marginals_vjp(theta, cotangent, lengths)
    d_scores = d_unary[:, :, 1].reshape(on.shape)
    gradients = {
        "query": np.einsum("bot,btk->ok", d_scores, keys),
        "bias": d_scores.sum(),
        "moves": d_moves,
        "out": np.einsum("bos,boc->sc", error, context),
    }
    return loss, gradients, (p.argmax(axis=2) == symbols).mean()


# %%
# Adam, from small random weights; the same data and weights for both regularizers.


def train(regularizer, steps=250, rate=0.03):
    rng, dp = np.random.default_rng(0), ChainDP(regularizer=regularizer)
    weights = {
        "query": 0.1 * rng.normal(size=(RUNS, RUNS)),
        "bias": np.zeros(()),
        "moves": np.zeros((2, 2)),
        "out": 0.1 * rng.normal(size=(SYMBOLS, SYMBOLS)),
    }
    means, squares = ({name: np.zeros_like(w) for name, w in weights.items()} for _ in range(2))
    losses = []
    for step in range(1, steps + 1):
        loss, gradients, _ = loss_and_gradients(dp, weights, *draw(rng, 32))
        losses.append(loss)
        for name, g in gradients.items():
            means[name] = 0.9 * means[name] + 0.1 * g
            squares[name] = 0.99 * squares[name] + 0.01 * g**2
            mean, square = means[name] / (1 - 0.9**step), squares[name] / (1 - 0.99**step)
            weights[name] = weights[name] - rate * mean / (np.sqrt(square) + 1e-8)
    return dp, weights, losses


models = {"entropy": train("entropy"), "l2": train("l2")}
test = draw(np.random.default_rng(1), 500)
figure, ax = plt.subplots(figsize=(6, 3), layout="constrained")
for name, (dp, weights, losses) in models.items():
    right = loss_and_gradients(dp, weights, *test)[2]
    ax.plot(np.convolve(losses, np.full(10, 0.1), "valid"), label=f"{name}: {right:.1%} of unseen symbols right")
ax.set(xlabel="step", ylabel="loss, mean of ten steps", ylim=(0, None))
ax.legend()
plt.show()

# %%
# Both attend to the runs in reverse order. Lines mark where one run ends and the next begins; black is one, white is
# exactly zero.

keys, _, sizes, _ = (part[3:4] for part in test)
figure, axes = plt.subplots(2, 1, figsize=(8, 4), sharex=True, layout="constrained")
for ax, (name, (dp, weights, _)) in zip(axes, models.items(), strict=True):
    on = attention(dp, weights, keys, sizes)[0][:, : sizes.sum()]
    image = ax.imshow(on, aspect="auto", cmap="Greys", vmin=0, vmax=1)
    ax.set(ylabel="symbol written", yticks=range(RUNS), title=f"{name}: {np.mean(on == 0):.0%} exact zeros")
    for edge in np.cumsum(sizes)[:-1]:
        ax.axvline(edge - 0.5, color="tab:red", lw=1)
axes[1].set(xlabel="position read")
figure.colorbar(image, ax=axes, label="attention")
plt.show()
