"""Shared by all tests: a fixed random generator, and hypothesis without deadlines (the slow twins are slow)."""

import numpy as np
import pytest
from hypothesis import settings

settings.register_profile("sdtwkit", deadline=None, print_blob=True)
settings.load_profile("sdtwkit")


@pytest.fixture
def rng():
    return np.random.default_rng(20170305)
