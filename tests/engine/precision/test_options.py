"""Refused options and their messages."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from engine.config.formats import FP8, INT8, PRECISIONS
from engine.errors import CalibrationError, InvalidArgumentError
from engine.precision.convert import check_precision
from engine.precision.options import METHODS, Conversion, QuantisationOptions, Techniques
from tests.support import graphs


@pytest.mark.parametrize("loss", [0, 0.0, -0.01, -math.inf, math.nan])
def test_a_budget_is_positive(loss: float) -> None:
    with pytest.raises(InvalidArgumentError, match=r"max_loss is .*, expected a positive loss of positions"):
        QuantisationOptions(max_loss=loss)


@pytest.mark.parametrize("loss", [None, 1e-6, 0.5, math.inf])
def test_valid_budgets(loss: float | None) -> None:
    assert QuantisationOptions(max_loss=loss).max_loss == loss


def test_steps_are_counted() -> None:
    assert QuantisationOptions(train_steps=1).train_steps == 1
    with pytest.raises(InvalidArgumentError, match=r"train_steps is -1, expected 0 \(no training\) or more"):
        QuantisationOptions(train_steps=-1)


def test_methods() -> None:
    for method in METHODS:
        assert Techniques(method=method).method == method
    with pytest.raises(
        InvalidArgumentError, match="calibration method is 'best', expected one of: auto, importance, max,"
    ):
        Techniques(method="best")


@pytest.mark.parametrize("precision", ["int8", "fp8", "mixed"])
def test_quantised_precisions_need_images(precision: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidArgumentError, match=f"precision {precision} needs --calib-dir: a folder of photos"):
        check_precision(precision, QuantisationOptions())
    with pytest.raises(InvalidArgumentError, match="calib_images is 3, expected at least 4"):
        check_precision(precision, QuantisationOptions(calib_dir="photos", calib_images=3))
    with pytest.raises(CalibrationError, match=r"none is not a folder\. Give a folder of photos with --calib-dir"):
        check_precision(precision, QuantisationOptions(calib_dir=tmp_path / "none"))
    with pytest.raises(CalibrationError, match="has no pictures"):
        check_precision(precision, QuantisationOptions(calib_dir=tmp_path))
    (tmp_path / "photo.jpg").touch()
    check_precision(precision, QuantisationOptions(calib_dir=tmp_path, calib_images=4, cache=tmp_path / "fit.npz"))
    with pytest.raises(CalibrationError, match=r"fit\.npz cannot be written: "):
        check_precision(precision, QuantisationOptions(tmp_path, cache=tmp_path / "photo.jpg" / "fit.npz"))


@pytest.mark.parametrize("precision", ["fp32", "fp16", "bf16"])
@pytest.mark.parametrize(
    "options",
    [
        QuantisationOptions(calib_dir="photos"),
        QuantisationOptions(max_loss=0.01),
        QuantisationOptions(cache="file"),
        QuantisationOptions(calib_images=5),
        QuantisationOptions(train_steps=5),
        QuantisationOptions(techniques=Techniques(equalise=False)),
    ],
)
def test_others_take_no_calibration_options(precision: str, options: QuantisationOptions) -> None:
    with pytest.raises(InvalidArgumentError, match=f"precision {precision} needs none; they are for int8, fp8, mixed"):
        check_precision(precision, options)
    check_precision(precision, QuantisationOptions())


def test_bf16_may_round_to_the_nearest() -> None:
    nearest = QuantisationOptions(techniques=Techniques(round_weights=False))
    check_precision("bf16", nearest)
    with pytest.raises(InvalidArgumentError, match="--no-round-weights for bf16 too"):
        check_precision("fp16", nearest)


def test_precisions() -> None:
    assert tuple(PRECISIONS) == ("fp32", "tf32", "fp16", "bf16", "int8", "fp8", "mixed")
    with pytest.raises(InvalidArgumentError, match="precision is 'int4', expected one of: fp32, tf32, fp16"):
        check_precision("int4", QuantisationOptions())


@pytest.mark.parametrize("precision", PRECISIONS)
def test_formats_that_gpus_lack_are_used_only_where_they_are_needed(precision: str) -> None:
    model = graphs.tiny_detector()
    wanted = list(PRECISIONS[precision])
    assert Conversion(model, graphs.CONFIG, precision, graphs.SIZE).formats == wanted
    without = Conversion(model, graphs.CONFIG, precision, graphs.SIZE, available=(INT8,))
    assert without.formats == ([INT8] if precision == "mixed" else wanted)
    assert PRECISIONS["mixed"] == (INT8, FP8)
