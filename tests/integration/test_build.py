"""Building engines with TensorRT-RTX: what is in them, what is written, what is refused."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import onnx
import pytest

from engine import TRTRetinaFace
from engine.backend import targets
from engine.backend.driver import compute_capability, sees_gpu
from engine.backend.plugin_library import DECODE_PLUGIN, NMS_PLUGIN, PluginLibrary, plugin_library
from engine.backend.targets import check_targets, has_format
from engine.backend.tensorrt import Backend, load_backend
from engine.build import pipeline
from engine.build.pipeline import BuildOptions, build_engine
from engine.build.plan import PlanOptions, Toolchain, build_plan
from engine.config.detection import InputSize, Thresholds
from engine.config.formats import BF16, FP8, INT8, NumberFormat
from engine.config.presets import preset
from engine.errors import BuildError, InvalidArgumentError
from engine.export.attach import attach_detection
from engine.files import sha256_of_file
from engine.sidecar import network_path, sidecar_path
from tests.support.doubles.tensorrt import FakeTensorRT
from tests.support.engines import build, network, rtx, small

SIZE = InputSize.fixed(320, 320)


@pytest.fixture(scope="module", params=["fp32", "fp16"])
def detector(request: pytest.FixtureRequest) -> onnx.ModelProto:
    """A detector.onnx of each precision."""
    return attach_detection(network(request.param), preset("mobilenet0.25"), Thresholds())


@pytest.mark.parametrize("targets", [(), ("sm75",), ("sm89",), ("sm120",), ("sm86", "sm120", "sm89")])
def test_engines_build_with_both_plugins_inside(detector: onnx.ModelProto, targets: tuple[str, ...]) -> None:
    backend = rtx()
    checked = check_targets(targets, backend.runtime)
    plan = build_plan(detector, Toolchain(backend, plugin_library(), checked), PlanOptions(SIZE, 8))
    assert plan.plugins == (DECODE_PLUGIN, NMS_PLUGIN)
    # 56 convolutions, 41 activations, 2 resizes, 2 additions, 3 concatenations and the plugins at least.
    assert plan.num_layers > 100
    assert len(plan.data) > 500_000


def test_a_real_builder_takes_the_profiles_of_tensorrt(
    detector: onnx.ModelProto, monkeypatch: pytest.MonkeyPatch
) -> None:
    """TensorRT-RTX builds what TensorRT is given; its plan then holds the weights twice."""
    backend, counts = rtx(), list[int]()
    original = backend.module.Builder.build_serialized_network

    def build_serialized_network(builder: Any, network: Any, config: Any) -> Any:
        counts.append(config.num_optimization_profiles)
        return original(builder, network, config)

    monkeypatch.setattr(backend.module.Builder, "build_serialized_network", build_serialized_network)
    sizes = []
    for runtime in ("tensorrt-rtx", "tensorrt"):
        toolchain = Toolchain(Backend(runtime, backend.module, backend.version), plugin_library(), ("portable",))
        sizes.append(len(build_plan(detector, toolchain, PlanOptions(SIZE, 8, embed_plugins=True)).data))
    assert counts == [1, 2]
    assert sizes[1] > sizes[0]


def test_embedded_plugins_travel_inside(detector: onnx.ModelProto) -> None:
    toolchain = Toolchain(rtx(), plugin_library(), ("portable",))
    sizes = [
        len(build_plan(detector, toolchain, PlanOptions(SIZE, 1, embed_plugins=embed)).data) for embed in (False, True)
    ]
    assert sizes[1] - sizes[0] >= plugin_library().path.stat().st_size * 0.9


def test_the_three_files_describe_each_other(tmp_path: Path) -> None:
    path = tmp_path / "new" / "faces.engine"
    stages: list[str] = []
    report = build_engine(
        BuildOptions(precision="fp16", runtime="tensorrt-rtx", targets=("sm89",), size=SIZE, output=path), stages.append
    )
    assert report.files == (path, sidecar_path(path), network_path(path))
    assert sorted(p.name for p in path.parent.iterdir()) == sorted(p.name for p in report.files)
    sidecar = json.loads(sidecar_path(path).read_text())
    assert sidecar["files"]["engine"]["sha256"] == sha256_of_file(path)
    assert sidecar["files"]["network"]["sha256"] == sha256_of_file(network_path(path))
    assert sidecar["precision"] == {"mode": "fp16", "kept_higher": []}
    assert sidecar["targets"] == ["sm89"]
    assert sidecar["runtime"] == {"name": "tensorrt-rtx", "version": rtx().version}
    assert sidecar["weights"]["known_as"] == "mobilenet0.25"
    assert sidecar["plugins"]["library_sha256"] == plugin_library().sha256
    assert sidecar["io"]["input"]["maximum"] == [16, 3, 320, 320]
    assert [output["name"] for output in sidecar["io"]["outputs"]] == ["num_detections", "boxes", "scores", "landmarks"]
    assert len(stages) == 5


def test_builds_are_repeatable(fp32_engine: Path, tmp_path: Path) -> None:
    again = tmp_path / fp32_engine.name
    build_engine(small(again, precision="fp32"))  # exports once more
    assert network_path(again).read_bytes() == network_path(fp32_engine).read_bytes()


def test_random_weights_are_marked(tmp_path: Path) -> None:
    report = build(tmp_path / "r.engine", weights="random", precision="fp32")
    assert "random" in report.sidecar.weights.note
    assert report.sidecar.weights.sha256 is None


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"precision": "int3"}, r"precision is 'int3', expected one of: fp32, tf32"),
        ({"targets": ("sm70",)}, r"unknown target 'sm70', expected one of: sm75.*portable$"),
        (
            {"targets": ("sm90",)},
            r"unknown target 'sm90'.*sm90 \(Hopper\), TensorRT does: .* --runtime tensorrt ",
        ),
        ({"targets": ("sm89", "sm103")}, r"unknown target 'sm103'.*\(data-centre Blackwell\)"),
        ({"targets": ("portable", "sm89")}, "already covers"),
        ({"config": "resnet51"}, "unknown config"),
        ({"size": InputSize.fixed(650, 640)}, "multiple of 32"),
        ({"max_batch": 0}, "max_batch is 0"),
        ({"runtime": "openvino"}, "expected auto, tensorrt or tensorrt-rtx"),
    ],
)
def test_wrong_options_are_refused_before_any_work(tmp_path: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidArgumentError, match=message):
        build(tmp_path / "a.engine", **options)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("thresholds", "message"),
    [
        ({"score": 1.5}, "score threshold is 1.5"),
        ({"iou": float("nan")}, "IoU threshold is nan"),
        ({"top_k": 5001}, "top_k is 5001, expected 1 to 5000"),
        ({"max_detections": 0}, "max_detections is 0"),
    ],
)
def test_wrong_thresholds_are_refused(thresholds: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidArgumentError, match=message):
        Thresholds(**thresholds)


def test_targets_of_tensorrt_are_explained() -> None:
    assert check_targets((), "tensorrt") == ("this GPU",)
    with pytest.raises(InvalidArgumentError, match=r"--target sm89 needs TensorRT-RTX"):
        check_targets(("sm89",), "tensorrt")


@pytest.mark.parametrize(
    ("needs", "capability", "refusal"),
    [
        (FP8, None, r"no FP8 arithmetic \(none was found, expected 8\.9"),
        (FP8, (8, 6), r"compute capability 8\.6, expected 8\.9"),
        (FP8, (8, 9), None),
        (FP8, (9, 0), None),
        (FP8, (12, 0), None),
        (BF16, (7, 5), r"no BF16 arithmetic \(compute capability 7\.5, expected 8\.0"),
        (BF16, (8, 0), None),
        (INT8, None, None),
    ],
)
def test_tensorrt_needs_a_gpu_that_has_the_number_format(
    monkeypatch: pytest.MonkeyPatch, needs: NumberFormat, capability: tuple[int, int] | None, refusal: str | None
) -> None:
    monkeypatch.setattr(targets, "compute_capability", lambda: capability)
    if refusal is None:
        assert check_targets((), "tensorrt", needs) == ("this GPU",)
    else:
        with pytest.raises(InvalidArgumentError, match=refusal):
            check_targets((), "tensorrt", needs)
    assert has_format(check_targets((), "tensorrt"), needs) == (refusal is None)


def test_targets_of_tensorrt_rtx_have_the_number_format() -> None:
    assert check_targets((), "tensorrt-rtx", INT8) == check_targets((), "tensorrt-rtx", BF16) == ("portable",)
    assert check_targets((), "tensorrt-rtx", FP8) == ("sm89", "sm120", "sm121")
    assert check_targets(("sm121", "sm89"), "tensorrt-rtx", FP8) == ("sm89", "sm121")
    with pytest.raises(InvalidArgumentError, match="target sm75 has no BF16 arithmetic: choose from sm80, sm86, sm89,"):
        check_targets(("sm80", "sm75"), "tensorrt-rtx", BF16)


@pytest.mark.skipif(sees_gpu(), reason="there is a GPU")
def test_without_a_driver_there_is_no_compute_capability() -> None:
    assert compute_capability() is None


@pytest.mark.parametrize("folder", ["/proc", "/sys/kernel"])
def test_an_output_folder_that_cannot_be_written_is_found_first(folder: str) -> None:
    stages: list[str] = []
    options = BuildOptions(runtime="tensorrt-rtx", output=Path(folder) / "a.engine")
    rtx()
    with pytest.raises(BuildError, match=f"cannot write to the output folder {folder}"):
        build_engine(options, stages.append)
    assert not stages


def test_a_failed_build_leaves_what_was_there(fp32_engine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = {path.name: path.read_bytes() for path in fp32_engine.parent.iterdir()}

    def fail(*args: Any, **kwargs: Any) -> None:
        raise BuildError("no space in the compiler")

    monkeypatch.setattr(pipeline, "build_plan", fail)
    with pytest.raises(BuildError, match="no space"):
        build(fp32_engine, precision="fp16")
    assert {path.name: path.read_bytes() for path in fp32_engine.parent.iterdir()} == before


def test_a_write_that_fails_leaves_nothing_half(fp32_engine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = {path.name: path.read_bytes() for path in fp32_engine.parent.iterdir()}

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(BuildError, match=r"could not be written.*No space left"):
        build(fp32_engine, precision="fp16")
    assert {path.name: path.read_bytes() for path in fp32_engine.parent.iterdir()} == before


@pytest.mark.parametrize("signal", ["SIGTERM", "SIGINT", "SIGKILL"])
def test_a_killed_build_leaves_no_file(tmp_path: Path, signal: str) -> None:
    """During compilation, with a network that was exported before."""
    rtx()
    exported = tmp_path / "exported.onnx"
    exported.write_bytes(network("fp32", size=InputSize.fixed(64, 96)).SerializeToString())
    folder = tmp_path / "output"
    folder.mkdir()
    script = (
        "import onnx, os, signal, sys\n"
        # Background jobs of a shell ignore it.
        "signal.signal(signal.SIGINT, signal.SIG_DFL)\n"
        "from engine.build import pipeline\n"
        "from retinaface_trt import build_main\n"
        f"pipeline.export_network = lambda *a: onnx.load({str(exported)!r})\n"
        f"pipeline.build_plan = lambda *a, **k: os.kill(os.getpid(), signal.{signal})\n"
        "sys.argv[1:] = ['--input-size', '64', '96', '--runtime', 'tensorrt-rtx', '--output', 'a.engine']\n"
        "sys.exit(build_main())\n"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode in (-9, 130, 143), done.stderr
    assert "Traceback" not in done.stderr
    assert not list(folder.iterdir())


@pytest.mark.parametrize("name", ["a.plan", "engine", "a.engine.bak"])
def test_engines_are_named_so(tmp_path: Path, name: str) -> None:
    with pytest.raises(InvalidArgumentError, match=r"expected a name that ends in \.engine"):
        build(tmp_path / name)


@pytest.mark.parametrize("name", ["a.engine", "a.engine.json", "a.network.onnx"])
def test_folders_in_the_way_are_found_first(tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir()
    with pytest.raises(BuildError, match=r"is a folder, expected the name of a file"):
        build(tmp_path / "a.engine")


@pytest.mark.parametrize("length", [243, 244, 249])
def test_names_that_are_too_long_are_found_first(tmp_path: Path, length: int) -> None:
    """The sidecar's name has 5 bytes more than the engine's, the network's 6."""
    with pytest.raises(BuildError, match=r"output .* cannot be written: File name too long\. Choose"):
        build(tmp_path / "folder" / ("a" * length + ".engine"))


