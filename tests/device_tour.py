"""Every family of kernels on a CUDA device, small, beside the CPU: what tools have time for that slow a device down.

    python tests/device_tour.py [FAMILY ...]

Without families it prints their names. See tools/compute_sanitizer.sh.
"""

import itertools
import sys

import numpy as np
from device_parity import (
    COSTS,
    DTYPES,
    OPTIONS,
    REGULARIZERS,
    STEPS,
    check_beams,
    check_chains,
    check_collections,
    check_ctc,
    check_given_costs,
    check_parameters,
    check_samples,
    check_series,
    random_graph,
)
from device_parity_gru import COUPLINGS, ENDS, check_gru, random_problem
from device_parity_warps import OPTIONS as WARP_OPTIONS
from device_parity_warps import check_warps

PLAIN, EVERYTHING = OPTIONS["plain"], OPTIONS["everything"]


def alignment(cupy, rng):
    for dtype, regularizer in itertools.product(DTYPES, REGULARIZERS):
        check_given_costs(cupy, rng, dtype, regularizer, PLAIN, (70, 45))
        check_given_costs(cupy, rng, dtype, regularizer, EVERYTHING, (33, 40))


def steps(cupy, rng):
    for dtype, regularizer in itertools.product(DTYPES, REGULARIZERS):
        for options in (STEPS["leaps"], random_graph(rng, 3, 9, 40)):
            check_given_costs(cupy, rng, dtype, regularizer, options, (9, 40))
            check_parameters(cupy, rng, dtype, {"regularizer": regularizer, **options}, (9, 40))
    check_samples(cupy, rng, np.float64, EVERYTHING, (33, 40))


def series(cupy, rng):
    for k, (cost, dtype) in enumerate(itertools.product(COSTS, DTYPES)):
        check_series(cupy, rng, dtype, cost, (PLAIN, EVERYTHING)[k % 2], (33, 70))
    check_collections(cupy, rng, np.float32, {})


def chains(cupy, rng):
    for dtype, regularizer, pair in itertools.product(DTYPES, REGULARIZERS, (False, True)):
        for shape in ((6, 5), (3, 70)):
            check_chains(cupy, rng, dtype, regularizer, pair, shape)


def ctc(cupy, rng):
    for dtype in DTYPES:
        check_ctc(cupy, rng, dtype, (80, 6, 33))
        check_beams(cupy, rng, dtype, (5, 260, 40))


def warps(cupy, rng):
    for options, shape in zip(WARP_OPTIONS.values(), itertools.cycle(((9, 7), (40, 35))), strict=False):
        check_warps(cupy, rng, np.float64, options, shape)


def grus(cupy, rng):
    for dtype, coupling, ends in itertools.product(DTYPES, COUPLINGS, ENDS):
        check_gru(cupy, random_problem(rng, 3, 4, 7, 37, dtype), dtype, coupling=coupling, after_end=ends, beta=0.3)
    large = random_problem(rng, 2, 3, 3, 80, np.float64)  # 256 KB of weights: the shared memory of no block has room
    large[0]["U"] /= 9
    check_gru(cupy, large, np.float64)


FAMILIES = {tour.__name__: tour for tour in (alignment, steps, series, chains, ctc, warps, grus)}


def main(names):
    import cupy

    cupy.cuda.set_allocator(None)  # its pool hands out parts of large allocations, whose borders no tool would see
    for name in names:
        FAMILIES[name](cupy, np.random.default_rng(0))
        print(f"{name}: as on the CPU", flush=True)


if __name__ == "__main__":
    if sys.argv[1:]:
        main(sys.argv[1:])
    else:
        print(*FAMILIES)
