"""An engine loads only with the files it was built with; every difference is named."""

from __future__ import annotations

import json
import shlex
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

import onnx
import pytest

from engine import EngineLoadError, TRTRetinaFace
from engine.build.pipeline import BuildOptions, BuildReport
from engine.cli import build as cli_build
from engine.cli import build_main
from engine.config.detection import InputSize, Thresholds
from engine.config.presets import preset
from engine.files import sha256_of
from engine.sidecar import engine_sha256, network_path, sidecar_path
from engine.sidecar.files import METADATA_KEY
from tests.support.engines import build

OTHER_LEVELS = [asdict(level) for level in preset("mobilenet0.25-relu").levels]


@pytest.fixture
def copied(fp32_engine: Path, tmp_path: Path) -> Path:
    """A copy of an engine and its files, to be damaged."""
    for path in fp32_engine.parent.iterdir():
        shutil.copy(path, tmp_path)
    return tmp_path / fp32_engine.name


def _edit(engine: Path, *keys: str, value: Any) -> None:
    path = sidecar_path(engine)
    content = json.loads(path.read_text())
    entry = content
    for key in keys[:-1]:
        entry = entry[key]
    entry[keys[-1]] = value
    path.write_text(json.dumps(content))


def test_an_untouched_copy_loads_and_may_be_renamed(copied: Path) -> None:
    assert TRTRetinaFace(copied, "cpu").device == "cpu"
    renamed = copied.with_name("other.engine")
    for old, new in ((copied, renamed), *((f(copied), f(renamed)) for f in (sidecar_path, network_path))):
        old.rename(new)
    TRTRetinaFace(renamed, "cpu")


def test_an_engine_built_before_a_setting_existed_loads(copied: Path) -> None:
    """Neither its sidecar nor its network has the setting."""
    network = onnx.load(network_path(copied))
    (entry,) = (prop for prop in network.metadata_props if prop.key == METADATA_KEY)
    identity = json.loads(entry.value)
    del identity["config"]["body_slope"]
    entry.value = json.dumps(identity)
    content = network.SerializeToString()
    network_path(copied).write_bytes(content)
    sidecar = json.loads(sidecar_path(copied).read_text())
    del sidecar["config"]["body_slope"]
    sidecar["files"]["network"] |= {"bytes": len(content), "sha256": sha256_of(content)}
    sidecar_path(copied).write_text(json.dumps(sidecar))
    assert TRTRetinaFace(copied, "cpu").config == preset("mobilenet0.25")


@pytest.mark.parametrize("moved", range(4))
def test_an_engine_whose_writer_was_killed_loads_whole(copied: Path, fp16_engine: Path, moved: int) -> None:
    """After the rename that replaces an engine, and after so many of the moves that follow it."""
    paths = [f(copied) for f in (network_path, sidecar_path)] + [copied]
    new = [f(fp16_engine).read_bytes() for f in (network_path, sidecar_path)] + [fp16_engine.read_bytes()]
    journal = copied.with_name(f".{copied.name}.new")
    journal.mkdir()
    for i, (path, content) in enumerate(zip(paths, new, strict=True)):
        (path if i < moved else journal / path.name).write_bytes(content)
    assert engine_sha256(copied) == sha256_of(new[2])
    assert TRTRetinaFace(copied, "cpu").sidecar.precision.mode == "fp16"
    assert [path.read_bytes() for path in paths] == new
    assert not journal.exists()


@pytest.mark.parametrize(
    ("keys", "value", "named"),
    [
        (("schema",), 2, "schema is 2, expected 1"),
        (("project_version",), "9.9.9", "project_version"),
        (("config", "negative_slope"), 0.0, "config.negative_slope"),
        (("config", "levels"), OTHER_LEVELS, "config.levels"),
        (("config", "variances"), [0.1, 0.3], "config.variances"),
        (("config", "mean"), [0.0, 0.0, 0.0], "config.mean"),
        (("config", "color_order"), "rgb", "config.color_order"),
        (("config", "color_order"), "grb", "color_order is 'grb'"),
        (("config", "backbone"), "resnet50", "config.backbone"),
        (("weights", "sha256"), "0" * 64, "weights.sha256"),
        (("weights", "source"), "elsewhere", "weights.source"),
        (("precision", "mode"), "fp16", "precision.mode"),
        (("precision", "kept_higher"), ["conv1"], "precision.kept_higher"),
        (("calibration",), {"method": "max"}, "calibration"),
        (("runtime", "version"), "1.0", "runtime.version"),
        (("runtime", "name"), "tensorrt", "runtime.name"),
        (("targets",), ["sm75"], "targets"),
        (("plugins", "library_sha256"), "0" * 64, "plugins.library_sha256"),
        (("plugins", "embedded"), True, "plugins.embedded"),
        (("plugins", "versions", "RetinaFaceNMS"), "2", "plugins.versions.RetinaFaceNMS"),
        (("io", "input", "maximum"), [32, 3, 320, 320], "io.input.maximum"),
        (("io", "outputs"), [], "io.outputs"),
        (("preprocessing", "mean"), [1, 2, 3], "preprocessing.mean"),
        (("preprocessing", "pad_value"), [0, 0, 0], "preprocessing.pad_value"),
        (("thresholds", "iou"), 0.9, "thresholds.iou"),
        (("thresholds", "score"), 0.5, "thresholds.score"),
        (("thresholds", "voting"), True, "thresholds.voting"),
        (("detector_sha256",), "0" * 64, "detector_sha256"),
        (("files", "engine", "sha256"), "0" * 64, "files.engine.sha256"),
        (("files", "engine", "bytes"), 1, "files.engine.bytes"),
        (("files", "network", "sha256"), "0" * 64, "files.network.sha256"),
        (("files", "network"), None, "files.network is None, expected an object"),
        (("thresholds",), 0.5, "thresholds is 0.5, expected an object"),
        (("targets",), "sm89", "targets is 'sm89', expected a list"),
    ],
)
def test_each_field_that_differs_is_named(copied: Path, keys: tuple[str, ...], value: Any, named: str) -> None:
    _edit(copied, *keys, value=value)
    with pytest.raises(EngineLoadError, match=named) as refusal:
        TRTRetinaFace(copied, "cpu")
    assert "python build_engine.py --precision fp32 --config mobilenet0.25" in str(refusal.value)


