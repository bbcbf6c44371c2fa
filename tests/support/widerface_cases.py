"""Makes ground truth and predictions, and writes WIDER FACE's files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from engine.evaluate.widerface.files import SUBSETS, GroundTruth

Floats = NDArray[np.float64]


def random_truth(rng: np.random.Generator, images: int, most_faces: int = 12) -> GroundTruth:
    """Return images with random, partly overlapping faces; every third has none. The subsets differ in size."""
    boxes = []
    for i in range(images):
        count = 0 if i % 3 == 2 else int(rng.integers(1, most_faces))
        boxes.append(np.floor(np.concatenate([rng.uniform(0, 150, (count, 2)), rng.uniform(3, 60, (count, 2))], 1)))
    subsets = {
        name: tuple(rng.random(len(faces)) < share for faces in boxes)
        for name, share in zip(SUBSETS, (0.3, 0.6, 0.95), strict=True)
    }
    names = tuple(f"{i % 4}--Event/{i % 4}_Event_{i}" for i in range(images))
    return GroundTruth(names, tuple(boxes), subsets)


def predicted(truth: GroundTruth, random: np.random.RandomState, junk: int = 12, shuffled: float = 0.2) -> list[Floats]:
    """Return predictions: most faces with noise, some of them twice, and up to `junk` - 1 random boxes.

    They are sorted by score, except in a share `shuffled` of the images. RandomState gives the same numbers in every
    version of NumPy, so that tests can store results.
    """
    images = []
    for boxes in truth.boxes:
        found = boxes[random.random_sample(len(boxes)) < 0.85]
        moved = found + random.normal(0, 0.1, found.shape) * np.maximum(found[:, [2, 3, 2, 3]], 1)
        twice = found[random.random_sample(len(found)) < 0.1] + 1
        count = random.randint(0, junk)
        anywhere = np.concatenate([random.uniform(0, 900, (count, 2)), random.uniform(4, 90, (count, 2))], 1)
        scores = np.concatenate([random.beta(5, 2, len(moved) + len(twice)), random.beta(1, 4, count)])
        order = random.permutation(len(scores)) if random.random_sample() < shuffled else np.argsort(-scores)
        rows = np.concatenate([np.concatenate([moved, twice, anywhere]), scores[:, None]], 1)[order]
        images.append(rows.round(3))
    return images


def write_truth(folder: Path, truth: GroundTruth) -> None:
    """Write the ground truth as WIDER FACE's four .mat files."""
    events = list(dict.fromkeys(name.split("/")[0] for name in truth.names))
    members = [[i for i, name in enumerate(truth.names) if name.split("/")[0] == event] for event in events]
    folder.mkdir(parents=True, exist_ok=True)
    write_mat(
        folder / "wider_face_val.mat",
        {
            "event_list": cells(events),
            "file_list": cells([cells([truth.names[i].split("/")[1] for i in group]) for group in members]),
            "face_bbx_list": cells([cells([truth.boxes[i] for i in group]) for group in members]),
        },
    )
    for name, kept in truth.subsets.items():
        indices = [cells([np.flatnonzero(kept[i])[:, None] + 1 for i in group]) for group in members]
        write_mat(folder / f"wider_{name}_val.mat", {"gt_list": cells(indices)})


def write_mat(path: Path, variables: Mapping[str, Any]) -> None:
    """Write a .mat file."""
    pytest.importorskip("scipy.io").savemat(path, dict(variables))


def cells(values: Sequence[Any]) -> NDArray[np.object_]:
    """Return a column of MATLAB cells."""
    cells = np.empty((len(values), 1), object)
    for i, value in enumerate(values):
        cells[i, 0] = value
    return cells