def test_too_many_anchors_are_refused_first(tmp_path: Path) -> None:
    with pytest.raises(
        InvalidArgumentError, match=r"10240 x 10240, which has 4300800 anchors, expected at most 4194304"
    ):
        build(tmp_path / "a.engine", size=InputSize.fixed(10240, 10240))


@pytest.mark.parametrize(("config", "side"), [("mobilenet0.25", 640), ("resnet18-lite", 480)])
def test_the_input_is_the_preset_s_unless_another_is_given(config: str, side: int) -> None:
    assert BuildOptions(config=config).input_size() == InputSize.fixed(side, side)
    other = InputSize.fixed(64, 96)
    assert BuildOptions(config=config, size=other).input_size() == other


def test_a_config_file_gives_the_engine_its_settings(tmp_path: Path) -> None:
    own = replace(preset("mobilenetv2"), name="own", mean=(127.5, 127.5, 127.5), input_size=(64, 96), color_order="rgb")
    file = tmp_path / "mine.json"
    file.write_text(json.dumps(own.to_dict()))
    path = tmp_path / "own.engine"
    sidecar = build(path, config=file, size=None, weights="random").sidecar
    assert sidecar.config == own
    assert sidecar.io.input.size == InputSize.fixed(64, 96)
    assert TRTRetinaFace(path, device="cpu").sidecar.config == own
    assert "--config own.json " in sidecar.rebuild_command(path)


