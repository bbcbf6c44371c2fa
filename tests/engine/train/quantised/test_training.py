"""Training for INT8 with labels, from a float32 checkpoint to the Q/DQ graph of a build."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch

from engine.config.detection import InputSize
from engine.config.formats import INT8
from engine.errors import CalibrationError, InvalidArgumentError
from engine.export.network import export_network
from engine.metrics.heads import HeadErrors
from engine.model.retinaface import RetinaFace
from engine.model.weights.load import load_model
from engine.precision.convert import check_precision, to_precision
from engine.precision.options import Conversion, QuantisationOptions
from engine.precision.qdq.placement import quantisable
from engine.precision.qdq.writer import write_quantised
from engine.train import run
from engine.train.checkpoints import Checkpoint
from engine.train.folder import RunFolder
from engine.train.judge import Judge, Judgement
from engine.train.loop import Task, Training
from engine.train.quantised.network import QuantisedNetwork
from engine.train.run import Labels, TrainOptions
from engine.train.samples import TrainingSet
from engine.train.settings import TrainSettings
from engine.train.targets.loss import MultiTaskLoss
from tests.engine.train.test_run import labelled, train
from tests.support import graphs
from tests.support.training.quantised import calibrated
from tests.support.training.runs import ALONE, BEGAN, QUICK, SIDE, TINY, drawn_pictures, tiny_network

SETTINGS = replace(QUICK, learning_rate=0.01)


def small_run(folder: Path, seed: int = 1) -> Training:
    """A run of the tiny detector, whose calibration depends on the seed."""
    folder.mkdir(exist_ok=True)
    network = QuantisedNetwork(graphs.CONFIG, calibrated(seed, stem_stride=8))
    samples = TrainingSet(drawn_pictures(folder, 4), graphs.CONFIG, SIDE, 0, augment=False)
    loss = MultiTaskLoss(graphs.CONFIG)
    opened = RunFolder(folder / "run")
    opened.begin(resume=True)
    opened.model.write_bytes(b"weights")
    return Training(Task(network, network, loss, samples, SETTINGS, {}, BEGAN), ALONE, opened, None)


def test_a_resumed_run_ends_with_the_bits_of_one_that_was_never_stopped(tmp_path: Path) -> None:
    """The optimiser's state comes back, and what training began at, too: the second process calibrates otherwise."""
    whole, count = small_run(tmp_path / "whole"), itertools.count()
    assert whole.run(None, lambda: False)
    assert not small_run(tmp_path / "parts").run(None, lambda: next(count) == 0)
    second = small_run(tmp_path / "parts", seed=9)
    second.resume(Checkpoint.read(tmp_path / "parts" / "run" / "last.pth"))
    assert second.run(None, lambda: False)
    assert (tmp_path / "parts/run/int8.npz").read_bytes() == (tmp_path / "whole/run/int8.npz").read_bytes()


def test_an_epoch_has_to_be_better_than_the_beginning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    values = iter([0.5, 0.4, 0.6])
    training = small_run(tmp_path)
    training._task = replace(training._task, began=replace(BEGAN, average_precision=next(values)))
    training._judge = Judge([], graphs.CONFIG, ALONE)
    monkeypatch.setattr(Judge, "judge", lambda *_: Judgement(next(values), (), [], HeadErrors(None, {})))
    written: list[int] = []
    monkeypatch.setattr(RunFolder, "write_best", lambda *_: written.append(training.position.epoch))
    assert training.run(None, lambda: False)
    assert written == [2]
    assert training.best == 0.6


def test_labels_are_learned_with_rounding_in_the_network(tmp_path: Path) -> None:
    settings = replace(SETTINGS, epochs=12, average=0.0, learning_rate=0.5)
    training = small_run(tmp_path)
    training._task = replace(training._task, settings=settings)
    assert training.run(None, lambda: False)
    losses = [record.losses["total"] for record in training.position.records]
    assert losses[-1] < 0.7 * losses[0]


@contextmanager
def _a_signal() -> Iterator[list[int]]:
    yield [15]


def _renamed(network: onnx.ModelProto) -> onnx.ModelProto:
    """A network as the exporter may write it for another input size: other names of nodes and of what they compute."""
    model = onnx.ModelProto()
    model.CopyFrom(network)
    outputs = {value.name for value in model.graph.output}
    for node in model.graph.node:
        node.name = f"again_{node.name}"
        node.output[:] = [name if name in outputs else f"again_{name}" for name in node.output]
    computed = {name for node in model.graph.node for name in node.output}
    for node in model.graph.node:
        node.input[:] = [f"again_{name}" if f"again_{name}" in computed else name for name in node.input]
    return model


