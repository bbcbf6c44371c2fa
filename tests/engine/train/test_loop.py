"""The training loop: what it learns, where it stops, and what it goes on from."""

from __future__ import annotations

import errno
import itertools
import os
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from engine.errors import InvalidArgumentError, OutputError, TrainingError
from engine.model.weights.load import load_model
from engine.train.checkpoints import Checkpoint
from engine.train.labels.labelled import LabelledPicture
from engine.train.loop import Training
from tests.support.training.runs import QUICK, TINY, drawn_pictures, tiny_network, tiny_task, tiny_training

Tensors = dict[str, torch.Tensor]


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> list[LabelledPicture]:
    """Five pictures, of which an epoch of batches of two leaves one out."""
    return drawn_pictures(tmp_path_factory.mktemp("pictures"), 5)


def state_of(training: Training) -> Tensors:
    """All numbers of a run by name."""
    checkpoint = Checkpoint.read(training._folder.last)
    parts = {"used": checkpoint.used, "trained": checkpoint.trained, "optimiser": checkpoint.optimiser}
    return {f"{part}.{name}": value for part, values in parts.items() for name, value in values.items()}


@pytest.mark.parametrize("steps", [1, 3, 5])
def test_a_resumed_run_ends_with_the_bits_of_one_that_was_never_stopped(
    tmp_path: Path, pictures: list[LabelledPicture], steps: int
) -> None:
    """Stopped within the first epoch, at its end while judging, and within the second."""
    whole = tiny_training(tmp_path / "whole", tiny_task(pictures), judged=True)
    assert whole.run(None, lambda: False)

    count = itertools.count()
    first = tiny_training(tmp_path / "parts", tiny_task(pictures), judged=True)
    assert not first.run(None, lambda: next(count) >= steps - 1)
    path = tmp_path / "parts" / "last.pth"
    second = tiny_training(tmp_path / "parts", tiny_task(pictures), judged=True)
    second.resume(Checkpoint.read(path))
    assert 0 < second.done < whole.steps
    assert second.run(None, lambda: False)

    ours, theirs = state_of(second), state_of(whole)
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    assert second.position == whole.position
    assert (tmp_path / "parts" / "model.pth").read_bytes() == (tmp_path / "whole" / "model.pth").read_bytes()


def test_frozen_layers_keep_their_bits_and_the_others_do_not(tmp_path: Path, pictures: list[LabelledPicture]) -> None:
    training = tiny_training(tmp_path, tiny_task(pictures, replace(QUICK, freeze="body")))
    assert training.run(None, lambda: False)
    before, after = tiny_network().state_dict(), load_model(TINY, str(tmp_path / "model.pth"))[0].state_dict()
    counters = {name for name in before if "num_batches" in name}
    same = {name for name in before.keys() - counters if torch.equal(before[name], after[name])}
    assert {name for name in before.keys() - counters if name.startswith("body.")} <= same
    assert "fpn.merge1.0.weight" not in same


def test_a_run_learns_its_pictures(tmp_path: Path, pictures: list[LabelledPicture]) -> None:
    settings = replace(QUICK, epochs=3, learning_rate=0.1)
    training = tiny_training(tmp_path, tiny_task(pictures[:2] * 12, settings, augment=False))
    assert training.run(None, lambda: False)
    first, last = training.position.records[0].losses["total"], training.position.records[-1].losses["total"]
    assert last < 0.5 * first
    assert set(training.position.records[0].losses) == {"total", "classes", "boxes", "landmarks"}


def test_a_loss_that_is_not_finite_names_the_pictures_and_keeps_the_checkpoint(
    tmp_path: Path, pictures: list[LabelledPicture]
) -> None:
    training = tiny_training(tmp_path, tiny_task(pictures))
    count = itertools.count()

    def break_second_epoch() -> bool:
        if next(count) == training.steps_per_epoch:
            with torch.no_grad():
                training._task.network.get_parameter("BboxHead.0.conv1x1.weight").fill_(torch.nan)
        return False

    with pytest.raises(TrainingError, match=r"loss is not finite in epoch 2, step 1 \(total nan, ") as caught:
        training.run(None, break_second_epoch)
    names = [p.path.name for p in pictures if str(p.path) in str(caught.value)]
    assert len(names) == QUICK.batch
    assert Checkpoint.read(tmp_path / "last.pth").position.epoch == 1


def _mixed_training(tmp_path: Path, pictures: list[LabelledPicture]) -> Training:
    """A run that scales its loss, as on a GPU; its autocast is the CPU's."""
    training = tiny_training(tmp_path, tiny_task(pictures, replace(QUICK, epochs=20)))
    training._mixed, training._scaler = True, torch.amp.GradScaler("cpu", init_scale=1.0)
    return training


def _overflow_in(training: Training, steps: set[int]) -> None:
    weight = training._task.network.get_parameter("BboxHead.0.conv1x1.weight")
    weight.register_hook(  # type: ignore[no-untyped-call]
        lambda gradient: gradient * torch.inf if training.done in steps else gradient
    )


def test_mixed_precision_that_overflows_for_ever_names_the_pictures(
    tmp_path: Path, pictures: list[LabelledPicture], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("engine.train.loop._MOST_SKIPPED", 6)
    training = _mixed_training(tmp_path, pictures)
    _overflow_in(training, set(range(1, 40)))
    with pytest.raises(
        TrainingError, match=r"in 7 steps in a row.* the norm of the gradients is not finite in epoch 4, step 2 \(norm "
    ) as caught:
        training.run(None, lambda: False)
    assert "scale of the loss 0.015625;" in str(caught.value)  # six of the seven halvings
    assert sum(str(picture.path) in str(caught.value) for picture in pictures) == QUICK.batch


def test_mixed_precision_that_overflows_now_and_then_goes_on(
    tmp_path: Path, pictures: list[LabelledPicture], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("engine.train.loop._MOST_SKIPPED", 2)
    training = _mixed_training(tmp_path, pictures)
    _overflow_in(training, {1, 2, 4, 5, 7, 8})
    assert not training.run(None, lambda: training.done >= 9)


def test_a_full_disk_is_said_and_the_checkpoint_before_is_whole(
    tmp_path: Path, pictures: list[LabelledPicture], monkeypatch: pytest.MonkeyPatch
) -> None:
    training = tiny_training(tmp_path, tiny_task(pictures))
    count = itertools.count()
    assert not training.run(None, lambda: next(count) >= 0)
    before = (tmp_path / "last.pth").read_bytes()

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    monkeypatch.setattr("engine.train.loop._CHECKPOINT_EVERY_S", 0.0)
    with pytest.raises(OutputError, match=r"last\.pth: No space left"):
        training.run(None, lambda: False)
    assert (tmp_path / "last.pth").read_bytes() == before
    assert Checkpoint.read(tmp_path / "last.pth").position.step == 1


def test_fewer_pictures_than_a_batch_are_refused(tmp_path: Path, pictures: list[LabelledPicture]) -> None:
    with pytest.raises(InvalidArgumentError, match="there are 1 pictures to train on, fewer than the batch of 2"):
        tiny_training(tmp_path, tiny_task(pictures[:1]))
