"""Every public name answers CuPy arrays as tests/one_front.py says, without a GPU: see test_cuda_on_host.py."""

import re

import cuda_on_host
import pytest
from one_front import FOLDER, TABLE, TAKE_ARRAYS, check, names

from sdtwkit._cuda import alignment, beam, chain, ctc, general, gru, warp

beside_pages = pytest.mark.skipif(not (FOLDER / "doc").exists(), reason="the pages are not beside these tests")


@beside_pages
def test_every_public_name_has_its_line():
    assert sorted(TABLE) == sorted(names())


@beside_pages
def test_the_readme_says_what_is_refused():
    """By its name, or by that of its class or module."""
    (said,) = re.findall(r"^\* On the CPU only.*?(?=\n\n|\n\*)", (FOLDER / "README.md").read_text(), re.S | re.M)
    words = set(re.findall(r"[\w.]+", said)) - {"LinearChainCRF"}  # of which it names a kind of features
    for name, (kind, _) in TABLE.items():
        parts = name.split(".")
        assert kind == "no arrays" or (kind == "refused") == bool(words & {*parts, f"sdtwkit.{parts[0]}"}), name


@pytest.fixture(scope="module")
def hosts(tmp_path_factory):
    engines = (alignment, beam, chain, ctc, general, gru, warp)
    folder = tmp_path_factory.mktemp("kernels")
    return [cuda_on_host.Host(engine.FILE, engine.libraries(), folder) for engine in engines]


@cuda_on_host.needed
@pytest.mark.parametrize("name", TAKE_ARRAYS)
def test_what_it_does_with_cupy_arrays(monkeypatch, hosts, rng, name):
    check(name, cuda_on_host.install(monkeypatch, *hosts), rng, watched)


def watched(call):
    """The call, during which nothing may be read from the device."""

    def calling(d):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(cuda_on_host.Array, "get", _read)
            return call(d)

    return calling


def _read(array):
    raise AssertionError("this waits for the device, or copies to the host")