def test_the_message_says_what_was_built_and_how_to_rebuild(copied: Path) -> None:
    _edit(copied, "thresholds", "iou", value=0.9)
    with pytest.raises(
        EngineLoadError,
        match=r"thresholds.iou is 0.9, but the engine was built with 0.4\. Restore the file, or rebuild: "
        r"python build_engine.py --precision fp32 --config mobilenet0.25 --weights mobilenet0.25 --runtime ",
    ):
        TRTRetinaFace(copied, "cpu")


def test_the_rebuild_command_repeats_every_option(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a folder" / "faces.engine"
    thresholds = Thresholds(score=0.1, iou=0.3, top_k=77, max_detections=9, voting=True)
    size = InputSize((64, 64), (64, 96), (128, 160))
    options = {"targets": ("sm86", "sm89"), "max_batch": 3, "embed_plugins": True, "weights": "random"}
    report = build(path, precision="fp16", size=size, thresholds=thresholds, **options)
    built: list[BuildOptions] = []

    def record(given: BuildOptions, show: object) -> BuildReport:
        built.append(given)
        return report

    monkeypatch.setattr(cli_build, "build_engine", record)
    command = shlex.split(report.sidecar.rebuild_command(path))
    assert build_main(command[2:]) == 0
    expected = {"precision": "fp16", "size": size, "thresholds": thresholds, "output": path, **options}
    assert {name: getattr(built[0], name) for name in expected} == expected


def test_missing_and_damaged_files_are_named(copied: Path, tmp_path: Path) -> None:
    with pytest.raises(EngineLoadError, match=r"nowhere.engine cannot be read: No such file"):
        TRTRetinaFace(tmp_path / "nowhere.engine", "cpu")
    content = copied.read_bytes()
    copied.write_bytes(content[:-1])
    with pytest.raises(EngineLoadError, match=r"files.engine.bytes is \d+, but faces.engine has"):
        TRTRetinaFace(copied, "cpu")
    copied.write_bytes(content)
    network = network_path(copied)
    network.rename(tmp_path / "away")
    with pytest.raises(EngineLoadError, match=r"faces.network.onnx cannot be read.*belong together"):
        TRTRetinaFace(copied, "cpu")
    (tmp_path / "away").rename(network)
    sidecar_path(copied).write_text("{")
    with pytest.raises(EngineLoadError, match="is not JSON"):
        TRTRetinaFace(copied, "cpu")
    sidecar_path(copied).unlink()
    with pytest.raises(EngineLoadError, match=r"its sidecar.*cannot be read"):
        TRTRetinaFace(copied, "cpu")


def test_the_network_is_not_taken_for_the_engine(copied: Path) -> None:
    with pytest.raises(
        EngineLoadError, match=r"faces.network.onnx is the network .*expected the engine: .*faces.engine$"
    ):
        TRTRetinaFace(network_path(copied), "cpu")


def test_unknown_and_missing_keys_are_named(copied: Path) -> None:
    _edit(copied, "extra", value=1)
    with pytest.raises(EngineLoadError, match=r"unknown keys \['extra'\]"):
        TRTRetinaFace(copied, "cpu")


def test_files_of_another_build_are_refused(copied: Path, fp16_engine: Path) -> None:
    shutil.copy(network_path(fp16_engine), network_path(copied))
    with pytest.raises(EngineLoadError, match=r"files.network"):
        TRTRetinaFace(copied, "cpu")


def test_weights_outside_the_network_s_file_are_refused(copied: Path) -> None:
    """Whoever can mend the digests could otherwise change such weights later, and nothing would notice."""
    path = network_path(copied)
    network = onnx.load(path)
    onnx.save(network, path, save_as_external_data=True, location="w.bin", size_threshold=100)
    assert (copied.parent / "w.bin").stat().st_size > 1 << 20
    for key, value in (("sha256", sha256_of(path.read_bytes())), ("bytes", path.stat().st_size)):
        _edit(copied, "files", "network", key, value=value)
    with pytest.raises(EngineLoadError, match=r"faces.network.onnx has values in another file \(ONNX external data\)"):
        TRTRetinaFace(copied, "cpu")