@pytest.mark.slow  # an export, and a calibration of a whole network
def test_the_graph_that_is_built_is_the_network_that_was_trained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run is stopped, loses the file of its first weights, and goes on."""
    options = TrainOptions(
        labelled(tmp_path, 6),
        tmp_path / "run",
        validation=labelled(tmp_path, 6),
        config=TINY,
        weights=str(tmp_path / "first.pth"),
        settings=replace(SETTINGS, epochs=1),
        precision="int8",
        device="cpu",
    )
    exported = export_network(tiny_network().eval(), InputSize.fixed(SIDE, SIDE))
    monkeypatch.setattr("engine.train.quantised.start.export_network", lambda *_: exported)  # once: it takes seconds
    monkeypatch.setattr("engine.precision.quantise._SENSITIVITY_CROPS", 1)
    judge, better = Judge.judge, itertools.count(1)

    def judge_better(self: Judge, network: torch.nn.Module, stop: Callable[[], bool] = lambda: False) -> Judgement:
        judgement = judge(self, network)
        assert judgement is not None
        return replace(judgement, average_precision=next(better) / 8)

    monkeypatch.setattr(Judge, "judge", judge_better)
    with monkeypatch.context() as patched:
        patched.setattr(run, "signals_deferred", _a_signal)
        said = train(options)
    assert "average precision before training: 0.1250 in float32, 0.2500 in INT8 as calibrated" in said
    (tmp_path / "first.pth").unlink()
    best: list[QuantisedNetwork] = []
    write = RunFolder.write_best

    def write_seen(folder: RunFolder, network: RetinaFace | QuantisedNetwork) -> None:
        assert isinstance(network, QuantisedNetwork)
        best.append(network)
        write(folder, network)

    monkeypatch.setattr(RunFolder, "write_best", write_seen)
    train(replace(options, resume=True))

    folder = RunFolder(tmp_path / "run")
    first, origin = load_model(TINY, str(folder.model))
    assert all(map(torch.equal, first.state_dict().values(), tiny_network().state_dict().values()))
    quantisation = QuantisationOptions(cache=folder.int8)
    check_precision("int8", quantisation)
    conversion = Conversion(_renamed(exported), TINY, "int8", (SIDE, SIDE), quantisation, str(origin.sha256))
    typed = to_precision(conversion)
    batch = np.random.default_rng(1).normal(0, 60, (2, 3, SIDE, SIDE)).astype(np.float32)
    executed, trained = graphs.run(typed.network, batch), write_quantised(best[-1].graph, best[-1].as_trained())
    for name, head in graphs.run(trained, batch).items():
        np.testing.assert_array_equal(executed[name], head, err_msg=name)

    kept = {layer["name"] for layer in typed.evidence["kept_higher"]}
    assert kept
    assert typed.evidence["convolutions"]["quantised"] == len(set(quantisable(best[-1].graph, INT8)) - kept)
    with pytest.raises(InvalidArgumentError, match="is not calibrated again: leave out the options of calibration"):
        to_precision(replace(conversion, options=replace(quantisation, train_steps=5)))
    with pytest.raises(CalibrationError, match=r"int8\.npz was trained for other weights"):
        to_precision(replace(conversion, weights_sha256="0" * 64))

    photos = replace(quantisation, calib_dir=tmp_path / "pictures")
    measured = to_precision(replace(conversion, options=photos))
    assert measured.network.SerializeToString() == typed.network.SerializeToString()
    assert measured.calibration is not None
    assert (measured.calibration["measured_on"], measured.calibration["fitted_to"]) == (6, 0)
    assert measured.evidence["agreement"]["faces"] == measured.calibration["faces"] > 0
    content = folder.model.read_bytes()
    for damage in (folder.model.unlink, lambda: folder.model.write_bytes(b"other weights"), folder.int8.unlink):
        folder.model.write_bytes(content)
        damage()
        with pytest.raises(InvalidArgumentError, match=r"no model\.pth and int8\.npz that belong together"):
            train(replace(options, resume=True))


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"precision": "int4"}, "precision is 'int4', expected fp32 or int8"),
        ({"fit_anchors": True}, "leave out --anchors auto, or first train with it in float32"),
        ({"backbone": "body.pth", "weights": None}, "leave out --backbone-weights"),
        ({"settings": TrainSettings(freeze="body")}, "leave out --freeze"),
        ({"config": "full"}, "but no cascade"),
    ],
)
def test_what_cannot_be_trained_for_int8_is_refused_first(
    changes: dict[str, Any], expected: str, tmp_path: Path
) -> None:
    nothing = Labels(tmp_path / "none", tmp_path / "none")
    options = TrainOptions(nothing, tmp_path / "run", precision="int8", device="cpu")
    with pytest.raises(InvalidArgumentError, match=expected):
        train(replace(options, **changes))
    assert not (tmp_path / "run").exists()
