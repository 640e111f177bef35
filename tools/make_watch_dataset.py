"""Make sdtwkit/datasets/watch_exercises.npz from an installed seglearn (developers only).

    python -m pip install --no-deps seglearn==1.2.5
    python tools/make_watch_dataset.py

The source file is a pickle; it is read here, by somebody who chose to trust it, and never by the package.
"""

import argparse
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from scipy.signal import resample_poly

from sdtwkit.datasets import _watch
from sdtwkit.datasets._packing import pack

SOURCE_RATE = 50
SOURCE_LABELS = ["PEN", "ABD", "FEL", "IR", "ER", "TRAP", "ROW"]  # the order that _watch.TARGET_NAMES spells out
SOURCE_CHANNELS = ["ax", "ay", "az", "wx", "wy", "wz"]
STEPS = np.array([0.005] * 3 + [0.02] * 3)  # g, rad/s; the steadiest channels have standard deviations of 0.05 and 0.24


def read_source():
    """The dict of seglearn; its package is only found, not imported, since that needs all of its dependencies."""
    package = find_spec("seglearn")
    if package is None:
        raise SystemExit("seglearn is not installed: python -m pip install --no-deps seglearn==1.2.5")
    path = Path(package.origin).parent / "data" / "watch_dataset.npy"
    source = np.load(path, allow_pickle=True).item()
    if list(source["y_labels"]) != SOURCE_LABELS or list(source["X_labels"]) != SOURCE_CHANNELS:
        raise SystemExit(f"{path} has other labels than seglearn 1.2.5: check TARGET_NAMES and FEATURE_NAMES")
    return source


def main():
    """Resample, sort, pack, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=Path(_watch.__file__).with_name(_watch.FILE))
    output = parser.parse_args().output
    source = read_source()
    target, subject, side = (np.asarray(source[key]).astype(np.uint8) for key in ("y", "subject", "side"))
    order = np.lexsort((side, subject, target))
    down = int(SOURCE_RATE / _watch.SAMPLING_RATE)
    # The end is padded along the line through both ends: zeros would bend a signal that carries gravity towards 0.
    recordings = [resample_poly(source["X"][k], 1, down, axis=0, padtype="line") for k in order]
    labels = {"target": target[order], "subject": subject[order], "side": side[order]}
    np.savez_compressed(output, **pack(recordings, STEPS), **labels)
    shortest, *_, longest = sorted(len(recording) for recording in recordings)
    print(f"{output}: {output.stat().st_size} bytes, {len(recordings)} recordings of {shortest} to {longest} samples")


if __name__ == "__main__":
    main()
