"""Slopes judged by the statistics of batch normalisations."""

from __future__ import annotations

import copy
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from engine.config.model import RetinaFaceConfig
from engine.config.presets import preset
from engine.errors import WeightsError
from engine.model.retinaface import RetinaFace
from engine.model.weights.load import load_model
from engine.model.weights.settings.slopes import misfits, refuse_other_slopes
from engine.runtime.letterbox import Letterbox
from engine.types import Image
from tests.support.data import upstream_checkpoint

MOBILENET = preset("mobilenet0.25")
SIDE = 320


def pictures(count: int) -> list[Image]:
    """Return pictures whose amplitudes fall with the frequency, as those of photographs do (Field 1987)."""
    rng = np.random.default_rng(11)
    rows, columns = np.meshgrid(np.fft.fftfreq(SIDE), np.fft.rfftfreq(SIDE), indexing="ij")
    fall = 1 / np.maximum(np.hypot(rows, columns), 1 / SIDE)
    made = []
    for _ in range(count):
        noise = rng.normal(size=(SIDE, SIDE, 1)) + 0.3 * rng.normal(size=(SIDE, SIDE, 3))
        shapes = np.fft.irfft2(np.fft.rfft2(noise, axes=(0, 1)) * fall[:, :, None], axes=(0, 1))
        levels = (shapes - shapes.mean()) / shapes.std() * rng.uniform(40, 75) + rng.uniform(80, 150)
        made.append(np.clip(levels, 0, 255).astype(np.uint8))
    return made


def trained(config: RetinaFaceConfig, state: dict[str, torch.Tensor] | None = None) -> RetinaFace:
    """Return a model whose statistics are those of generated pictures; its weights are random unless given."""
    torch.manual_seed(11)
    model = RetinaFace(config)
    if state is not None:
        model.load_state_dict(state)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.reset_running_stats()
            module.momentum = None
    images = torch.from_numpy(Letterbox((SIDE, SIDE), config, enlarge=False).batch(pictures(12)))
    with torch.no_grad():
        model.train()(images)
    return model.eval()


def claiming(model: RetinaFace, config: RetinaFaceConfig) -> RetinaFace:
    """Return a model with the weights and statistics of another one."""
    other = RetinaFace(config)
    other.load_state_dict(model.state_dict())
    return other.eval()


@contextmanager
def unchanged(model: RetinaFace) -> Iterator[None]:
    """Check that a model's tensors and settings stay the same."""

    def settings() -> list[object]:
        return [
            (m.training, getattr(m, "momentum", 0), getattr(m, "negative_slope", 0), len(m._forward_hooks))
            for m in model.modules()
        ]

    state, before = copy.deepcopy(model.state_dict()), settings()
    yield
    assert settings() == before
    assert all(torch.equal(value, state[key]) for key, value in model.state_dict().items() if "num_ba" not in key)


@pytest.mark.parametrize("body", [0.0, 0.1])
@pytest.mark.parametrize("behind", [0.0, 0.1])
def test_the_right_slopes_pass_and_all_others_are_refused(body: float, behind: float) -> None:
    model = trained(replace(MOBILENET, name="own", negative_slope=behind, body_slope=body))
    for other_body in (0.0, 0.1):
        for other_behind in (0.0, 0.1):
            config = replace(MOBILENET, name="own", negative_slope=other_behind, body_slope=other_body)
            claim = claiming(model, config)
            with unchanged(claim):
                if (other_body, other_behind) == (body, behind):
                    refuse_other_slopes(claim, "own.pth")
                else:
                    with pytest.raises(WeightsError, match=r"own.pth was trained with .* times better. Use "):
                        refuse_other_slopes(claim, "own.pth")


@pytest.mark.parametrize("name", ["mobilenet0.5", "mobilenetv2", "resnet18", "resnet18-lite"])
def test_slopes_behind_other_bodies_tell(name: str) -> None:
    config = preset(name)
    model = trained(config)
    refuse_other_slopes(model, "own.pth")
    other = 0.1 - config.negative_slope
    with pytest.raises(
        WeightsError, match=rf"config 'other' has .*(negative_slope {config.negative_slope:g}|--config)"
    ):
        refuse_other_slopes(claiming(model, replace(config, name="other", negative_slope=other)), "own.pth")


def test_a_checkpoint_of_the_other_slope_is_refused_with_its_presets(tmp_path: Path) -> None:
    path = tmp_path / "own.pth"
    torch.save(trained(preset("mobilenet0.25-relu")).state_dict(), path)
    load_model(preset("mobilenet0.25-relu"), str(path))
    with pytest.raises(
        WeightsError,
        match=r"own.pth was trained with ReLU, but config 'mobilenet0.25' has leaky ReLU 0.1: .* Use --config "
        r"mobilenet0.25-relu or insightface-mobilenet0.25, or a config file with negative_slope 0 ",
    ):
        load_model(MOBILENET, str(path))


def test_models_without_statistics_or_training_pass() -> None:
    torch.manual_seed(5)
    untrained = RetinaFace(MOBILENET).eval()
    refuse_other_slopes(untrained, "own.pth")  # means of 0 are those of folded normalisations, too
    for module in untrained.modules():
        if isinstance(module, nn.BatchNorm2d):
            assert module.running_mean is not None
            nn.init.normal_(module.running_mean)
    refuse_other_slopes(untrained, "own.pth")


def test_published_weights_and_their_retrained_twins() -> None:
    """The real leaky file passes with a margin of 1.6 and more; as ReLU it is refused; its retrained twin likewise."""
    state = torch.load(upstream_checkpoint(), map_location="cpu", weights_only=True)
    state = {key.removeprefix("module."): value for key, value in state.items()}
    model = RetinaFace(MOBILENET).eval()
    model.load_state_dict(state)
    relu = preset("mobilenet0.25-relu")
    for of_body in (True, False):
        right, wrong = (sum(misfits(model, (slope, slope), of_body).values()) for slope in (0.1, 0.0))
        assert wrong > 1.5 * right
    refuse_other_slopes(model, "own.pth")
    with pytest.raises(WeightsError, match=r"was trained with leaky ReLU 0.1, but .*Use --config mobilenet0.25, or"):
        refuse_other_slopes(claiming(model, relu), "own.pth")
    twin = trained(relu, state)
    refuse_other_slopes(twin, "own.pth")
    with pytest.raises(WeightsError, match=r"was trained with ReLU, but .*Use --config mobilenet0.25-relu"):
        refuse_other_slopes(claiming(twin, MOBILENET), "own.pth")


@pytest.mark.slow
@pytest.mark.parametrize(("name", "seconds"), [("mobilenet0.25", 2.0), ("resnet50", 10.0)])
def test_it_takes_seconds_of_one_core(name: str, seconds: float) -> None:
    model = trained(preset(name))
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        started = time.thread_time()
        refuse_other_slopes(model, "own.pth")
        assert time.thread_time() - started < seconds
    finally:
        torch.set_num_threads(threads)
