"""The benchmark of the GPU runs from end to end, on a stand-in for CuPy that computes with NumPy."""

import sys
import types

import numpy as np
import pytest

gpu = pytest.importorskip("benchmarks.gpu", reason="the folder benchmarks is not part of the installed package")


class Event:
    def record(self):
        pass

    synchronize = record


class Pool:
    def free_all_blocks(self):
        pass

    def used_bytes(self):
        return 0

    total_bytes = used_bytes


def stand_in():
    cupy = types.ModuleType("stand_in")
    cupy.__getattr__ = lambda name: getattr(np, name)
    cupy.__version__ = "0"
    device = types.SimpleNamespace(id=0)
    runtime = types.SimpleNamespace(
        getDeviceProperties=lambda number: {"name": b"no device"}, driverGetVersion=lambda: 0
    )
    cupy.cuda = types.SimpleNamespace(
        Event=Event, get_elapsed_time=lambda begin, end: 1e3, Device=lambda: device, runtime=runtime
    )
    cupy.get_default_memory_pool = Pool
    return cupy


@pytest.fixture
def small_rows(monkeypatch):
    rows = {row.what: row for row in reversed(gpu.ROWS)}.values()
    small = [
        row._replace(B=min(row.B, 8), n=9, m=6 if row.family in ("chain", "CTC") else 9, d=min(row.d, 7))
        for row in rows
    ]
    monkeypatch.setattr(gpu, "ROWS", small)
    return small


def test_every_kind_of_row_is_measured(monkeypatch, small_rows):
    monkeypatch.setattr(gpu, "PEERS", {})
    lines = list(gpu.page(stand_in(), "", 2))[-len(small_rows) :]
    for row, line in zip(small_rows, lines, strict=True):
        assert line.startswith(f"| {row.what} | {row.size} | {row.dtype} |")
        assert line.count("|") == 9
        if row.family != "torch":  # which asks for a device by itself
            assert "| 1e+03 ms |" in line, line


def test_a_row_or_a_peer_that_fails_does_not_end_the_page(monkeypatch, small_rows):
    def broken(cupy, row):
        raise RuntimeError("out | of memory\nat length")

    def broken_peer(peer, row):
        raise ValueError(peer)

    monkeypatch.setattr(gpu, "our_chain", broken)
    monkeypatch.setattr(gpu, "theirs", broken_peer)
    lines = list(gpu.page(stand_in(), "", 1))[-len(small_rows) :]
    for row, line in zip(small_rows, lines, strict=True):
        assert line.count("|") == 9
        if row.family == "chain":
            assert "failed (RuntimeError: out / of memory)" in line
        elif row.family != "torch":
            assert "| Maghoumi failed (ValueError: Maghoumi), pysdtw failed" in line


def test_the_page_grows_row_by_row(monkeypatch, tmp_path, small_rows):
    def interrupted(cupy, row, rate, repeat):
        if row is small_rows[2]:
            raise KeyboardInterrupt
        return "measured | | | | |"

    page = tmp_path / "gpu.md"
    monkeypatch.setattr(gpu, "device", lambda: (stand_in(), ""))
    monkeypatch.setattr(gpu, "measured", interrupted)
    monkeypatch.setattr(sys, "argv", ["gpu", "--markdown", str(page)])
    with pytest.raises(KeyboardInterrupt):
        gpu.main()
    assert page.read_text().count("measured |") == 2
