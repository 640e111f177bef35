"""The version, and what `show_versions` prints for a bug report."""

__version__ = "0.1.0"

_PACKAGES = ("numpy", "scipy", "scikit-learn", "joblib", "threadpoolctl", "matplotlib", "cupy", "torch", "jax")


def show_versions() -> None:
    """Print versions of sdtwkit, Python and the packages beside it, and what the kernels run on.

    The instruction level can be lowered by the environment variable ``SDTWKIT_SIMD`` (baseline, avx2, avx512).

    Examples
    --------
    >>> from sdtwkit import show_versions
    >>> show_versions()  # doctest: +ELLIPSIS
    sdtwkit...
    """
    import platform
    from importlib import metadata

    from . import _backend

    rows = {"sdtwkit": __version__, "python": platform.python_version(), "platform": platform.platform()}
    for name in _PACKAGES:
        try:
            rows[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            rows[name] = "not installed"
    rows |= _backend.info()
    for name, value in rows.items():
        print(f"{name:<18} {value}")
