"""Networks of a few operators on OpenVINO and on ONNX Runtime."""

from __future__ import annotations

import logging
import subprocess
import sys
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from engine.errors import EngineLoadError, InferenceError
from engine.runtime.cpu.load import load_network
from engine.runtime.cpu.protocol import CpuRuntime, CpuSettings

SIZE = (13, 17)
# Sums of up to 200 products of order 1 in float32, in another order.
ABSOLUTE = 2e-5


def _graph(nodes: list[onnx.NodeProto], weights: dict[str, NDArray[Any]]) -> bytes:
    """A network from "images" to "head"."""
    image = helper.make_tensor_value_info("images", TensorProto.FLOAT, ["batch", 3, "height", "width"])
    head = helper.make_tensor_value_info("head", TensorProto.FLOAT, None)
    initialisers = [numpy_helper.from_array(value, name) for name, value in weights.items()]
    graph = helper.make_graph(nodes, "graph", [image], [head], initialisers)
    opsets = [helper.make_opsetid("", 19), helper.make_opsetid("com.microsoft", 1)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=9)
    return bytes(model.SerializeToString())


def _settings(size: tuple[int, int] | None = SIZE) -> CpuSettings:
    return CpuSettings(("head",), "fp32", threads=1, size=size, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))


def _run(network: CpuRuntime, image: NDArray[np.float32]) -> NDArray[np.float32]:
    runner = network.runner(alone=True)
    buffer = runner.input(*image.shape[1:])
    buffer[0] = image.transpose(1, 2, 0) if network.channels_last else image
    return runner.run()[0].copy()


