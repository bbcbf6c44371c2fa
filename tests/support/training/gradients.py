"""A process of distributed training: `python -m tests.support.training.gradients FOLDER` as torchrun starts it."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import torch

from engine.errors import InvalidArgumentError
from engine.train.distributed import Processes, joined
from engine.train.labels.labelled import LabelledPicture
from engine.train.samples import collate
from engine.train.samples.batch import Normaliser
from tests.support.training.runs import QUICK, TINY, drawn_pictures, tiny_task, tiny_training

COUNT = 4
# Without batch normalisations in training: on CPUs each process has statistics of its own.
SETTINGS = replace(QUICK, batch=COUNT, freeze="all-but-heads")


def uneven_pictures(folder: Path) -> list[LabelledPicture]:
    """Pictures of which the first has many more faces than the others, and the second has none."""
    folder.mkdir(exist_ok=True)
    pictures = drawn_pictures(folder, COUNT)
    first, second = pictures[0], pictures[1]
    many = [first.boxes + shift for shift in (-3, 0, 3)], [first.landmarks + shift for shift in (-3, 0, 3)]
    boxes, landmarks = (torch.cat([torch.from_numpy(v) for v in values]).numpy() for values in many)
    pictures[0] = replace(first, boxes=boxes, landmarks=landmarks, ignored=first.ignored.repeat(3))
    pictures[1] = replace(second, boxes=second.boxes[:0], landmarks=second.landmarks[:0], ignored=second.ignored[:0])
    return pictures


def train(processes: Processes, folder: Path) -> dict[str, torch.Tensor]:
    """Return the gradients of a batch of all pictures, then train for a few steps."""
    pictures = uneven_pictures(folder / f"pictures{processes.rank}")
    task = tiny_task(pictures, SETTINGS, augment=False, processes=processes)
    model = processes.parallel(processes.synchronised(task.trained)).eval()
    batch = collate([task.samples[i] for i in range(processes.rank, COUNT, processes.count)])
    task.loss(model(Normaliser(TINY, processes.device)(batch.images)), batch).total.backward()
    gradients = {name: p.grad.clone() for name, p in task.trained.named_parameters() if p.grad is not None}
    assert tiny_training(folder / "run", task, judged=True, processes=processes).run(None, lambda: False)
    return gradients


def _refuse(processes: Processes) -> None:
    raise InvalidArgumentError(f"of {processes.rank}")


def main(folder: Path) -> None:
    """Train, and write the gradients in the first process."""
    torch.set_num_threads(1)
    with joined("cpu") as processes:
        assert processes.of_first(lambda: ("rank", processes.rank)) == ("rank", 0)
        try:
            processes.of_first(lambda: _refuse(processes))
        except InvalidArgumentError as error:
            assert str(error) == "of 0"  # noqa: PT017  # in a process of its own
        else:
            raise AssertionError("each process should raise the first one's error")
        gradients = train(processes, folder)
        if not processes.rank:
            torch.save(gradients, folder / "gradients.pth")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
