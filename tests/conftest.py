"""Shared by all tests: a fixed random generator, and hypothesis without deadlines (the slow twins are slow).

Hypothesis tries other examples at each run, but under CI the same ones: there a red run means a change.
"""

import os

import numpy as np
import pytest
from hypothesis import settings

settings.register_profile("sdtwkit", deadline=None, print_blob=True, derandomize="CI" in os.environ)
settings.load_profile("sdtwkit")


@pytest.fixture
def rng():
    return np.random.default_rng(20170305)
