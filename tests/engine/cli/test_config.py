"""`retinaface-trt config`."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.cli.main import main
from engine.config.files import read_config
from engine.config.presets import PRESETS, preset


def test_a_line_about_each_preset(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == list(PRESETS)
    assert "leaky ReLU 0.1 in the body, ReLU behind it; plain context, landmarks; BGR - (104, 117, 123)" in lines[2]
    assert max(map(len, lines)) < 180


def test_what_is_printed_is_a_config_file(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["config", "resnet34"]) == 0
    path = tmp_path / "mine.json"
    path.write_text(capsys.readouterr().out)
    assert read_config(path) == preset("resnet34")
    assert main(["config", str(path)]) == 0
    assert capsys.readouterr().out == path.read_text()


def test_wrong_names_and_files_end_in_one_line(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "bad.json"
    path.write_text('{"name": NaN}')
    for given, message in (("resnet51", "expected the name of a JSON file"), (str(path), "holds NaN")):
        assert main(["config", given]) == 2
        printed = capsys.readouterr()
        assert not printed.out
        assert printed.err.count("\n") == 1
        assert message in printed.err


def test_build_takes_a_file(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "none.json"
    assert main(["build", "--config", str(path), "--output", str(tmp_path / "a.engine")]) == 2
    assert "none.json cannot be read: No such file" in capsys.readouterr().err
