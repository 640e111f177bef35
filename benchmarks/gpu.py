"""Kernels on a CUDA device beside the limit of its memory and the CUDA kernels of torch's losses.

    python -m benchmarks.gpu [--markdown doc/gpu.md] [--quick]

The floor of a row is the time in which the device, at the bandwidth that a copy reaches on it here, moves what no
program can avoid: given costs and potentials are read twice and their gradient is written once. Where a cell's number
is computed, or shared with others, there is no such floor, and the column stays empty. Without a device the page names
the rows that are missing, and no figure.
"""

import argparse
import datetime
import importlib.util
from pathlib import Path
from typing import NamedTuple

import numpy as np

import sdtwkit
from sdtwkit.barycenters import fit_soft_dtw_barycenter
from sdtwkit.dp import CTC, AlignmentDP, ChainDP
from sdtwkit.metric_learning import CoupledGRU, coupled_gru_forward, coupled_gru_loss_and_grad

GAMMA = 0.1
REG = 0.1
COMMAND = "python -m benchmarks.gpu --markdown doc/gpu.md"


class Row(NamedTuple):
    """One measurement; d = 0: the costs are given."""

    what: str
    B: int
    n: int  # of chains and GRUs the steps, of CTC the frames
    m: int  # of chains the states, of CTC the labels (of beams the width), of GRUs the units
    d: int  # of CTC the classes
    dtype: str

    @property
    def size(self):
        return f"{self.B} x {self.n} x {self.m}" + (f", d = {self.d}" if self.d else "")

    @property
    def family(self):
        return self.what.split(":")[0] if ":" in self.what else "alignment"


ROWS = [
    *(
        Row(what, B, n, n, 0, dtype)
        for dtype in ("float32", "float64")
        for B, n in ((1024, 512), (4096, 128), (64, 2048), (1, 8192))
        for what in ("value", "value and gradient")
    ),
    *(Row("Hessian product", B, n, n, 0, "float32") for B, n in ((1024, 512), (1, 8192))),
    *(Row("loss and gradients", B, n, n, 12, "float32") for B, n in ((32, 50), (32, 500), (512, 500), (1, 2000))),
    Row("loss and gradients", 1, 50000, 50000, 1, "float32"),
    *(Row("torch: loss, backward to x", 32, n, n, 12, "float32") for n in (50, 500)),
    Row("series: Hessian product", 32, 500, 500, 12, "float32"),
    Row("series: barycenter, 10 iterations", 26, 275, 275, 1, "float64"),
    Row("matrix of all pairs", 500, 275, 275, 1, "float32"),
    *(Row("other steps: gradient", B, n, n, 0, "float32") for B, n in ((1024, 128), (1, 2048))),
    Row("other steps: 100 paths each", 64, 512, 512, 0, "float32"),
    *(
        Row(f"chain: {what}", B, T, S, 0, "float32")
        for B, T, S in ((4096, 50, 9), (256, 100, 64), (1, 1000, 256))
        for what in ("value", "gradient", "gradient of the pair")
    ),
    Row("chain: Hessian product", 256, 100, 64, 0, "float32"),
    *(Row("chain: 100 sequences", B, T, S, 0, "float32") for B, T, S in ((256, 100, 64), (1, 1000, 256))),
    *(
        Row(f"CTC: {what}", B, T, M, K, "float32")
        for B, T, M, K in ((64, 1000, 100, 32), (256, 150, 20, 5000), (1, 20000, 4000, 64))
        for what in ("value", "gradient")
    ),
    Row("CTC: Hessian product", 64, 1000, 100, 32, "float32"),
    *(Row("CTC: beam", B, T, width, K, "float32") for B, T, width, K in ((64, 1000, 20, 32), (256, 150, 50, 5000))),
    *(
        Row(f"warp: {what}", B, n, n, d, "float64")
        for B, n, d in ((4096, 50, 2), (1024, 100, 1), (1024, 100, 64), (256, 300, 12), (1, 300, 12))
        for what in ("solution", "gradients")
    ),
    *(
        Row(f"coupled GRU: {what}", B, T, H, 6, "float32")
        for B, T, H in ((32, 100, 32), (32, 100, 64), (1024, 100, 64), (32, 100, 128))
        for what in ("states", "loss and gradients")
    ),
    Row("coupled GRU: an epoch of training", 1024, 100, 64, 6, "float32"),
]
# name -> module; all take CUDA tensors
PEERS = {"Maghoumi": "soft_dtw_cuda", "pysdtw": "pysdtw", "ddtw": "ddtw", "torch": "torch"}
LONG = 3.0  # seconds of one measurement, after which there is no further repetition


def parsed():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--markdown", type=Path, help="where to write the page")
    parser.add_argument("--quick", action="store_true", help="few repetitions")
    return parser.parse_args()


