"""The presets: configurations of published models by name."""

from __future__ import annotations

from dataclasses import replace

from engine.config.heads import ValueHead
from engine.config.model import PyramidLevel, RetinaFaceConfig
from engine.errors import InvalidArgumentError


def _levels(first_stride: int, *anchor_sizes: tuple[float, ...]) -> tuple[PyramidLevel, ...]:
    return tuple(PyramidLevel(first_stride << i, sizes) for i, sizes in enumerate(anchor_sizes))


# Settings of Pytorch_Retinaface's data/config.py, cfg_mnet and cfg_re50, and models/net.py (a slope of 0.1 where the
# pyramid has at most 64 channels, else 0).
_UPSTREAM_LEVELS = _levels(8, (16.0, 32.0), (64.0, 128.0), (256.0, 512.0))

# Table 1 of the paper, in steps of 2^(1/3), with its rounding (161.26, exactly 161.27): models were trained with these
# numbers.
_PAPER_LEVELS = _levels(
    4,
    (16.0, 20.16, 25.40),
    (32.0, 40.32, 50.80),
    (64.0, 80.63, 101.59),
    (128.0, 161.26, 203.19),
    (256.0, 322.54, 406.37),
)

# The README of the ResNet-18 model lists three sizes and six anchors per cell: its generator combines each size with
# the aspect ratios 1/2 and 1.
_LITE_LEVELS = tuple(
    replace(level, aspect_ratios=(0.5, 1.0))
    for level in _levels(
        4,
        (8.0, 10.08, 12.67),
        (16.0, 20.16, 25.40),
        (32.0, 40.32, 50.80),
        (64.0, 80.63, 101.59),
        (128.0, 161.26, 203.19),
    )
)

_MOBILENET = RetinaFaceConfig(
    name="mobilenet0.25", backbone="mobilenet0.25", levels=_UPSTREAM_LEVELS, fpn_channels=64, negative_slope=0.1
)

# Settings of yakhyo/retinaface-pytorch (config.py, models). Like Pytorch_Retinaface, its bodies have a slope of 0.1
# whatever the pyramid has; MobileNetV2 has ReLU6, which is no setting.
_WIDE = replace(_MOBILENET, fpn_channels=128, negative_slope=0.0)

# The paper has box and landmark targets in units of the anchor, without variances. It does not say how pixels are
# normalised; here as the published weights of its backbones expect.
_PAPER = RetinaFaceConfig(
    name="retinaface-resnet50",
    backbone="resnet50",
    levels=_PAPER_LEVELS,
    fpn_channels=256,
    negative_slope=0.0,
    context="deformable",
    cascade=True,
    variances=(1.0, 1.0),
    mean=(123.675, 116.28, 103.53),
    std=(58.395, 57.12, 57.375),
    color_order="rgb",
    pad_value=(124, 116, 104),
)

# The reproduction in Knet (barisbatuhan/retinaface, configs.jl, BBTNet): anchors and targets of the paper, plain
# convolutions, mean pixels. Its four models are an ablation.
_FULL = replace(
    _PAPER,
    name="full",
    context="plain",
    mean=(123.0, 117.0, 104.0),
    std=(1.0, 1.0, 1.0),
    pad_value=(123, 117, 104),
)

_RESNET50 = RetinaFaceConfig(
    name="resnet50", backbone="resnet50", levels=_UPSTREAM_LEVELS, fpn_channels=256, negative_slope=0.0
)

_DENSE = ValueHead("dense", 144)

PRESETS: dict[str, RetinaFaceConfig] = {
    config.name: config
    for config in (
        _MOBILENET,
        # Another public model with the same state_dict keys and shapes, but ReLU and smaller anchors.
        replace(
            _MOBILENET,
            name="mobilenet0.25-relu",
            levels=_levels(8, (10.0, 20.0), (32.0, 64.0), (128.0, 256.0)),
            negative_slope=0.0,
        ),
        *(replace(_WIDE, name=name, backbone=name, body_slope=0.1) for name in ("mobilenet0.5", "mobilenet1.0")),
        *(replace(_WIDE, name=name, backbone=name) for name in ("mobilenetv2", "resnet18", "resnet34")),
        _RESNET50,
        # ternaus/retinaface (predict_single.py): the same network on RGB pixels.
        replace(
            _RESNET50,
            name="ternaus-resnet50",
            mean=_PAPER.mean,
            std=_PAPER.std,
            color_order="rgb",
            pad_value=_PAPER.pad_value,
        ),
        # insightface's mnet.25 (detection/retinaface): RGB pixels as they are, targets in units of the anchor, the
        # larger anchor first.
        replace(
            _MOBILENET,
            name="insightface-mobilenet0.25",
            levels=_levels(8, (32.0, 16.0), (128.0, 64.0), (512.0, 256.0)),
            negative_slope=0.0,
            variances=(1.0, 1.0),
            mean=(0.0, 0.0, 0.0),
            color_order="rgb",
            pad_value=(0, 0, 0),
        ),
        _PAPER,
        replace(_PAPER, name="retinaface-resnet152", backbone="resnet152"),
        replace(_FULL, name="baseline", context="none", cascade=False),
        replace(_FULL, name="context", heads=("class", "box"), cascade=False),
        replace(_FULL, name="context-landmark", cascade=False),
        _FULL,
        # Models of the same author in PyTorch (barisbatuhan/FaceDetector), with public checkpoints.
        *(
            replace(
                _PAPER,
                name=f"facedetector-{backbone}",
                backbone=backbone,
                context="plain",
                pyramid="neighbours",
                cascade=False,
                heads=("class", "box"),
                variances=(0.1, 0.2),
            )
            for backbone in ("resnet50", "resnet152")
        ),
        # Its README states anchors, sizes and channels. Activation, variances and pixels are those of
        # Pytorch_Retinaface, on which it is based.
        RetinaFaceConfig(
            name="resnet18-lite",
            backbone="resnet18",
            levels=_LITE_LEVELS,
            fpn_channels=64,
            negative_slope=0.1,
            context="shared",
            input_size=(480, 480),
        ),
        # With the values of the dense branch, section 3.2 of the paper: of each anchor 144.
        *(replace(config, name=f"{config.name}-dense", values=(_DENSE,)) for config in (_MOBILENET, _PAPER)),
        # Of this project, to be trained: the classes are the labels of a public set of photos of people with masks.
        replace(
            _MOBILENET,
            name="mobilenet0.25-masks",
            classes=("with_mask", "without_mask", "mask_worn_incorrectly"),
            class_agnostic=True,  # a face has one of them
        ),
    )
}


def preset(name: str) -> RetinaFaceConfig:
    """Return the preset called `name`; InvalidArgumentError lists the known names."""
    try:
        return PRESETS[name]
    except KeyError:
        raise InvalidArgumentError(f"unknown config {name!r}, expected one of: {', '.join(PRESETS)}") from None
