"""A process of distributed training: `python -m tests.support.training.gradients FOLDER` as torchrun starts it.

FOLDER gets a file of gradients for each of PRECISIONS, and the run of `float32`.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import torch

from engine.errors import InvalidArgumentError
from engine.train.distributed import Processes, joined
from engine.train.labels.labelled import LabelledPicture
from engine.train.loop import Task
from engine.train.quantised.network import QuantisedNetwork
from engine.train.samples import TrainingSet, collate
from engine.train.samples.batch import Normaliser
from engine.train.targets.loss import MultiTaskLoss
from tests.support import graphs
from tests.support.training.quantised import calibrated
from tests.support.training.runs import QUICK, SIDE, drawn_pictures, tiny_task, tiny_training

PRECISIONS = ("float32", "int8")
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
    pictures[0] = replace(
        first, boxes=boxes, landmarks=landmarks, ignored=first.ignored.repeat(3), classes=first.classes.repeat(3)
    )
    arrays = ("boxes", "landmarks", "ignored", "classes")
    pictures[1] = replace(second, **{name: getattr(second, name)[:0] for name in arrays})
    return pictures


def learn(processes: Processes, folder: Path) -> None:
    """Write the gradients of a batch of all pictures in both precisions, and train in float32 for a few steps."""
    pictures = uneven_pictures(folder / f"pictures{processes.rank}")
    task = tiny_task(pictures, SETTINGS, augment=False, processes=processes)
    given = {"float32": _gradients(processes, task), "int8": _gradients(processes, _quantised(processes, task))}
    if not processes.rank:
        for precision in PRECISIONS:
            torch.save(given[precision], folder / f"{precision}.pth")
    assert tiny_training(folder / "run", task, judged=True, processes=processes).run(None, lambda: False)


def _quantised(processes: Processes, task: Task) -> Task:
    """A task for the tiny detector in INT8, on the same pictures, as the first process calibrated it.

    It computes in float64: in float32, sums in another order move values near ties to another integer.
    """
    network = QuantisedNetwork(graphs.CONFIG, processes.of_first(lambda: calibrated(1, stem_stride=8))).double()
    samples = TrainingSet(task.samples.pictures, graphs.CONFIG, SIDE, 0, augment=False)
    loss = MultiTaskLoss(graphs.CONFIG, positives_of_all=processes.mean)
    return replace(task, network=network, trained=network, samples=samples, loss=loss)


def _gradients(processes: Processes, task: Task) -> dict[str, torch.Tensor]:
    model = processes.parallel(processes.synchronised(task.trained)).eval()
    batch = collate([task.samples[i] for i in range(processes.rank, COUNT, processes.count)])
    images = Normaliser(task.network.config, processes.device)(batch.images)
    dtype = next(task.trained.parameters()).dtype
    task.loss(model(images.to(dtype)), batch).total.backward()
    return {name: p.grad.clone() for name, p in task.trained.named_parameters() if p.grad is not None}


def _refuse(processes: Processes) -> None:
    raise InvalidArgumentError(f"of {processes.rank}")


def main(folder: Path) -> None:
    """Learn together with the other processes."""
    torch.set_num_threads(1)
    with joined("cpu") as processes:
        assert processes.of_first(lambda: ("rank", processes.rank)) == ("rank", 0)
        try:
            processes.of_first(lambda: _refuse(processes))
        except InvalidArgumentError as error:
            assert str(error) == "of 0"  # noqa: PT017  # in a process of its own
        else:
            raise AssertionError("each process should raise the first one's error")
        learn(processes, folder)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
