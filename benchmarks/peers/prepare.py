"""Writes the same weights in the format that each peer reads, and builds our engines."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from benchmarks.peers.adapters import Setup
from engine.build.pipeline import BuildOptions, build_engine
from engine.config.presets import preset
from engine.images import read_image
from engine.model.weights.fetch import read_known
from engine.model.weights.known import KNOWN_WEIGHTS
from engine.model.weights.load import load_model
from engine.pictures.compose import compose
from engine.pictures.faces import LabelledImage
from engine.precision.options import QuantisationOptions

_MODEL = "mobilenet0.25"
_SIZE = 640
_PICTURES = 50


@dataclass(frozen=True)
class Prepared:
    """The folder with the prepared files."""

    folder: Path

    def setup(self, engine: tuple[str, str] | None, threads: int) -> Setup:
        """Return the setup of a worker; `engine` is (precision, device) of one of our engines, None for a peer."""
        ours = "" if engine is None else f"{self.folder / engine[0]}.engine@{engine[1]}"
        weights, state_dict, traced = (str(self.folder / name) for name in ("weights.onnx", "weights.pth", "traced.pt"))
        return Setup(weights, state_dict, traced, ours, threads)


def prepare(folder: Path, photos: Path | None) -> Prepared:
    """Write the missing files into `folder`.

    Calibrates the INT8 engine on the photos, or on generated pictures if `photos` is None.
    """
    folder.mkdir(parents=True, exist_ok=True)
    prepared = Prepared(folder.absolute())
    if not (folder / "traced.pt").is_file():
        _write_weights(folder)
    for precision in ("fp32", "fp16", "bf16", "int8"):
        path = folder / f"{precision}.engine"
        quantised = precision == "int8"
        # An INT8 engine of an earlier run may have been calibrated on other pictures.
        if quantised or not path.is_file():
            options = QuantisationOptions(photos or _generated(folder)) if quantised else QuantisationOptions()
            build_engine(BuildOptions(precision=precision, quantisation=options, output=path))
    return prepared


def _generated(folder: Path) -> Path:
    """Make pictures with the one face of scikit-image's photo; photos with many faces calibrate better."""
    import cv2
    import numpy as np
    import skimage.data

    photo = read_image(Path(skimage.data.__file__).parent / "astronaut.png")
    face = LabelledImage(photo, np.array([[178.0, 56.0, 271.0, 178.0]]))
    pictures = folder / "calibration"
    pictures.mkdir(exist_ok=True)
    for i, picture in enumerate(compose([face], (), _PICTURES, (_SIZE, _SIZE))):
        cv2.imwrite(str(pictures / f"{i:03}.png"), picture.image)
    return pictures


def _write_weights(folder: Path) -> None:
    import torch

    (folder / "weights.onnx").write_bytes(read_known(KNOWN_WEIGHTS[_MODEL]))
    model, _ = load_model(preset(_MODEL))
    torch.save(model.state_dict(), folder / "weights.pth")

    class Flat(torch.nn.Module):
        """The network with the outputs of all levels concatenated, as the usual pipeline expects them."""

        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, ...]:
            """Return box deltas, logits and landmark deltas, [N, A, ...]."""
            heads = self.model(images)
            kinds = model.config.head_kinds()
            flat = []
            for kind, width in (("box_deltas", 4), ("logits", 2), ("landmark_deltas", 10)):
                of_kind = heads[kinds.index(kind) :: len(kinds)]
                rows = [head.permute(0, 2, 3, 1).reshape(images.shape[0], -1, width) for head in of_kind]
                flat.append(torch.cat(rows, dim=1))
            return tuple(flat)

    with torch.no_grad():
        traced = torch.jit.trace(Flat().eval(), torch.zeros(1, 3, _SIZE, _SIZE))  # type: ignore[no-untyped-call]
    traced.save(str(folder / "traced.pt"))
