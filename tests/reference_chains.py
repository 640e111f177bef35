"""Slow, obviously right versions of the programs on chains and graphs, which the fast ones are tested against.

Section 12 of math-alignment.md transcribed line by line, in np.longdouble, and sums over every state sequence (every
path of a graph), written without a recursion. For entropy and the hard maximum the sums are a truth of their own; for
l2, where the recursion is part of the definition, sequences are weighted by the product of its probabilities. Nothing
here imports sdtwkit.
"""

import itertools

import numpy as np
from reference import REAL, min_hessian, smooth_max, smooth_max_hvp, smooth_min


class Chain:
    """Viterbi_Omega of potentials theta (T, S, S), into state i from state j, as a plain recursion."""

    def __init__(self, gamma=1.0, regularizer="entropy"):
        self.smoothing = gamma, regularizer

    def forward(self, theta):
        """-> V (T + 1, S), Q (T, S, S), q (S,), value."""
        T, S, _ = theta.shape
        V, Q = np.zeros((T + 1, S), REAL), np.zeros((T, S, S), REAL)
        for t in range(T):
            for i in range(S):
                V[t + 1, i], Q[t, i] = smooth_max(theta[t, i] + V[t], *self.smoothing)
        value, q = smooth_max(V[T], *self.smoothing)
        return V, Q, q, value

    def value_and_grad(self, theta):
        _, Q, q, value = self.forward(theta)
        E, U = np.zeros_like(Q), q
        for t in reversed(range(len(theta))):
            E[t] = Q[t] * U[:, None]
            U = E[t].sum(axis=0)
        return value, E

    def hvp(self, theta, Z):
        V, Q, q, _ = self.forward(theta)
        T, S, _ = theta.shape
        Vd, Qd = np.zeros((T + 1, S), REAL), np.zeros_like(Q)
        for t in range(T):
            for i in range(S):
                M = Z[t, i] + Vd[t]
                Vd[t + 1, i] = Q[t, i] @ M
                Qd[t, i] = self.curve(theta[t, i] + V[t], M)
        slope = q @ Vd[T]
        U, Ud = q, self.curve(V[T], Vd[T])
        product = np.zeros_like(Q)
        for t in reversed(range(T)):
            product[t] = Q[t] * Ud[:, None] + Qd[t] * U[:, None]
            U, Ud = (Q[t] * U[:, None]).sum(axis=0), product[t].sum(axis=0)
        return slope, product

    def curve(self, x, z):
        return smooth_max_hvp(x, z, *self.smoothing) if np.isfinite(x).any() else np.zeros(len(x), REAL)

    def law(self, theta):
        """Every sequence (s_0, ..., s_T) of the chain, s_0 a dummy start -> its probability under the walk back."""
        _, Q, q, _ = self.forward(theta)
        T, S, _ = theta.shape
        return {
            states: q[states[-1]] * np.prod([Q[t, states[t + 1], states[t]] for t in range(T)])
            for states in itertools.product(range(S), repeat=T + 1)
        }


def all_sequences(theta):
    """Sequences (s_0, ..., s_T) as an array (S^(T+1), T + 1), and their scores."""
    T, S, _ = theta.shape
    states = np.array(list(itertools.product(range(S), repeat=T + 1)))
    return states, np.asarray(theta, REAL)[np.arange(T), states[:, 1:], states[:, :-1]].sum(axis=1)


def gibbs(scores, gamma):
    """gamma log sum exp(scores / gamma), and the Gibbs law."""
    best = scores.max()
    weights = np.exp((scores - best) / REAL(gamma))
    return best + REAL(gamma) * np.log(weights.sum()), weights / weights.sum()


def transition_marginals(states, probabilities, S):
    """(T, S, S): the probability that a sequence goes into i from j at step t."""
    E = np.zeros((states.shape[1] - 1, S, S), REAL)
    for sequence, p in zip(states, probabilities, strict=True):
        for t in range(len(E)):
            E[t, sequence[t + 1], sequence[t]] += p
    return E


def potentials_of_pair(unary, transition):
    """theta (T, S, S) of the pair: the first step starts from column 0 alone."""
    T, S = unary.shape
    theta = np.full((T, S, S), -np.inf)
    theta[0, :, 0] = unary[0]
    for t in range(1, T):
        for i in range(S):
            theta[t, i] = unary[t, i] + transition[i]
    return theta


class Dag:
    """Smoothed shortest path to the last node of a graph; the edges into node v are indptr[v] to indptr[v + 1]."""

    def __init__(self, indptr, indices, gamma=1.0, regularizer="entropy"):
        self.indptr, self.indices, self.smoothing = indptr, indices, (gamma, regularizer)

    def edges(self, v):
        return slice(self.indptr[v], self.indptr[v + 1])

    def forward(self, costs):
        n = len(self.indptr) - 1
        V, q = np.zeros(n, REAL), np.zeros(len(self.indices), REAL)
        for v in range(n):
            e = self.edges(v)
            if e.stop > e.start:
                V[v], q[e] = smooth_min(V[self.indices[e]] + costs[e], *self.smoothing)
        return V, q

    def value_and_grad(self, costs):
        V, q = self.forward(costs)
        visits, E = np.zeros(len(V), REAL), np.zeros(len(q), REAL)
        visits[-1] = np.isfinite(V[-1])
        for v in reversed(range(len(V))):
            e = self.edges(v)
            E[e] = q[e] * visits[v]
            np.add.at(visits, self.indices[e], E[e])
        return V[-1], E

    def hvp(self, costs, Z):
        V, q = self.forward(costs)
        Vd, qd = np.zeros(len(V), REAL), np.zeros(len(q), REAL)
        for v in range(len(V)):
            e = self.edges(v)
            if e.stop > e.start:
                M = Z[e] + Vd[self.indices[e]]
                Vd[v] = q[e] @ M
                qd[e] = min_hessian(q[e, None], M[:, None], *self.smoothing)[:, 0]
        visits, moved = np.zeros(len(V), REAL), np.zeros(len(V), REAL)
        visits[-1], product = np.isfinite(V[-1]), np.zeros(len(q), REAL)
        for v in reversed(range(len(V))):
            e = self.edges(v)
            product[e] = q[e] * moved[v] + qd[e] * visits[v]
            np.add.at(visits, self.indices[e], q[e] * visits[v])
            np.add.at(moved, self.indices[e], product[e])
        return Vd[-1], product

    def paths(self):
        """Every path to the last node, as a list of its edges, the first one first."""

        def into(v):
            e = self.edges(v)
            if e.stop == e.start:
                return [[]]
            return [[*path, k] for k in range(e.start, e.stop) for path in into(self.indices[k])]

        return into(len(self.indptr) - 2)
