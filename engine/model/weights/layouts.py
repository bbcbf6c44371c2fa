"""The layouts of other projects' checkpoints: where their state_dict is, what it is called, what it has besides."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING

from engine.config.model import RetinaFaceConfig
from engine.errors import WeightsError

if TYPE_CHECKING:
    from engine.model.weights.tensors import Given

# Names that programs give to the state_dict in a file. The first one of the list that is there counts. What was
# averaged over the training (ema) comes last: where it is not alone, it is a copy.
WRAPPERS = (
    "state_dict",
    "model_state_dict",
    "model",
    "net",
    "network",
    "weights",
    "params",
    "ema",
    "model_ema",
    "ema_state_dict",
    "state_dict_ema",
    "params_ema",
)

# Names that wrappers put before all others: DataParallel, Lightning modules, torch.compile. Any number, in any order.
_PREFIXES = re.compile(r"((module|model|net|network|_orig_mod)\.)+")

BODY = "body."  # at the beginning of the names of a model's body

# Tensors that no detection needs: (pattern of whole names, what they are).
_UNUSED = [
    (re.compile(r"(.+\.)?total_(ops|params)"), "counters of thop"),
    (re.compile(r"(body|fx|backbone)\.(fc|classifier)\..+"), "the backbone's classifier"),
]

# yakhyo/retinaface-pytorch, models/retinaface.py: (its name, ours). A depthwise convolution and the pointwise one
# behind it are a pair of modules of three.
_FX: list[tuple[re.Pattern[str], Callable[[re.Match[str]], str]]] = [
    (re.compile(r"fx\.(stage\d\.\d+)\.(\d)\.(\d)\."), lambda m: f"body.{m[1]}.{3 * int(m[2]) + int(m[3])}."),
    (re.compile(r"fx\."), lambda m: "body."),
    (re.compile(r"class_head\.class_head\.(\d)\."), lambda m: f"ClassHead.{m[1]}.conv1x1."),
    (re.compile(r"bbox_head\.bbox_head\.(\d)\."), lambda m: f"BboxHead.{m[1]}.conv1x1."),
    (re.compile(r"landmark_head\.landmark_head\.(\d)\."), lambda m: f"LandmarkHead.{m[1]}.conv1x1."),
]

# barisbatuhan/FaceDetector, BBTNet/components: (its name, ours). It counts levels from 0, this project from 1.
_FACE_DETECTOR = [
    (r"backbone\.init_layer\.0\.", "body.conv1."),
    (r"backbone\.init_layer\.1\.", "body.bn1."),
    (r"backbone\.layer", "body.layer"),
    (r"fpn\.lateral_ins\.(\d)\.", "fpn.output{level}."),
    (r"fpn\.lateral_outs\.(\d)\.", "fpn.merge{level}."),
    (r"context_module\.ssh_list\.(\d)\.", "ssh{level}."),
    (r"heads2\.0\.layers\.(\d)\.", "ClassHead.{index}.conv1x1."),
    (r"heads2\.1\.layers\.(\d)\.", "BboxHead.{index}.conv1x1."),
]
_FACE_DETECTOR_PARTS = {
    ".conv128.": ".conv3X3.",
    ".conv64_1_1.": ".conv5X5_1.",
    ".conv64_1_2.": ".conv5X5_2.",
    ".conv64_2_1.": ".conv7X7_2.",
    ".conv64_2_2.": ".conv7x7_3.",
    ".conv.": ".0.",
    ".bn.": ".1.",
}
# Its smoothing convolution of P5 is never used.
_FACE_DETECTOR_UNUSED = "fpn.lateral_outs.3."

_HDF5_START = b"\x89HDF\r\n\x1a\n"
_JULIA_START = b"HDF5-based Julia Data Format"
# Heads of a cascade's first stage that only training needs: the second stage uses the first one's boxes alone.
_TRAINING_HEADS = ("AnchorClassHead.", "AnchorLandmarkHead.")


def refuse_foreign(content: bytes, source: str) -> None:
    """Raise WeightsError for the files of another framework: Julia's JLD2 (Knet)."""
    if content.startswith(_JULIA_START) or content.startswith(_HDF5_START):
        raise WeightsError(
            f"{source} is an HDF5 file, probably JLD2 with Knet's Julia objects, which only Julia can read; expected a "
            "PyTorch checkpoint. Save its arrays as a PyTorch state_dict with the names of docs/models.md"
        )