def device():
    """cupy, if it is here and has a device; else why not, as a sentence."""
    try:
        import cupy

        cupy.cuda.runtime.getDeviceCount()
    except ImportError:
        return None, "CuPy is not installed"
    except cupy.cuda.runtime.CUDARuntimeError:
        return None, "no CUDA device was at hand"
    return cupy, ""


# ---- what is measured


def ours(cupy, row):
    """The call that a row measures."""
    if row.family != "alignment":
        families = {"chain": our_chain, "CTC": our_ctc, "warp": our_warp, "torch": our_torch_loss, "series": of_series}
        families |= {"coupled GRU": our_gru, "other steps": of_other_steps}
        return families[row.family](cupy, row)
    rng = np.random.default_rng(0)
    dtype, dp = np.dtype(row.dtype), AlignmentDP(GAMMA)
    if row.d == 0:
        C = random_table(cupy, (row.B, row.n, row.m), dtype)
        if row.what == "value":
            return lambda: dp.value(C)
        if row.what == "value and gradient":
            return lambda: dp.value_and_grad(C)
        return lambda: dp.hvp(C, C)
    x, y = (cupy.asarray(rng.random((row.B, k, row.d)).astype(dtype)) for k in (row.n, row.m))
    if row.what == "matrix of all pairs":
        return lambda: sdtwkit.cdist_soft_dtw(x, gamma=GAMMA)
    return lambda: sdtwkit.soft_dtw_value_and_grad(x, y, GAMMA)


def random_table(cupy, shape, dtype):
    """Numbers in [0, 1): one drawn table, scaled for each item; not all drawn, for that takes the host long."""
    rng = np.random.default_rng(0)
    one, scales = rng.random(shape[1:]), rng.uniform(0.5, 1.0, (shape[0], *(1,) * (len(shape) - 1)))
    return cupy.asarray(one.astype(dtype)) * cupy.asarray(scales.astype(dtype))


def of_other_steps(cupy, row):
    """The general kernel: an x that moves on at every step, y by up to two."""
    C = random_table(cupy, (row.B, row.n, row.m), np.dtype(row.dtype))
    dp = AlignmentDP(GAMMA, steps=((1, 0), (1, 1), (1, 2)))
    if row.what == "other steps: gradient":
        return lambda: dp.value_and_grad(C)
    return lambda: dp.sample(C, 100, 0)


def of_series(cupy, row):
    rng = np.random.default_rng(0)
    x, y = (cupy.asarray(rng.random((row.B, k, row.d)).astype(row.dtype)) for k in (row.n, row.m))
    if row.what == "series: Hessian product":
        return lambda: sdtwkit.soft_dtw_hvp(x, y, y, x, GAMMA)
    search = {"length": row.n, "init": "mean", "max_iter": 10, "tol": 0}
    return lambda: fit_soft_dtw_barycenter(y, GAMMA, **search)


def our_torch_loss(cupy, row):
    """As `theirs`; None without PyTorch for CUDA."""
    try:
        import torch

        from sdtwkit.torch import SoftDTWLoss
    except ImportError:
        return None
    return torch_loss(SoftDTWLoss(GAMMA, reduction="sum"), row) if torch.cuda.is_available() else None


def torch_loss(loss, row):
    """A call of a loss of tensors, and the way back to x."""
    import torch

    rng = np.random.default_rng(0)
    x, y = (torch.tensor(rng.random((row.B, k, row.d)), dtype=torch.float32, device="cuda") for k in (row.n, row.m))
    x.requires_grad_()
    return lambda: torch.autograd.grad(loss(x, y).sum(), x)


def torch_loss_of_costs(loss, row):
    """A call of a loss of given costs (and of series that it may want beside them), and the way back to them."""
    import torch

    costs = torch.rand((row.B, row.n, row.m), device="cuda", requires_grad=True)
    x, y = (torch.zeros((row.B, k, 1), device="cuda") for k in (row.n, row.m))
    return lambda: torch.autograd.grad(loss(costs, x, y).sum(), costs)


def our_chain(cupy, row):
    dp = ChainDP()
    if row.what == "chain: gradient of the pair":
        pair = tuple(random_table(cupy, shape, row.dtype) for shape in ((row.B, row.n, row.m), (row.m, row.m)))
        return lambda: dp.value_and_grad(pair)
    theta = random_table(cupy, (row.B, row.n, row.m, row.m), row.dtype)
    if row.what == "chain: value":
        return lambda: dp.value(theta)
    if row.what == "chain: gradient":
        return lambda: dp.value_and_grad(theta)
    if row.what == "chain: 100 sequences":
        return lambda: dp.sample(theta, 100, 0)
    return lambda: dp.hvp(theta, theta)


