"""Floating point of every width, with its roundings, NaN and modifiers; the kernels are in kernels/floats.cu."""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from .conftest import kernels
from .oracles import Array, bf16_bits, bf16_values, random_floats, rounded, same

COUNT = 256


def _run(name: str, architecture: int, a: Array, b: Array, c: Array) -> Array:
    result = np.zeros_like(a)
    threads = COUNT // 2
    kernels("floats", architecture).launch(name, 2, threads, a, b, c, result)
    return result


def _root(value: Fraction) -> Fraction:
    """Return the root with enough digits to round it to the nearest float."""
    scale = 1 << 400
    return Fraction(math.isqrt(int(abs(value) * scale)), 1 << 200)


TOWARDS_ZERO = "towards zero"
# The exact result, and the rounding: True is up, False is down, None is to nearest.
EXACT: dict[str, tuple[Callable[[Fraction, Fraction, Fraction], Fraction], bool | str | None]] = {
    "add_nearest": (lambda x, y, z: x + y, None),
    "add_down": (lambda x, y, z: x + y, False),
    "add_up": (lambda x, y, z: x + y, True),
    "subtract_to_zero": (lambda x, y, z: x - y, TOWARDS_ZERO),
    "multiply_to_zero": (lambda x, y, z: x * y, TOWARDS_ZERO),
    "multiply_up": (lambda x, y, z: x * y, True),
    "divide_nearest": (lambda x, y, z: x / y, None),
    "divide_up": (lambda x, y, z: x / y, True),
    "root_nearest": (lambda x, y, z: _root(x), None),
    "fma_nearest": (lambda x, y, z: x * y + z, None),
    "fma_down": (lambda x, y, z: x * y + z, False),
    "multiply_to_zero_f64": (lambda x, y, z: x * y, TOWARDS_ZERO),
    "add_up_f64": (lambda x, y, z: x + Fraction(float(y) * 1e-9), True),
    "fma_f64": (lambda x, y, z: x * y + z, None),
    "divide_f64": (lambda x, y, z: x / y, None),
    "root_f64": (lambda x, y, z: _root(x), None),
}


@pytest.mark.parametrize("name", EXACT)
def test_rounding(name: str, architecture: int, rng: np.random.Generator) -> None:
    """Compared with rational arithmetic that is rounded once."""
    dtype: Any = np.float64 if name.endswith("f64") else np.float32
    a, b, c = (rng.standard_normal(COUNT).astype(dtype) * 100 for _ in range(3))
    found = _run(name, architecture, a, b, c)
    function, direction = EXACT[name]
    for x, y, z, value in zip(a, b, c, found, strict=True):
        exact = function(Fraction(float(x)), Fraction(float(y)), Fraction(float(z)))
        up = exact < 0 if direction == TOWARDS_ZERO else direction
        assert value == rounded(exact, dtype, up)  # type: ignore[arg-type]


def _xorsign(x: Array, y: Array) -> Array:
    signs = np.where(np.signbit(x) ^ np.signbit(y), np.float32(-1), np.float32(1))
    result: Array = np.copysign(np.fmin(abs(x), abs(y)), signs)
    return result


def _flushed(x: Array) -> Array:
    return np.where(abs(x) < np.finfo(np.float32).tiny, np.float32(0), x)


SPECIAL: dict[str, Callable[[Array, Array], Array]] = {
    "minimum": np.fmin,
    "maximum": np.fmax,
    "minimum_nan": np.minimum,
    "maximum_nan": np.maximum,
    "minimum_xorsign": _xorsign,
    "maximum_ftz": lambda x, y: np.fmax(_flushed(x), _flushed(y)),
    "saturate": lambda x, y: np.where(np.isnan(x), np.float32(0), np.clip(x, 0, 1)),
    "compare": lambda x, y: 1 * (x < y) + 2 * (x <= y) + 4 * (x == y) + 8 * (x != y) + 16 * (x > y) + 32 * (x >= y),
    "compare_unordered": lambda x, y: 1 * ~(x < y) + 2 * ~(x <= y) + 4 * ~(x > y) + 8 * ~(x >= y),
    "classify": lambda x, y: np.isnan(x) + 2 * np.isinf(x) + 4 * np.signbit(x),
}


