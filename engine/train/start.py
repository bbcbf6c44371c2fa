"""What a run starts from, and whether a run that goes on is given the same."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import torch

from engine.config.heads import FIVE_MIRRORED
from engine.config.model import RetinaFaceConfig
from engine.errors import InvalidArgumentError, MisfitError
from engine.files import sha256_of_file
from engine.model.retinaface import RetinaFace, head_module
from engine.model.weights.known import KNOWN_WEIGHTS, RANDOM_WEIGHTS
from engine.model.weights.load import load_backbone, load_model
from engine.train.checkpoints import Beginning, Given
from engine.train.finding.unlabelled import as_one_class
from engine.types import WeightsOrigin

KEEP_LANDMARKS, INT8_PRECISION = "--keep-landmarks", "--precision int8"  # options that keep the weights' heads
_DIGITS = 12  # of a digest, in messages


def check_one_start(weights: str | None, backbone: str | None) -> None:
    """Raise InvalidArgumentError if both a network's and a backbone's weights are given."""
    if weights and backbone:
        raise InvalidArgumentError(
            "--weights and --backbone-weights are given: the first ones have a body too. Give one"
        )


def starting_network(
    config: RetinaFaceConfig, weights: str | None, backbone: str | None, seed: int, *, only: str | None = None
) -> tuple[RetinaFace, WeightsOrigin]:
    """Make a network to train.

    Args:
        config: of the network.
        weights: of the whole network, see load_model. None is the published weights of the preset. For a config with
            several classes they may have one: each class begins as what they know of faces. For one with another number
            of points they may have five, and for one with heads of values none: these heads are then random.
        backbone: checkpoint of the body alone, such as torchvision's; the other layers are random.
        seed: of random layers.
        only: option for which the weights need to have the config's own heads: --keep-landmarks, which keeps what they
            say of landmarks, or --precision int8, which has no time to learn heads. None lets heads begin anew.

    Returns:
        The network on the CPU, and where its weights come from.

    Raises:
        InvalidArgumentError: both weights and backbone are given.
        WeightsError: a file does not fit.
    """
    check_one_start(weights, backbone)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if backbone:
            return load_backbone(config, backbone)
        if weights == RANDOM_WEIGHTS:
            return RetinaFace(config), WeightsOrigin(RANDOM_WEIGHTS, None, None, RANDOM_WEIGHTS)
    try:
        return load_model(config, weights, to_train=True)
    except MisfitError as error:
        found = _with_other_heads(config, weights)
        if found is None:
            raise
        faces, origin = found
        if only and (only != KEEP_LANDMARKS or faces.config.mirrored_points != config.mirrored_points):
            raise MisfitError(
                f"{error}. Without {only} the other layers of these weights begin a training, and their heads anew"
            ) from error
        return _from_simpler(config, faces, origin, seed)


def _with_other_heads(config: RetinaFaceConfig, weights: str | None) -> tuple[RetinaFace, WeightsOrigin] | None:
    """Return the network of weights whose heads are simpler than a config's; None if they are none of its weights."""
    for other in _simpler(config):
        with suppress(MisfitError):
            return load_model(other, weights, to_train=True)
    return None


def _simpler(config: RetinaFaceConfig) -> Iterator[RetinaFaceConfig]:
    """Yield the configs of weights that a network with other heads may start from."""
    with_values = (config, replace(config, values=())) if config.values else (config,)
    for same in with_values:
        others = [same]
        if config.num_points not in (0, len(FIVE_MIRRORED)):
            others.append(replace(same, mirrored_points=FIVE_MIRRORED))
        for other in others:
            if other is not config:
                yield other
            if len(config.classes) > 1:
                yield as_one_class(other)


def _from_simpler(
    config: RetinaFaceConfig, faces: RetinaFace, origin: WeightsOrigin, seed: int
) -> tuple[RetinaFace, WeightsOrigin]:
    """Return a network that begins with what weights of simpler heads know."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = RetinaFace(config)
    known, note = faces.state_dict(), origin.note
    if faces.config.classes != config.classes:
        known |= _class_heads(faces, config)
        note += "; its face is the beginning of each class"
    if faces.config.num_points != config.num_points:
        known = {name: value for name, value in known.items() if not name.startswith(head_module("landmark_deltas"))}
        note += f"; the heads of {config.num_points} points are random, as it has {faces.config.num_points}"
    if faces.config.values != config.values:
        note += f"; its heads of {', '.join(head.name for head in config.values)} are random"
    network.load_state_dict(network.state_dict() | known)
    return network.eval(), replace(origin, note=note)


def _class_heads(faces: RetinaFace, config: RetinaFaceConfig) -> dict[str, torch.Tensor]:
    """Return the class heads of a config that say of each class what a network with one class says of faces.

    With softmax each class has the logit of face less log(number of classes), so that the background's probability
    stays. With sigmoid each has the margin, face minus background.
    """
    number, found = len(config.classes), {}
    for name, value in faces.state_dict().items():
        if name.startswith("ClassHead."):
            background, face = value.view(-1, 2, *value.shape[1:]).unbind(1)
            if config.class_coding == "sigmoid":
                parts = [face - background] * number
            else:
                shared = math.log(number) if name.endswith("bias") else 0.0
                parts = [background, *[face - shared] * number]
            found[name] = torch.stack(parts, 1).flatten(0, 1)
    return found


def check_same_weights(began: Beginning, weights: str | None, backbone: str | None, folder: Path) -> None:
    """Check that a run that goes on is given the weights that it began with, or none.

    A file may have another name now, and one of the same name may be gone: the checkpoint has what is needed of it.

    Raises:
        InvalidArgumentError: it is given others.
    """
    check_one_start(weights, backbone)
    given = backbone or weights
    if given is None:
        return
    now = Given(given, _digest_of(given))
    same_file = now.name == began.weights.name if now.sha256 is None else now.sha256 == began.weights.sha256
    if not same_file or bool(backbone) != began.backbone_only:
        _refuse(folder, _option(began.weights, began.backbone_only), _option(now, bool(backbone)))


def check_same_labels(began: Given | None, now: Given | None, what: str, folder: Path) -> None:
    """Raise InvalidArgumentError if a run that goes on is given other labels than it began with."""
    if (began and began.sha256) != (now and now.sha256):
        old, new = (_words(given) if given else "none" for given in (began, now))
        _refuse(folder, f"the {what} labels {old}", f"the {what} labels {new}")


def _digest_of(weights: str) -> str | None:
    """Return the digest of weights; None if there is no such file, or they are random."""
    try:
        return sha256_of_file(Path(weights))
    except OSError:
        return KNOWN_WEIGHTS[weights].sha256 if weights in KNOWN_WEIGHTS else None


def _option(given: Given, backbone_only: bool) -> str:
    return f"{'--backbone-weights' if backbone_only else '--weights'} {_words(given)}"


def _words(given: Given) -> str:
    digest = "" if given.sha256 is None else f" (SHA-256 {given.sha256[:_DIGITS]}...)"
    return f"{given.name:.200}{digest}"


def _refuse(folder: Path, began: str, now: str) -> None:
    raise InvalidArgumentError(
        f"the run in {folder} began with {began}, and is given {now}: give the same to go on, or train in another "
        "folder"
    )