def our_warp(cupy, row):
    rng = np.random.default_rng(0)
    x, y = (cupy.asarray(rng.random((row.B, k, row.d)).astype(row.dtype)) for k in (row.n, row.m))
    if row.what == "warp: solution":
        return lambda: sdtwkit.dec_dtw(x, y, REG)
    warps = sdtwkit.dec_dtw(x, y, REG)
    return lambda: warps.vjp(warps.values)


def our_gru(cupy, row):
    rng, (H, d) = np.random.default_rng(0), (row.m, row.d)
    shapes = {"W": (3 * H, d), "U": (3 * H, H), "bi": 3 * H, "bh": 3 * H}
    shapes |= {"Wc": (H, d), "Uc": (H, H), "Vc": (H, H), "bc": H}
    scale = H**-0.5
    p = {name: cupy.asarray(rng.uniform(-scale, scale, shape).astype(row.dtype)) for name, shape in shapes.items()}
    x1, x2 = (cupy.asarray(rng.normal(size=(row.B, row.n, d)).astype(row.dtype)) for _ in range(2))
    if row.what == "coupled GRU: an epoch of training":  # in steps of 32 pairs, half of them of one class
        metric, labels = CoupledGRU(H, max_iter=1, random_state=0), np.arange(row.B // 2) % 2
        return lambda: metric.fit_labels(x1[: row.B // 2], labels)
    if row.what == "coupled GRU: states":
        return lambda: coupled_gru_forward(p, x1, x2)
    same = cupy.asarray(rng.integers(0, 2, row.B))
    return lambda: coupled_gru_loss_and_grad(p, x1, x2, same)


def transcripts(row):
    """log_probs (B, n, d) and targets (B, m) on the host."""
    rng = np.random.default_rng(0)
    log_probs = rng.normal(size=(row.B, row.n, row.d)).astype(row.dtype)
    log_probs -= np.log(np.exp(log_probs).sum(axis=2, keepdims=True))
    return log_probs, rng.integers(1, row.d, (row.B, row.m))


def our_ctc(cupy, row):
    log_probs, targets = map(cupy.asarray, transcripts(row))
    if row.what == "CTC: value":
        return lambda: CTC().value(log_probs, targets)
    if row.what == "CTC: gradient":
        return lambda: CTC().value_and_grad(log_probs, targets)
    if row.what == "CTC: beam":
        return lambda: CTC().decode(log_probs, beam_width=row.m)
    return lambda: CTC().hvp(log_probs, targets, log_probs)


def ctc_of_torch(row):
    """Loss and backward pass of torch's own, or None."""
    if row.what != "CTC: gradient":
        return None
    try:
        import torch
    except ImportError:
        return None
    log_probs, targets = (torch.tensor(array, device="cuda") for array in transcripts(row))
    log_probs = log_probs.transpose(0, 1).contiguous().requires_grad_()
    lengths = [torch.full((row.B,), size, device="cuda") for size in (row.n, row.m)]
    loss = torch.nn.functional.ctc_loss
    return lambda: torch.autograd.grad(loss(log_probs, targets, *lengths, reduction="sum"), log_probs)


def theirs(peer, row):
    """Loss and backward pass, to x or to given costs, of a torch peer, or None where it does not serve the row."""
    if peer == "torch":
        return ctc_of_torch(row)
    given = row.what == "value and gradient" and row.dtype == "float32"
    if not given and row.what not in ("loss and gradients", "torch: loss, backward to x"):
        return None
    if max(row.n, row.m) > (1024 if peer == "Maghoumi" else 10_000):
        return None  # Maghoumi's kernels refuse so many samples; tables of the longest pair are 10 GB each
    try:
        module = __import__(PEERS[peer])
    except ImportError:
        return None
    if peer == "ddtw":  # compiled by nvcc at its first call
        loss = module.SDTW(gamma=GAMMA, normalization="none", backend="cuda_cpp")
        return torch_loss_of_costs(lambda C, x, y: loss(C=C), row) if given else torch_loss(loss, row)
    options = {"use_cuda": True, "gamma": GAMMA}
    if given:
        return torch_loss_of_costs(lambda C, x, y: module.SoftDTW(**options, dist_func=lambda *_: C)(x, y), row)
    return torch_loss(module.SoftDTW(**options), row)


def cells(row):
    """Cells of the tables; moves of chains, states of CTC, candidates of beams, units of GRUs."""
    if row.what == "CTC: beam":
        return row.B * row.n * row.m * row.d
    pairs = row.B * (row.B + 1) // 2 if row.what == "matrix of all pairs" else row.B
    family = "alignment" if row.family in ("torch", "series", "other steps") else row.family
    by_step = {"alignment": row.m, "warp": row.m, "chain": row.m**2, "CTC": 2 * row.m + 1, "coupled GRU": 2 * row.m}
    return pairs * row.n * by_step[family]


def traffic(row):
    """Bytes that must be moved, None where the cells need not be in memory."""
    if row.d or row.what in ("chain: gradient of the pair", "chain: 100 sequences", "other steps: 100 paths each"):
        return None
    second = 5 if row.family == "chain" else 6  # an alignment's gradient is written, too
    tables = {"value": 1, "value and gradient": 3, "gradient": 3, "Hessian product": second}[row.what.split(": ")[-1]]
    return tables * cells(row) * np.dtype(row.dtype).itemsize


# ---- times


def seconds(cupy, run, repeat):
    """The best of several calls, between events on the current stream."""
    run()
    times = []
    while len(times) < repeat and sum(times) < LONG:
        begin, end = cupy.cuda.Event(), cupy.cuda.Event()
        begin.record()
        run()
        end.record()
        end.synchronize()
        times.append(cupy.cuda.get_elapsed_time(begin, end) / 1e3)
    return min(times)


def bandwidth(cupy, repeat):
    """Bytes a second of a copy, read and written bytes counted."""
    source = cupy.zeros(1 << 28, np.uint8)
    target = cupy.empty_like(source)
    return 2 * source.nbytes / seconds(cupy, lambda: cupy.copyto(target, source), max(repeat, 5))


def measured(cupy, row, rate, repeat):
    """What a line of the table says after the row's name, size and dtype."""
    pool = cupy.get_default_memory_pool()
    pool.free_all_blocks()
    run = ours(cupy, row)
    if run is None:
        return "not measured: needs PyTorch for CUDA | | | | |"
    before = pool.used_bytes()
    took = seconds(cupy, run, repeat)
    memory = pool.total_bytes() - before
    floor = traffic(row) and traffic(row) / rate
    return (
        f"{took * 1e3:.3g} ms | {took / cells(row) * 1e12:.3g} | {f'{took / floor:.3g}' if floor else ''} "
        f"| {memory / 1e6:.3g} MB | {', '.join(beside(cupy, row, took, repeat))} |"
    )


def beside(cupy, row, took, repeat):
    """How many times slower each peer is that serves the row."""
    for name in PEERS:
        try:
            other = theirs(name, row)
            if other is not None:
                yield f"{name} {seconds(cupy, other, repeat) / took:.3g}x"
        except Exception as error:  # whatever becomes of others' code
            yield f"{name} failed ({reason(error)})"


def reason(error):
    """In one line of a table."""
    return f"{type(error).__name__}: {error}".splitlines()[0].replace("|", "/")[:160]


def measure(cupy, rate, repeat):
    """Lines of the table."""
    for row in ROWS:
        try:
            found = measured(cupy, row, rate, repeat)
        except Exception as error:  # whatever it is, the other rows are wanted
            found = f"failed ({reason(error)}) | | | | |"
        yield f"| {row.what} | {row.size} | {row.dtype} | {found}"


def page(cupy, why, repeat):
    """The page, line by line."""
    yield "# Kernels on a GPU"
    yield ""
    yield "Sizes are pairs x n x m, chains x steps x states, samples x frames x labels (or width of the beam), pairs x"
    yield "steps x units; d are channels, or classes."
    yield ""
    today = datetime.date.today().isoformat()
    if cupy is None:
        yield f"`{COMMAND}` writes this page. {today}: {why}, so all of these rows are missing:"
        yield ""
        yield "| task | size | dtype |"
        yield "| --- | --- | --- |"
        yield from (f"| {row.what} | {row.size} | {row.dtype} |" for row in ROWS)
        return
    name = cupy.cuda.runtime.getDeviceProperties(cupy.cuda.Device().id)["name"].decode()
    rate = bandwidth(cupy, repeat)
    yield (
        f"Written by `{COMMAND}`, {today}, {name}, driver {cupy.cuda.runtime.driverGetVersion()}, CuPy "
        f"{cupy.__version__}, sdtwkit {sdtwkit.__version__}; a copy moves {rate / 1e12:.3g} TB/s. Best of up to "
        f"{repeat} calls, compilation excluded; memory is what the call adds, results included. "
        f"Peers that are installed: {', '.join(filter(installed, PEERS)) or 'none'}."
    )
    yield ""
    yield "| task | size | dtype | time | ps a cell | times the floor | memory | peers, times slower |"
    yield "| --- | --- | --- | --- | --- | --- | --- | --- |"
    yield from measure(cupy, rate, repeat)


def installed(peer):
    return importlib.util.find_spec(PEERS[peer]) is not None


def main():
    options = parsed()
    cupy, why = device()
    lines = []
    for line in page(cupy, why, 3 if options.quick else 20):
        print(line, flush=True)
        lines.append(line)
        if options.markdown:
            options.markdown.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
