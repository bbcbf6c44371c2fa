"""Checkpoints: what they hold, and what is refused."""

from __future__ import annotations

import pickle
import zipfile
from dataclasses import asdict
from pathlib import Path

import pytest
import torch

from engine.config.reader import read_dataclass
from engine.errors import InvalidArgumentError, TrainingError
from engine.metrics.classes import ClassTable
from engine.metrics.heads import HeadErrors
from engine.metrics.spread import Spread
from engine.model.weights.load import load_model
from engine.train.checkpoints import Checkpoint, EpochRecord, Position, restore
from engine.train.folder import digest_of
from tests.support.training.runs import BEGAN, TINY, drawn_pictures, tiny_network

MADE_WITH = {"config": TINY.to_dict(), "batch": 8, "learning_rate": 0.1}


def checkpoint() -> Checkpoint:
    """A checkpoint of random weights."""
    state = tiny_network().state_dict()
    errors = Spread(3, *(value / 3 for value in range(1, 9)))
    table = ClassTable(("a", "b"), ((3, 1), (0, 2)), (0, 4))
    records = (
        EpochRecord(1, 0.1 / 3, {"total": 1 / 3}, 0.25, (None, 0.5)),
        EpochRecord(
            2, 0.1, {"total": 0.5}, classes=table, head_errors=HeadErrors(errors, {"age": None, "pose": errors})
        ),
    )
    position = Position(2, 3, {"total": 2 / 3}, records)
    ones = {"a": torch.ones(2) / 3}
    return Checkpoint(MADE_WITH, BEGAN, position, state, 5, state, ones, 1024.0, ones)


def test_a_checkpoint_comes_back_to_the_bit(tmp_path: Path) -> None:
    written = checkpoint()
    written.write(tmp_path / "last.pth")
    read = Checkpoint.read(tmp_path / "last.pth")
    for name in ("began", "position", "updates", "scale"):
        assert getattr(read, name) == getattr(written, name)
    for part in ("used", "trained", "optimiser", "first"):
        ours, theirs = getattr(read, part), getattr(written, part)
        assert ours.keys() == theirs.keys()
        assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    read.check(MADE_WITH, tmp_path)


def test_records_without_errors_of_heads_can_be_read() -> None:
    record = asdict(EpochRecord(1, 0.1, {"total": 1.0}, 0.25))
    del record["head_errors"]
    assert read_dataclass(EpochRecord, record).head_errors is None


def test_build_takes_a_checkpoint_for_weights(tmp_path: Path) -> None:
    checkpoint().write(tmp_path / "last.pth")
    model, _ = load_model(TINY, str(tmp_path / "last.pth"))
    name = "BboxHead.0.conv1x1.weight"
    assert torch.equal(model.get_parameter(name), tiny_network().get_parameter(name))


def test_another_run_s_checkpoint_is_refused_by_the_name_of_what_differs(tmp_path: Path) -> None:
    path = tmp_path / "last.pth"
    with pytest.raises(InvalidArgumentError, match=r"last\.pth was made with batch 8, this run has 16: "):
        checkpoint().check({**MADE_WITH, "batch": 16}, path)
    with pytest.raises(InvalidArgumentError, match="was made with seed None, this run has 1: "):
        checkpoint().check({**MADE_WITH, "seed": 1}, path)
    with pytest.raises(InvalidArgumentError, match=r"was made with config\.fpn_channels 8, this run has 12"):
        checkpoint().check({**MADE_WITH, "config": {**TINY.to_dict(), "fpn_channels": 12}}, path)


class Harm:
    """What would be executed by a reader that makes objects."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        """Make a file when it is unpickled."""
        return (Path.touch, (Path("harmed"),))  # type: ignore[return-value]


def test_nothing_in_a_checkpoint_is_executed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "last.pth"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(
            "last/data.pkl",
            pickle.dumps({"state_dict": Harm(), "trained": {}, "optimiser": {}, "first": {}, "about": ""}),
        )
    with pytest.raises(TrainingError, match="is no checkpoint of a training run, or damaged"):
        Checkpoint.read(path)
    assert not Path("harmed").exists()


def test_damaged_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "last.pth"
    checkpoint().write(path)
    whole = path.read_bytes()
    for damaged in (b"", whole[: len(whole) // 2], whole.replace(b'"epoch": 2', b'"epoch": x'), b"text"):
        path.write_bytes(damaged)
        with pytest.raises(TrainingError, match=r"last\.pth is no checkpoint"):
            Checkpoint.read(path)
    torch.save(tiny_network().state_dict(), path)
    with pytest.raises(TrainingError, match="is no checkpoint of a training run"):
        Checkpoint.read(path)
    with pytest.raises(TrainingError, match=r"none\.pth cannot be read: No such file"):
        Checkpoint.read(tmp_path / "none.pth")


def test_tensors_of_another_shape_are_named() -> None:
    network = tiny_network()
    state = {**network.state_dict(), "ClassHead.0.conv1x1.bias": torch.zeros(3)}
    with pytest.raises(TrainingError, match=r"the model has ClassHead\.0\.conv1x1\.bias of shape torch\.Size\(\[3\]\)"):
        restore(network, state, "the model")


def test_a_digest_is_of_names_and_labels(tmp_path: Path) -> None:
    pictures = drawn_pictures(tmp_path, 2)
    digest = digest_of(pictures)
    assert digest == digest_of(drawn_pictures(tmp_path, 2))
    pictures[1].landmarks[0, 0, 0] += 1
    assert digest != digest_of(pictures)
    assert digest != digest_of(drawn_pictures(tmp_path, 1))
    digest = digest_of(pictures)
    pictures[1].classes[0] += 1
    assert digest != digest_of(pictures)
