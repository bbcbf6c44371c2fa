"""The page of a run: curves, and pictures with what is labelled and what is found."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray

from engine.errors import InvalidArgumentError
from engine.evaluate.report.figures import new_figure, png
from engine.evaluate.report.page import figure, page, table
from engine.faces import Detections
from engine.images import read_image
from engine.metrics.average_precision import SIZE_BINS
from engine.metrics.spread import Spread
from engine.train.checkpoints import EpochRecord
from engine.train.labels.labelled import LabelledPicture
from engine.types import DEFAULT_SCORE_THRESHOLD, FloatArray, Image

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from engine.train.samples import TrainingSet

_SIDE = 320  # of a picture on the page, in pixels
_LABELLED, _IGNORED, _FOUND = (80, 200, 60), (160, 160, 160), (200, 60, 230)
_SHOWN = 8  # pictures of each kind
_KEY = "<p>Green: labelled faces. Grey: ignored ones. Magenta: what is found at a score of .5.</p>"

_Layer = tuple[FloatArray, FloatArray | None, tuple[int, int, int]]  # boxes, landmarks, colour


def training_page(
    title: str, records: Sequence[EpochRecord], settings: Sequence[tuple[str, str]], pictures: Sequence[str]
) -> bytes:
    """Return the page as HTML.

    Args:
        title: of the page.
        records: of the epochs that are over.
        settings: names and values.
        pictures: HTML of the pictures, from `samples` and `validation`.
    """
    parts = [figure(name, "image/png", png(drawn)) for name, drawn in _curves(records).items()]
    parts += ["<h2>Epochs</h2>", _epochs(records), *_classes(records), *_errors(records)]
    parts += ["<h2>Pictures</h2>", _KEY, *pictures]
    parts += ["<h2>Settings</h2>", table(("setting", "value"), settings)]
    return page(title, parts).encode()


def samples(training: TrainingSet) -> list[str]:
    """Return HTML of training samples as the network sees them, with their labels in green, ignored faces in grey."""
    shown = []
    for index in range(min(_SHOWN, len(training))):
        sample = training[index]
        pixels = np.asarray(sample.image).transpose(1, 2, 0)
        image = pixels if training.config.color_order == "bgr" else pixels[..., ::-1]
        labels = (np.asarray(sample.boxes), np.asarray(sample.landmarks), np.asarray(sample.ignored))
        drawn = _drawn(np.ascontiguousarray(image), _labelled(*labels))
        shown.append(figure(f"sample of {training.pictures[index].path.name}", "image/jpeg", drawn))
    return ["<h3>Training samples</h3>", *shown]


def validation(pictures: Sequence[LabelledPicture], faces: Sequence[Detections]) -> list[str]:
    """Return HTML of validation pictures: labels as in `samples`, what is found at a score of .5 in magenta."""
    shown = []
    for picture, found in list(zip(pictures, faces, strict=True))[:_SHOWN]:
        try:
            image = read_image(picture.path)
        except InvalidArgumentError:  # it was judged, and is gone by now
            continue
        sure = found.above(DEFAULT_SCORE_THRESHOLD)
        layers = _labelled(picture.boxes, picture.landmarks, picture.ignored)
        layers.append((sure.boxes, sure.landmarks, _FOUND))
        caption = f"{picture.path.name}: {len(picture.boxes)} labelled, {len(sure)} found"
        shown.append(figure(caption, "image/jpeg", _drawn(image, layers)))
    return ["<h3>Validation pictures</h3>", *shown]


def _labelled(boxes: FloatArray, landmarks: FloatArray, ignored: NDArray[np.bool_]) -> list[_Layer]:
    return [(boxes[ignored], None, _IGNORED), (boxes[~ignored], landmarks[~ignored], _LABELLED)]


def _curves(records: Sequence[EpochRecord]) -> dict[str, Figure]:
    losses, (axes,) = new_figure(1)
    epochs = [record.epoch for record in records]
    for name in records[0].losses if records else ():
        axes.plot(epochs, [record.losses[name] for record in records], marker=".", label=name)
    axes.set(xlabel="epoch", ylabel="mean loss", ylim=(0, None))
    _over_epochs(axes, len(records))
    if records:
        axes.legend(fontsize=8)
    figures = {"Loss": losses}
    judged = [record for record in records if record.average_precision is not None]
    if judged:
        figures["Average precision on the validation labels"] = _precision(judged)
    return figures


def _precision(judged: Sequence[EpochRecord]) -> Figure:
    drawn, (axes,) = new_figure(1)
    epochs = [record.epoch for record in judged]
    axes.plot(
        epochs, [record.average_precision or 0.0 for record in judged], linewidth=2, marker=".", label="all faces"
    )
    for i, (low, high) in enumerate(SIZE_BINS):
        values = [record.by_size[i] for record in judged]
        if any(value is not None for value in values):
            label = f"{low:g}-{high:g} pixels"
            axes.plot(epochs, [v or 0.0 for v in values], linewidth=0.8, marker=".", label=label)
    axes.set(xlabel="epoch", ylabel="average precision", ylim=(0, 1.02))
    _over_epochs(axes, epochs[-1])
    axes.legend(fontsize=8)
    return drawn


def _over_epochs(axes: Axes, last: int) -> None:
    from matplotlib.ticker import MaxNLocator

    axes.set_xlim(0.5, max(last, 1) + 0.5)
    axes.grid(alpha=0.3)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))


def _epochs(records: Sequence[EpochRecord]) -> str:
    names = list(records[0].losses) if records else []
    header = ["epoch", "learning rate", *names, "AP", *(f"AP {low:g}-{high:g}" for low, high in SIZE_BINS)]
    lines = []
    for record in records:
        values = [record.average_precision, *record.by_size, *[None] * (len(SIZE_BINS) - len(record.by_size))]
        shown = ["" if value is None else f"{value:.3f}" for value in values]
        losses = [f"{record.losses[name]:.4f}" for name in names]
        lines.append([str(record.epoch), f"{record.learning_rate:.3g}", *losses, *shown])
    return table(header, lines)


def _classes(records: Sequence[EpochRecord]) -> list[str]:
    """Return HTML of the classes that were judged last, and of the part that is right after each epoch."""
    judged = [(record.epoch, record.classes) for record in records if record.classes is not None]
    if not judged:
        return []
    epoch, last = judged[-1]
    right = [[str(at), "" if found.accuracy is None else f"{found.accuracy:.3f}"] for at, found in judged]
    return [
        f"<h2>Classes</h2><p>Of the faces of each class, found at a score of .5 after epoch {epoch}:</p>",
        table(["labelled as", *(f"found as {name}" for name in last.names), "not found"], last.rows()),
        table(["epoch", "classes right, of the faces that were found"], right),
    ]


def _errors(records: Sequence[EpochRecord]) -> list[str]:
    """Return HTML of the errors of points and values after each epoch."""
    judged = {record.epoch: record.head_errors.known for record in records if record.head_errors is not None}
    names = list(dict.fromkeys(name for errors in judged.values() for name in errors))
    if not names:
        return []
    lines = [[str(epoch), *(_error(errors.get(name)) for name in names)] for epoch, errors in judged.items()]
    text = (
        "<p>Mean and 95 % quantile over the labelled faces that were found at a score of .5. Of landmarks: the mean "
        "distance divided by the square root of the labelled box's area; of values: the mean absolute error.</p>"
    )
    return ["<h2>Points and values</h2>", text, table(["epoch", *names], lines)]


def _error(error: Spread | None) -> str:
    return "" if error is None else f"{error.mean:.4g} / {error.p95:.4g} of {error.count} faces"


def _drawn(image: Image, layers: Sequence[_Layer]) -> bytes:
    """Return a small JPEG picture with boxes and landmarks."""
    scale = min(1.0, _SIDE / max(image.shape[:2]))
    small = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    canvas = np.ascontiguousarray(small, np.uint8)
    for boxes, landmarks, colour in layers:
        for box in np.clip(boxes * scale, -1e4, 1e4):
            x1, y1, x2, y2 = np.rint(box).astype(int).tolist()
            cv2.rectangle(canvas, (x1, y1), (x2, y2), colour, 1, cv2.LINE_AA)
        for x, y in () if landmarks is None else np.clip(landmarks.reshape(-1, 2) * scale, -1e4, 1e4):
            if not np.isnan(x):
                cv2.circle(canvas, (round(float(x)), round(float(y))), 1, colour, -1, cv2.LINE_AA)
    return cv2.imencode(".jpg", canvas)[1].tobytes()
