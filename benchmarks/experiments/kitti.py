"""The route of KITTI's odometry sequence 00, from the tests of the package evo; fetched when asked for, never shipped.

The poses are part of the KITTI Vision Benchmark Suite (Geiger, Lenz and Urtasun, CVPR 2012), whose licence, CC
BY-NC-SA 3.0, forbids commercial use.
"""

import hashlib
import tarfile
from pathlib import Path

import numpy as np

ARCHIVE = "evo-1.38.1.tar.gz"
SOURCE = (
    "https://files.pythonhosted.org/packages/46/ec/c1d4bab73a27f3c9ab6bb24de35d88db565e4e4e2ebdf79167110610b736/"
    + ARCHIVE
)
SHA256 = "1d63faeeb37604641db65bdd08b0e83e71884071de368058a9c45bdcac3fc3f7"
MEMBER = "evo-1.38.1/test/data/KITTI_00_gt.txt"


def route(archive=None):
    """-> (4541, 2) array, metres: where the car was, seen from above.

    archive : evo's source distribution, where it lies already; else it is fetched by pooch, once, into its cache
    """
    archive = fetched() if archive is None else Path(archive)
    with archive.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != SHA256:
        raise ValueError(f"{archive.name} has the SHA-256 {found}; expected {ARCHIVE} with {SHA256}")
    with tarfile.open(archive) as members, members.extractfile(MEMBER) as poses:
        return flattened(np.loadtxt(poses))


def fetched():
    import pooch

    return Path(pooch.retrieve(SOURCE, f"sha256:{SHA256}", fname=ARCHIVE, path=pooch.os_cache("sdtwkit")))


def flattened(poses):
    """Poses (n, 12), rows of 3 x 4 matrices that move the camera's frame (right, down, forward) -> (n, 2), metres."""
    return poses.reshape(-1, 3, 4)[:, [0, 2], 3]