def as_body(state: Given) -> Given:
    """Return the tensors of a backbone's own checkpoint, whose names begin with its layers, as those of a body."""
    state = {_PREFIXES.sub("", key, count=1) if _PREFIXES.match(key) else key: value for key, value in state.items()}
    if any(key.startswith((BODY, "fx.", "backbone.")) for key in state):
        return state
    return {f"{BODY}{key}": value for key, value in state.items()}


def to_native(state: Given, config: RetinaFaceConfig, source: str) -> tuple[Given, list[str]]:
    """Return the state_dict with this project's names, unknown names unchanged; and in words what was left out.

    If the config is deformable and the checkpoint is not, offsets of zero are added: the output stays the same, and
    the offsets can be trained.

    Raises:
        WeightsError: two tensors have one name without their prefixes.
    """
    state, left_out = _used(_without_prefixes(state, source))
    if any(key.startswith("context_module.ssh_list.") for key in state):
        state = {_from_face_detector(k): v for k, v in state.items() if not k.startswith(_FACE_DETECTOR_UNUSED)}
    state = {_from_fx(key): value for key, value in state.items()}
    if config.cascade:
        state = {key: value for key, value in state.items() if not key.startswith(_TRAINING_HEADS)}
    # The ResNet-18 model's heads say "conv" for "conv1x1".
    state = {re.sub(r"^(\w+Head\.\d\.)conv\.", r"\1conv1x1.", key): value for key, value in state.items()}
    if config.context == "deformable" and not any(".offset." in key for key in state):
        state |= _zero_offsets(state)
    return state, left_out


def _without_prefixes(state: Given, source: str) -> Given:
    names: dict[str, str] = {}
    for key in state:
        name = _PREFIXES.sub("", key, count=1) if _PREFIXES.match(key) else key
        if name in names:
            raise WeightsError(
                f"{source} holds {name} twice, as {names[name]} and as {key}: two models in one state_dict. Save one"
            )
        names[name] = key
    return {name: state[key] for name, key in names.items()}


def _used(state: Given) -> tuple[Given, list[str]]:
    left_out = []
    for pattern, words in _UNUSED:
        unused = [key for key in state if pattern.fullmatch(key)]
        if unused:
            left_out.append(f"{words} ({unused[0]} and {len(unused) - 1} more)")
            state = {key: value for key, value in state.items() if not pattern.fullmatch(key)}
    return state, left_out


def _from_fx(key: str) -> str:
    for pattern, name in _FX:
        found = pattern.match(key)
        if found:
            return name(found) + key[found.end() :]
    return key


def _from_face_detector(key: str) -> str:
    for pattern, name in _FACE_DETECTOR:
        found = re.match(pattern, key)
        if found:
            index = int(found[1]) if found.groups() else 0
            key = name.format(level=index + 1, index=index) + key[found.end() :]
            break
    if key.startswith(("fpn.", "ssh")):
        for old, new in _FACE_DETECTOR_PARTS.items():
            key = key.replace(old, new)
    return key


def _zero_offsets(state: Given) -> Given:
    import torch

    offsets: Given = {}
    for key, weight in state.items():
        found = re.fullmatch(r"(ssh\d\.\w+\.0)\.weight", key)
        if found and len(weight.shape) == 4:
            # Expanded, which takes no memory: the shape is the file's, and nobody has compared it yet.
            offsets[f"{found[1]}.offset.weight"] = torch.zeros(()).expand(18, weight.shape[1], 3, 3)
            offsets[f"{found[1]}.offset.bias"] = torch.zeros(18)
    return offsets