@pytest.mark.parametrize(
    ("attributes", "bias", "mask"),
    [
        ({}, True, True),
        ({"offset_group": 3}, False, True),
        ({"group": 3, "strides": [2, 1]}, True, False),
        ({"dilations": [1, 2], "pads": [0, 2, 1, 1]}, False, False),
    ],
)
def test_deformable_convolutions_agree(
    rng: np.random.Generator, attributes: dict[str, Any], bias: bool, mask: bool
) -> None:
    """OpenVINO's ONNX frontend lacks DeformConv: the translation is ours."""
    settings = {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1], **attributes}
    geometry = {key: value for key, value in settings.items() if key not in ("group", "offset_group")}
    groups = settings.get("offset_group", 1)
    weights: dict[str, NDArray[Any]] = {
        "to_offset": rng.normal(size=(18 * groups, 3, 3, 3)),
        "to_mask": rng.normal(size=(9 * groups, 3, 3, 3)),
        "weight": rng.normal(size=(6, 3 // settings.get("group", 1), 3, 3)),
        "bias": rng.normal(size=6),
    }
    nodes = [
        helper.make_node("Conv", ["images", "to_offset"], ["offset"], **geometry),
        helper.make_node("Conv", ["images", "to_mask"], ["mask"], **geometry),
        helper.make_node(
            "DeformConv",
            ["images", "weight", "offset", "bias" if bias else "", *(["mask"] if mask else [])],
            ["head"],
            **settings,
        ),
    ]
    network = _graph(nodes, {name: value.astype(np.float32) for name, value in weights.items()})
    image = rng.normal(size=(3, *SIZE)).astype(np.float32)
    ours, theirs = (_run(load_network(network, _settings(), name), image) for name in ("openvino", "onnxruntime"))
    assert ours.shape == theirs.shape
    np.testing.assert_allclose(ours, theirs, atol=ABSOLUTE * np.abs(theirs).max(), rtol=0)


@pytest.mark.parametrize("library", ["openvino", "onnxruntime"])
def test_results_are_where_the_next_run_writes(rng: np.random.Generator, library: str) -> None:
    """Outputs are buffers, not copies, and the input size may change between runs."""
    network = load_network(_graph([helper.make_node("Neg", ["images"], ["head"])], {}), _settings(), library)
    runner = network.runner(alone=True)
    for size in (SIZE, (4, 5), SIZE):
        addresses = set()
        for value in (1.0, 2.0):
            runner.input(*size)[:] = value
            (head,) = runner.run()
            assert head.shape == (1, 3, *size)
            assert (head == -value).all()
            addresses.add(head.ctypes.data)
        runner.input(*size)[:] = 3
        (head,) = runner.run()
        addresses.add(head.ctypes.data)
        assert len(addresses) <= 2  # ONNX Runtime's first run of a size makes the buffer


def test_what_openvino_cannot_read_runs_on_onnx_runtime(
    rng: np.random.Generator, caplog: pytest.LogCaptureFixture
) -> None:
    content = _graph([helper.make_node("SampleOp", ["images"], ["head"], domain="com.microsoft")], {})
    image = rng.normal(size=(3, *SIZE)).astype(np.float32)
    with pytest.raises(EngineLoadError, match=r"OpenVINO .* cannot run the network"):
        load_network(content, _settings(), "openvino")
    with caplog.at_level(logging.WARNING, logger="engine"):
        network = load_network(content, _settings())
    assert network.name.startswith("ONNX Runtime")
    assert "running it with ONNX Runtime" in caplog.text
    np.testing.assert_array_equal(_run(network, image)[0], image)  # what that operator does


@pytest.mark.parametrize("library", ["openvino", "onnxruntime"])
def test_what_is_no_network_is_refused(library: str) -> None:
    with pytest.raises(EngineLoadError, match="cannot"):
        load_network(b"no network", _settings(), library)


@pytest.mark.parametrize("library", ["openvino", "onnxruntime"])
def test_weights_in_another_file_are_refused(rng: np.random.Generator, library: str) -> None:
    network = _graph([helper.make_node("Add", ["images", "w"], ["head"])], {"w": np.ones(1, np.float32)})
    model = onnx.load_model_from_string(network)
    onnx.external_data_helper.set_external_data(model.graph.initializer[0], "w.bin")
    with pytest.raises(EngineLoadError, match="cannot be used: it keeps the values of 'w' in another file"):
        load_network(model.SerializeToString(), _settings(), library)


@pytest.mark.parametrize("step", ["_compile", "tensor"])
def test_a_size_that_cannot_be_run_leaves_no_former_results(
    rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    relu = _graph([helper.make_node("Relu", ["images"], ["head"])], {})
    network: Any = load_network(relu, _settings(), "openvino")
    runner = network.runner(alone=True)
    image = rng.uniform(-1, 1, (1, *SIZE, 3)).astype(np.float32)
    runner.input(*SIZE)[...] = image
    with monkeypatch.context() as patch:
        patch.setattr(network, step, Mock(side_effect=RuntimeError("at line 7\nno memory")))
        for _ in range(2):
            with pytest.raises(InferenceError, match=r"^OpenVINO [\d.]+ cannot .*: no memory$"):
                runner.input(9, 8)
    assert runner.input(*SIZE).shape == image.shape
    assert np.array_equal(runner.run()[0], np.maximum(image, 0).transpose(0, 3, 1, 2))
    assert runner.input(9, 8).shape == (1, 9, 8, 3)


@pytest.mark.parametrize("asked", [False, True])
def test_openvino_reports_to_its_maker_only_if_the_process_asked(asked: bool) -> None:
    """A module of that name in sys.modules stands for a program that imported it on purpose."""
    script = (
        "import sys, types\n"
        f"if {asked}: sys.modules['openvino_telemetry'] = types.ModuleType('openvino_telemetry')\n"
        "from engine.runtime.cpu.openvino import _import\n"
        "assert hasattr(_import(), 'Core')\n"
        "assert 'multiprocessing.popen_fork' not in sys.modules\n"
        f"assert ('openvino_telemetry' in sys.modules) is {asked}\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("library", ["openvino", "onnxruntime"])
def test_signals_find_a_stack_after_another_thread_has_ended_a_network(library: str, tmp_path: Path) -> None:
    """Handlers of Python run on the alternate stack of the main thread, if it has one."""
    pytest.importorskip(library)
    network = tmp_path / "relu.onnx"
    network.write_bytes(_graph([helper.make_node("Relu", ["images"], ["head"])], {}))
    script = (
        "import gc, pathlib, signal, sys, threading\n"
        "from engine.runtime.cpu.load import load_network\n"
        "from tests.engine.runtime.cpu.test_cpu_runtime import _settings\n"
        "signal.signal(signal.SIGUSR1, lambda *_: print('handled'))\n"
        "network = pathlib.Path(sys.argv[1]).read_bytes()\n"
        f"networks = [load_network(network, _settings(), {library!r}) for _ in range(2)]\n"
        "networks[0].runner(alone=True).input(8, 8)\n"
        "thread = threading.Thread(target=lambda: (networks.clear(), gc.collect()))\n"
        "thread.start(), thread.join()\n"
        "signal.raise_signal(signal.SIGUSR1)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, network],
        cwd=Path(__file__).parents[4],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "handled\n"), done.stderr