@pytest.mark.parametrize("name", SPECIAL)
def test_special_values(name: str, architecture: int, rng: np.random.Generator) -> None:
    a, b = random_floats(rng, COUNT), random_floats(rng, COUNT)
    b[::5] = a[::5]
    if name == "classify":
        a[np.isnan(a)] = np.abs(a[np.isnan(a)])  # the sign of NaN is not specified
    found = _run(name, architecture, a, b, a)
    with np.errstate(invalid="ignore"):
        assert same(found, SPECIAL[name](a, b))


def test_minimum_orders_zeros(architecture: int) -> None:
    a, b = np.zeros(COUNT, np.float32), np.full(COUNT, -0.0, np.float32)
    for x, y in ((a, b), (b, a)):
        assert np.signbit(_run("minimum_nan", architecture, x, y, x)).all()
        assert not np.signbit(_run("maximum_nan", architecture, x, y, x)).any()


# Computed in float64, where products and sums of halves are exact; the result is rounded once.
HALVES: dict[str, Callable[[Array, Array, Array], Array]] = {
    "half_fma": lambda x, y, z: x * y + z,
    "half_fma_relu": lambda x, y, z: np.maximum(x * y + z, 0),
    "half_fma_saturated": lambda x, y, z: _saturated(x * y + z),
    "half_add_saturated": lambda x, y, z: _saturated(x + y),
    "half_minimum": lambda x, y, z: np.fmin(x, y),
    "half_maximum_nan": lambda x, y, z: np.maximum(x, y),
    "half_scalar": lambda x, y, z: (x * y).astype(np.float16).astype(np.float64) + z,
}


def _saturated(values: Array) -> Array:
    return np.where(np.isnan(values), 0, np.clip(values, 0, 1))


@pytest.mark.parametrize("name", HALVES)
def test_halves(name: str, architecture: int, rng: np.random.Generator) -> None:
    shape = (COUNT,) if name == "half_scalar" else (COUNT, 2)
    with np.errstate(all="ignore"):
        a, b, c = (random_floats(rng, int(np.prod(shape))).astype(np.float16).reshape(shape) for _ in range(3))
        found = _run(name, architecture, a, b, c)
        expected = HALVES[name](a.astype(np.float64), b.astype(np.float64), c.astype(np.float64))
        assert same(found, expected.astype(np.float16))


@pytest.mark.parametrize("name", ["bf16_fma", "bf16_multiply", "bf16_maximum"])
def test_bf16(name: str, architecture: int, rng: np.random.Generator) -> None:
    a, b, c = (bf16_bits(rng.standard_normal((COUNT, 2)) * 8) for _ in range(3))
    found = _run(name, architecture, a, b, c)
    x, y, z = (bf16_values(bits).astype(np.float64) for bits in (a, b, c))
    exact = {"bf16_fma": x * y + z, "bf16_multiply": x * y, "bf16_maximum": np.maximum(x, y)}[name]
    np.testing.assert_array_equal(found, bf16_bits(exact))


def _elementwise(function: Callable[[float], float]) -> Callable[[Array], Array]:
    return lambda x: np.array([function(float(value)) for value in x])


# The emulator computes in double and rounds: a relative error of 6e-8, and more for composed functions.
APPROXIMATE: dict[str, tuple[Callable[[Array], Array], float]] = {
    "ex2": (np.exp2, 1e-7),
    "lg2": (np.log2, 1e-7),
    "inverse_root": (lambda x: 1 / np.sqrt(x), 1e-7),
    "inverse": (lambda x: 1 / x, 1e-7),
    "sine": (np.sin, 1e-7),
    "cosine": (np.cos, 1e-7),
    "tangent": (np.tanh, 1e-7),
    "fast_divide": (lambda x: x / 3, 2e-7),
    # CUDA's own code on top of those above; its documentation allows 2 ulp, 4 for powf and 2 for erff.
    "exponential": (np.exp, 3e-7),
    "logarithm": (np.log, 3e-7),
    "power": (lambda x: x ** float(np.float32(1.7)), 6e-7),
    "error_function": (_elementwise(math.erf), 3e-7),
    "arctangent": (lambda x: np.arctan2(x, 2), 4e-7),
}


@pytest.mark.parametrize("name", APPROXIMATE)
def test_elementary_functions(name: str, architecture: int, rng: np.random.Generator) -> None:
    a = (rng.random(COUNT) * 9 + 0.1).astype(np.float32)
    function, relative = APPROXIMATE[name]
    expected = function(a.astype(np.float64))
    np.testing.assert_allclose(_run(name, architecture, a, a, a), expected, rtol=relative, atol=1e-7)
