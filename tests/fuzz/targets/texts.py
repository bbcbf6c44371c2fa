"""Labels, predictions, results of benchmarks, settings of runs, configurations of models, meshes: text and JSON."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from random import Random
from typing import Any

from engine.bench.analysis.results import read_results
from engine.config.model import RetinaFaceConfig
from engine.config.presets import preset
from engine.evaluate.widerface import files, run
from engine.mesh.obj import read_obj
from engine.pictures.labels import read_labels
from engine.train.labels.reading import read_faces
from tests.fuzz.mutate.content import mutated
from tests.fuzz.mutate.values import mutated_values, to_text
from tests.fuzz.target import Files, FileTarget

POINT = {
    "engine": "a", "load": {"kind": "concurrency", "value": 4}, "batch_limit": 8, "seconds": 2.0,
    "throughput_per_s": 100.5, "latencies_ms": [1.0, 2.5, 3.0], "latency_ms": {"mean": 2.0, "p50": 2.5, "p99": 3.0},
    "answers_per_slice": [10, 11, 9],
}  # fmt: skip
RESULTS = {"schema": 1, "environment": {"gpu": None}, "settings": {"seconds": 2}, "workload": {"pictures": 3},
    "engines": [], "points": [POINT, {**POINT, "engine": "b"}], "verdicts": []}  # fmt: skip
LABELS = [{"image": f"{name}.jpg", "faces": [{"box": [1, 2, 30.5, 40]}, {"box": [5, 6, 7, 8]}]} for name in "ab"]
SQUARE = [[1, 2], [3, 2], [2, 3], [1, 4], [3, 4]]
LANDMARKS = {"image": "a.jpg", "faces": [{"box": [1, 2, 30.5, 40], "landmarks": SQUARE}]}
COCO = {
    "images": [{"id": 1, "file_name": "a.jpg"}, {"id": 2, "file_name": "b.jpg"}],
    "annotations": [
        {"image_id": 1, "category_id": 3, "bbox": [1, 2, 3.5, 4], "iscrowd": 0, "keypoints": [1, 2, 2] * 5},
        {"image_id": 1, "category_id": 4, "bbox": [1, 2, 3, 4], "iscrowd": 1},
    ],
    "categories": [{"id": 3, "name": "face"}, {"id": 4, "name": "hat"}],
}  # fmt: skip
WIDER = "0--Event/a.jpg\n2\n1 2 3 4 0 0 0 0 0 0 \n5 6 7 8 1 0 0 1 2 0 \nb.jpg\n0\n0 0 0 0 0 0 0 0 0 0 \n"
POINTS = (
    "# a.jpg\n1 2 30 40 5.5 6 0.0 9 6 0.0 7 8 1.0 5 9 0.0 9 9 0.0 0.82\n1 2 3 4"
    + " -1" * 15
    + " 0.3\n# b.jpg\n1 2 3 4\n"
)
VOC = """<annotation><filename>a.jpg</filename>
<object><name>face</name><difficult>1</difficult>
<bndbox><xmin>1</xmin><ymin>2</ymin><xmax>3.5</xmax><ymax>4</ymax></bndbox></object></annotation>"""
MESH = "v 0 0 0 0.5 1 1\nv 1 0 0\nv 0 1e0 0\nvn 0 0 1\nf 1/1/1 2//1 3/1\nv 1 1 0\nf -2 -3 -1\n"
RUN = {"engine_sha256": "0" * 64, "scale_rule": "vga", "score_threshold": 0.02}
PREDICTIONS = "0_Event_1.jpg\n2\n10.00 20.00 30.00 40.00 0.900000\n1.50 2.50 3.00 4.00 0.100000\n"


@dataclass(frozen=True)
class Kind:
    """A kind of text.

    Attributes:
        name: of the file.
        text: one that is right.
        read: what the product does with it.
    """

    name: str
    text: str
    read: Callable[[Path], object]


def _predictions(path: Path) -> object:
    return files.read_predictions(path.parents[1], ["0--Event/0_Event_1"])


def _faces(path: Path) -> object:
    return read_faces(path, ["a.jpg", "b.jpg"], lambda _: None)


def _claim(path: Path) -> None:
    run._claim(path.parent / "predictions", [], dict(RUN))


KINDS = (
    Kind("labels.jsonl", "\n".join(map(json.dumps, LABELS)), read_labels),
    Kind("landmarks.jsonl", json.dumps(LANDMARKS), _faces),
    Kind("coco.json", json.dumps(COCO), _faces),
    Kind("wider.txt", WIDER, _faces),
    Kind("points.txt", POINTS, _faces),
    Kind("voc/a.xml", VOC, lambda path: _faces(path.parent)),
    Kind("results.json", json.dumps(RESULTS), read_results),
    Kind("predictions.run.json", json.dumps(RUN), _claim),
    Kind("0--Event/0_Event_1.txt", PREDICTIONS, _predictions),
    Kind("mesh.obj", MESH, read_obj),
)


class Texts(FileTarget):
    """Texts that are changed as JSON or as bytes, and configurations."""

    def __init__(self, folder: Path) -> None:
        """Write texts to a folder."""
        super().__init__(folder)
        for name in ("0--Event", "voc"):
            (folder / name).mkdir()
        self._kinds = {kind.name: kind for kind in KINDS}
        self.named = tuple(str(folder / kind.name) for kind in KINDS)

    def make(self, random: Random) -> Files:
        """Return one text."""
        kind = random.choice(KINDS)
        text = kind.text
        if "{" in text and random.random() < 0.7:
            lines = text.split("\n")
            at = random.randrange(len(lines))
            lines[at] = to_text(mutated_values(json.loads(lines[at]), random))
            text = "\n".join(lines)
        content = text.encode()
        if random.random() < 0.3:
            content = mutated(content, random, [other.text.encode() for other in KINDS])
        return {kind.name: content}

    def read(self, made: Files) -> None:
        """Read the text."""
        (name,) = made
        self._kinds[name].read(self.folder / name)


class Configurations(FileTarget):
    """Configurations of models, which are part of sidecars."""

    def __init__(self, folder: Path) -> None:
        """Take all presets for a start."""
        super().__init__(folder)
        self._presets = [
            json.loads(json.dumps(asdict(preset(name)))) for name in ("mobilenet0.25", "full", "resnet18-lite")
        ]

    def make(self, random: Random) -> Files:
        """Return a changed preset."""
        return {"config.json": to_text(mutated_values(random.choice(self._presets), random)).encode()}

    def read(self, made: Files) -> None:
        """Read it, and count its anchors."""
        try:
            values: Any = json.loads(made["config.json"])
        except RecursionError:  # nested too deep for this reader, which is not the product's
            return
        config = RetinaFaceConfig.from_dict(values)
        config.check_input_size(*config.input_size)
