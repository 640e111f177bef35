"""Sentences for wrong arguments, and checks of single numbers, flags and names.

An error says what came, what is expected and which argument it is. Those that need more than the argument itself are
worded where they are found, in `_arrays` and `_options`; what only the kernels find out is worded here.
"""

import math
import operator
from numbers import Real
from reprlib import repr as brief

import numpy as np


def check_integer(value, name, expected, minimum):
    try:
        integer = operator.index(value)
    except TypeError:
        integer = None
    if integer is None or isinstance(value, bool):
        raise wrong_type(value, name, expected)
    if integer < minimum:
        raise ValueError(f"{name} is {integer}; expected {expected}")
    return integer


def check_real(value, name, expected):
    if type(value) is float:
        return value
    if isinstance(value, np.ndarray) and value.ndim == 0:
        value = value[()]
    if not isinstance(value, Real) or isinstance(value, bool):
        raise wrong_type(value, name, expected)
    try:
        return float(value)
    except OverflowError:
        raise ValueError(f"{name} is an integer beyond float64; expected {expected}") from None


def check_positive(value, name):
    expected = "a finite number > 0"
    number = check_real(value, name, expected)
    if not 0.0 < number < math.inf:
        raise ValueError(f"{name} is {number}; expected {expected}")
    return number


def check_nonnegative(value, name):
    expected = "a finite number >= 0"
    number = check_real(value, name, expected)
    if not 0.0 <= number < math.inf:
        raise ValueError(f"{name} is {number}; expected {expected}")
    return number


def check_flag(value, name):
    if not isinstance(value, (bool, np.bool_)):
        raise wrong_type(value, name, "False or True")
    return bool(value)


def check_choice(value, name, choices):
    """`value`, which is one of these names."""
    if not (isinstance(value, str) and value in choices):
        *others, last = map(repr, choices)
        raise wrong_choice(value, name, f"{', '.join(others)} or {last}")
    return value


def entries(value, name, expected):
    if isinstance(value, (str, bytes)):
        raise wrong_type(value, name, expected)
    try:
        return tuple(value)
    except TypeError:
        raise wrong_type(value, name, expected) from None


def wrong_type(value, name, expected):
    return TypeError(f"{name} is {brief(value)}, of type {type(value).__name__}; expected {expected}")


def wrong_choice(value, name, expected):
    return (ValueError if isinstance(value, str) else TypeError)(f"{name} is {brief(value)}; expected {expected}")


def special(value):
    return "NaN" if np.isnan(value) else str(float(value))


def check_count(value, name):
    return check_integer(value, name, "an integer >= 1", minimum=1)


def one_sided_cost():
    return ValueError("cost 'nll' or 'precomputed' does not compare two series; expected one that does")


# ---- what only the kernels find out


def costs_overflow():
    return ValueError("the costs of a path can exceed the range of float64; rescale the series")


def potentials_overflow():
    return ValueError("the potentials of a sequence can exceed the range of float64; rescale theta")


def no_path_between(a, b):
    return ValueError(f"no path is admissible between {a} and {b}: the window leaves no way from start to end")


def no_admissible_path(values, single):
    b = int(np.flatnonzero(np.isinf(values))[0])
    pair = "" if single else f" for pair {b}"
    return ValueError(f"no path is admissible{pair}: window, prior and infinite costs leave no way from start to end")


def not_single(*names):
    return ValueError(f"{' and '.join(names)} are collections; expected two single series, (n, d) or (n,)")


def not_on_device(what):
    return TypeError(f"{what} is not available for CuPy arrays; expected NumPy arrays, as cupy.asnumpy gives them")


def mixed_devices(name, of_device):
    came, others = ("a CuPy array", "not") if of_device else ("no CuPy array", "CuPy arrays")
    return TypeError(f"{name} is {came}, the arrays it belongs to are {others}; expected all of them on one device")


def other_device(name, came, expected):
    return ValueError(f"{name} lies on CUDA device {came}, the data on device {expected}; expected all on one device")