def test_a_broken_network_is_refused_with_the_parser_s_reason() -> None:
    model = attach_detection(network("fp32"), preset("mobilenet0.25"), Thresholds())
    model.graph.node[-1].op_type = "RetinaFaceNMZ"
    with pytest.raises(BuildError, match=r"cannot read the network.*Plugin not found"):
        build_plan(model, Toolchain(rtx(), plugin_library(), ("portable",)), PlanOptions(SIZE, 1))


def test_a_builder_that_needs_a_gpu_says_so() -> None:
    def no_builder(logger: Any) -> None:
        logger.log(FakeTensorRT.ILogger.ERROR, "CUDA initialization failure with error: 35")
        raise TypeError("pybind11::init(): factory function returned nullptr")

    backend = Backend("tensorrt", SimpleNamespace(Builder=no_builder, ILogger=FakeTensorRT.ILogger), "10.9")
    toolchain = Toolchain(backend, PluginLibrary(Path("unused"), ""), ("this GPU",))
    with pytest.raises(BuildError, match=r"cannot start a builder: CUDA initialization.*--runtime tensorrt-rtx builds"):
        build_plan(onnx.ModelProto(), toolchain, PlanOptions(SIZE, 1))


def test_type_stubs_alone_are_not_tensorrt(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib, "import_module", lambda name: object())
    with pytest.raises(BuildError, match=r"only its type stubs are installed.*pip install 'tensorrt>=10'"):
        load_backend("tensorrt")


def test_an_old_tensorrt_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    class Old:
        Builder = object
        __version__ = "8.6.1"

    monkeypatch.setattr(importlib, "import_module", lambda name: Old)
    with pytest.raises(BuildError, match=r"TensorRT 8\.6\.1 is too old"):
        load_backend("tensorrt")


def test_without_any_tensorrt_both_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise ImportError(f"No module named {name!r}")

    monkeypatch.setattr(importlib, "import_module", missing)
    with pytest.raises(BuildError, match=r"no TensorRT is installed.*tensorrt>=10.*tensorrt-rtx-cu13"):
        load_backend("auto")


def test_read_only_site_packages_are_enough(tmp_path: Path) -> None:
    """The parser finds the library that the wheel lacks, and no link is written anywhere."""
    rtx()
    import tensorrt_rtx_libs

    folder = Path(tensorrt_rtx_libs.__file__).parent
    assert not (folder / "libtensorrt_rtx.so").exists()
    build(tmp_path / "a.engine", precision="fp32", weights="random", size=InputSize.fixed(64, 96))
    assert not (folder / "libtensorrt_rtx.so").exists()
