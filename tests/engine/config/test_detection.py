"""Settings of detection: a field of Thresholds is an option, an operator's argument and a plugin's attribute."""

from __future__ import annotations

import argparse
import inspect
import shlex
from dataclasses import asdict
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest

from engine import InvalidArgumentError, ops
from engine.cli import build
from engine.config.detection import MAX_CANDIDATES, Thresholds
from engine.sidecar.rebuild import rebuild_command

OTHERS = Thresholds(score=0.25, iou=0.375, top_k=123, max_detections=45, voting=True)


def test_every_setting_is_an_argument_of_an_operator() -> None:
    decode, nms = OTHERS.decode_arguments(), OTHERS.nms_arguments()
    assert sorted(map(repr, [*decode.values(), *nms.values()])) == sorted(map(repr, asdict(OTHERS).values()))
    assert decode.keys() <= inspect.signature(ops.decode).parameters.keys()
    assert nms.keys() <= inspect.signature(ops.nms).parameters.keys()


@pytest.mark.parametrize("thresholds", [Thresholds(), OTHERS])
def test_the_rebuild_command_gives_the_settings_back(thresholds: Thresholds, monkeypatch: pytest.MonkeyPatch) -> None:
    command = rebuild_command({"thresholds": asdict(thresholds)}, Path("faces.engine"))
    parser, builder = argparse.ArgumentParser(), Mock(side_effect=ZeroDivisionError)
    build.add_arguments(parser)
    monkeypatch.setattr(build, "build_engine", builder)
    with pytest.raises(ZeroDivisionError):
        build.run(parser.parse_args(shlex.split(command)[2:]))
    assert builder.call_args.args[0].thresholds == thresholds


@pytest.mark.parametrize(
    ("setting", "value"),
    [("score", -0.01), ("score", 1.01), ("score", float("nan")), ("iou", 1.5), ("top_k", 0),
     ("top_k", MAX_CANDIDATES + 1), ("max_detections", 0)],
)  # fmt: skip
def test_values_out_of_range_are_refused(setting: str, value: Any) -> None:
    with pytest.raises(InvalidArgumentError, match=f"{value}, expected "):
        Thresholds(**{setting: value})
