"""The loss, against a statement of it in NumPy; its gradients; what must count for nothing."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn.functional import logsigmoid, softplus

from engine.config.model import RetinaFaceConfig
from engine.errors import InvalidArgumentError
from engine.train.targets.anchors import anchors_of
from engine.train.targets.classification import focal_loss, hard_negative_loss, hardest
from engine.train.targets.loss import Losses, MultiTaskLoss
from engine.train.targets.settings import PUBLISHED_LOSSES, LossSettings
from tests.engine.train.targets.cases import (
    ALL,
    CASCADE,
    CLASSES,
    PLACES,
    PLAIN,
    POINTS,
    SIGMOID,
    VALUES,
    Batch,
    batch_of,
    random_heads,
    random_image,
)
from tests.support.oracles import training
from tests.support.oracles.training import Image, Rules, rows_of, stage_sums

SIZE = (32, 64)
PORT = PUBLISHED_LOSSES["upstream"]


def expected(
    config: RetinaFaceConfig, heads: list[torch.Tensor], images: list[Image], s: LossSettings, focal: bool
) -> list[float]:
    """Return total, classes, boxes, landmarks, the first stage's three, as the paper says, and plain values."""
    maps = [head.detach().double().numpy() for head in heads]
    kinds = len(config.head_kinds())
    own, behind = maps[: kinds * 3], maps[kinds * 3 :]
    rows = [rows_of(own[i::kinds], config.head_values(kind)) for i, kind in enumerate(config.head_kinds())]
    sigmoid = config.class_coding == "sigmoid"
    value_points = [head.is_points for head in config.values]
    grid = [anchors_of(config, *SIZE).double().numpy()] * len(images)
    option = (s.alpha, s.gamma) if focal else None
    stages: list[tuple[tuple[Any, ...], list[training.Floats], tuple[float, float]]] = []
    if config.cascade:
        first = rows_of(behind[0::2], config.num_classes), rows[3], rows_of(behind[1::2], 2 * config.num_points)
        stages.append((first, grid, s.first_overlaps))
        grid = [_moved(deltas, a, config.variances) for deltas, a in zip(rows[3], grid, strict=True)]
    plain = rows[3 + config.cascade :] if config.values else []
    stages.append(((*rows[:3], *plain), grid, s.second_overlaps if config.cascade else s.overlaps))
    parts = []
    for values, anchors, overlaps in stages:
        rules = Rules(*overlaps, s.least_iou, s.negatives_per_positive, option, sigmoid)
        sums = sum(
            stage_sums(tuple(head[i] for head in values), anchors[i], images[i], rules, config.variances, value_points)
            for i in range(len(images))
        )
        assert isinstance(sums, np.ndarray)
        divisor = sums[3] or len(images)
        of_heads = [sums[i] / max(sums[i + 1], 1) for i in range(5, len(sums), 2)]
        parts.append([sums[0] / divisor, sums[1] / divisor, sums[2] / max(sums[4], 1), *of_heads])
    weights = [1, s.box_weight, s.landmark_weight, *(s.landmark_weight if points else 1 for points in value_points)]
    total = sum(np.dot(part, weights[: len(part)]) for part in parts)
    of_stages = [*parts[-1][:3], *(parts[0][:3] if config.cascade else [0, 0, 0])]
    return [float(total), *of_stages, float(sum(parts[-1][3:]))]


def _moved(deltas: training.Floats, anchors: training.Floats, variances: tuple[float, float]) -> training.Floats:
    centres = anchors[:, :2] + deltas[:, :2] * variances[0] * anchors[:, 2:]
    return np.concatenate([centres, anchors[:, 2:] * np.exp(deltas[:, 2:] * variances[1])], axis=1)


@pytest.mark.parametrize("focal", [False, True], ids=["hard negatives", "focal"])
@pytest.mark.parametrize("settings", [LossSettings(), PORT], ids=["paper", "port"])
@pytest.mark.parametrize(
    "config", [PLAIN, CASCADE, CLASSES, SIGMOID, POINTS, VALUES, PLACES, ALL], ids=lambda config: config.name
)
def test_equals_the_statement(
    rng: np.random.Generator, config: RetinaFaceConfig, settings: LossSettings, focal: bool
) -> None:
    images = [random_image(rng, count, 48, config) for count in (6, 0, 2)]
    heads = random_heads(rng, config, len(images), SIZE)
    losses = MultiTaskLoss(config, settings=settings, focal=focal)(heads, batch_of(images))
    # float32 sums of some hundred terms
    np.testing.assert_allclose(values(losses), expected(config, heads, images, settings, focal), rtol=2e-5)


def values(losses: Losses) -> list[float]:
    """All but the count of positives."""
    return [float(value.detach()) for value in losses[:8]]


@pytest.mark.parametrize("focal", [False, True], ids=["hard negatives", "focal"])
def test_one_class_has_the_bits_of_a_logistic_loss(rng: np.random.Generator, focal: bool) -> None:
    """Of the margin alone, as models with one class were trained before there were others; gradients too."""
    logits = torch.tensor(rng.normal(0, 9, (3, 200, 2)), dtype=torch.float32, requires_grad=True)
    classes = torch.tensor(rng.choice([0, 0, 0, 1, -2], (3, 200)))
    settings = LossSettings()
    (focal_loss if focal else hard_negative_loss)(logits, classes, settings, sigmoid=False).backward()  # type: ignore[no-untyped-call]
    given, logits.grad = logits.grad, None
    margins, positive = logits[..., 1] - logits[..., 0], classes > 0
    if focal:
        right = torch.where(positive, margins, -margins)[classes != -2]
        weight = torch.where(positive, settings.alpha, 1 - settings.alpha)[classes != -2]
        expected = -(weight * torch.sigmoid(-right) ** settings.gamma * logsigmoid(right)).sum()
    else:
        negative = hardest(margins.detach(), classes == 0, positive.sum(1) * 3)
        expected = -logsigmoid(margins[positive]).sum() - logsigmoid(-margins[negative]).sum()
    expected.backward()  # type: ignore[no-untyped-call]
    assert given is not None
    assert logits.grad is not None
    assert torch.equal(given, logits.grad)


def test_a_model_without_landmarks_has_no_loss_of_them(rng: np.random.Generator) -> None:
    config = replace(PLAIN, heads=("class", "box"))
    images = [random_image(rng, 4, 48)]
    heads = random_heads(rng, PLAIN, 1, SIZE)
    boxes_only = [head for i, head in enumerate(heads) if i % 3 != 2]
    with_landmarks = MultiTaskLoss(PLAIN)(heads, batch_of(images))
    losses = MultiTaskLoss(config)(boxes_only, batch_of(images))
    assert losses.landmarks == 0
    assert (losses.classes, losses.boxes) == (with_landmarks.classes, with_landmarks.boxes)


def test_another_network_teaches_landmarks_that_are_not_labelled(rng: np.random.Generator) -> None:
    """The gradient of the smooth L1 distance is the difference of the codes, at most 1, at anchors with a face."""
    given = batch_of([random_image(rng, 6, 48), random_image(rng, 3, 48)])
    batch = given._replace(landmarks=[torch.full_like(points, torch.nan) for points in given.landmarks])
    heads, taught = (random_heads(rng, PLAIN, 2, SIZE) for _ in "ab")
    loss = MultiTaskLoss(PLAIN)
    losses = loss(heads, batch, taught)
    losses.total.backward()
    assert losses.positives > 0
    for boxes, landmarks, wanted in zip(heads[1::3], heads[2::3], taught[2::3], strict=True):
        assert boxes.grad is not None
        assert landmarks.grad is not None
        positive = torch.unflatten(boxes.grad, 1, (-1, 4)).abs().sum(2) > 0
        step = torch.unflatten((landmarks - wanted).detach().clamp(-1, 1), 1, (-1, 10)) * positive[:, :, None]
        expected = 0.1 * step / losses.positives
        torch.testing.assert_close(torch.unflatten(landmarks.grad, 1, (-1, 10)), expected)
    assert loss(heads, batch).landmarks == 0
    assert loss(heads, batch, heads).landmarks == 0


def test_labelled_landmarks_need_no_teacher(rng: np.random.Generator) -> None:
    image = random_image(rng, 6, 48)
    batch = batch_of([image])
    batch = batch._replace(landmarks=[torch.nan_to_num(points, 9.0) for points in batch.landmarks])
    heads, taught = (random_heads(rng, PLAIN, 1, SIZE) for _ in "ab")
    loss = MultiTaskLoss(PLAIN)
    assert loss(heads, batch, taught).landmarks == loss(heads, batch).landmarks > 0


@pytest.mark.parametrize("focal", [False, True], ids=["hard negatives", "focal"])
@pytest.mark.parametrize(
    "config", [PLAIN, CASCADE, CLASSES, SIGMOID, POINTS, VALUES, PLACES, ALL], ids=lambda config: config.name
)
def test_gradients_equal_differences(rng: np.random.Generator, config: RetinaFaceConfig, focal: bool) -> None:
    """A cascade's second stage gives the first one no gradient, though its loss depends on it: see the next test."""
    batch = batch_of([random_image(rng, 3, 32, config)])
    heads = random_heads(rng, config, 1, (32, 32), torch.float64)
    if config.cascade:
        for head in heads[3 : 3 * len(config.head_kinds()) : len(config.head_kinds())]:
            head.requires_grad_(False)
    loss = MultiTaskLoss(config, focal=focal)
    assert torch.autograd.gradcheck(lambda *heads: loss(heads, batch).total, heads, fast_mode=True)


def test_no_gradient_goes_through_the_boxes_that_the_second_stage_is_matched_with(rng: np.random.Generator) -> None:
    batch = batch_of([random_image(rng, 5, 48)])
    heads = random_heads(rng, CASCADE, 1, SIZE)
    MultiTaskLoss(CASCADE)(heads, batch).total.backward()
    first = [heads[12], heads[3], heads[13], heads[14], heads[7], heads[15], heads[16], heads[11], heads[17]]
    alone = [head.detach().clone().requires_grad_() for head in first]
    MultiTaskLoss(PLAIN, settings=LossSettings(overlaps=(0.7, 0.3)))(alone, batch).total.backward()
    for head, same in zip(first, alone, strict=True):
        torch.testing.assert_close(head.grad, same.grad)


def test_hard_negatives_are_those_of_a_sort(rng: np.random.Generator) -> None:
    margins = torch.tensor(rng.integers(-3, 4, (6, 50)), dtype=torch.float32)  # many are equal
    candidates = torch.tensor(rng.random((6, 50)) < 0.7)
    candidates[5] = False
    counts = torch.tensor([0, 1, 7, 30, 60, 4])
    chosen = hardest(margins, candidates, counts)
    for row in range(6):
        order = sorted(
            torch.nonzero(candidates[row]).flatten().tolist(), key=lambda a: (-float(softplus(margins[row, a])), a)
        )
        assert torch.nonzero(chosen[row]).flatten().tolist() == sorted(order[: counts[row]])


def test_a_negative_that_is_not_a_number_is_the_hardest() -> None:
    chosen = hardest(torch.tensor([[0.0, torch.nan, 9.0]]), torch.ones(1, 3, dtype=torch.bool), torch.tensor([1]))
    assert chosen.tolist() == [[False, True, False]]


def test_what_an_image_mines_does_not_depend_on_the_others(rng: np.random.Generator) -> None:
    margins, candidates = torch.zeros(2, 40), torch.ones(2, 40, dtype=torch.bool)
    both = hardest(margins, candidates, torch.tensor([3, 20]))
    assert torch.equal(both[:1], hardest(margins[:1], candidates[:1], torch.tensor([3])))


@pytest.mark.parametrize("focal", [False, True], ids=["hard negatives", "focal"])
def test_a_batch_without_faces_trains_scores_alone(rng: np.random.Generator, focal: bool) -> None:
    batch = batch_of([random_image(rng, 0, 48)] * 2)
    heads = random_heads(rng, CASCADE, 2, SIZE)
    losses = MultiTaskLoss(CASCADE, focal=focal)(heads, batch)
    losses.total.backward()
    assert torch.isfinite(losses.total)
    assert losses.total > 0
    assert values(losses)[2:4] == values(losses)[5:7] == [0, 0]
    grads = {i: head.grad for i, head in enumerate(heads)}
    logits = [0, 4, 8, 12, 14, 16]
    for i, grad in grads.items():
        assert grad is not None, i  # distributed training waits for every parameter's
        assert bool(grad.any()) == (i in logits) or i in logits, i
    first = [grads[i] for i in (0, 4, 8)]
    used = sum(int((g[:, 1::2] > 0).sum()) for g in first if g is not None)
    assert used == (2 * anchors_of(PLAIN, *SIZE).shape[0] if focal else 2 * 3)


def test_faces_without_landmarks_give_no_gradient_and_no_nan(rng: np.random.Generator) -> None:
    image = random_image(rng, 4, 48)
    image.landmarks[:] = np.nan
    image.ignored[:] = False
    heads = random_heads(rng, PLAIN, 1, SIZE)
    losses = MultiTaskLoss(PLAIN)(heads, batch_of([image]))
    losses.total.backward()
    assert losses.landmarks == 0
    assert all(head.grad is not None and torch.isfinite(head.grad).all() for head in heads)
    assert not any(head.grad.any() for head in heads[2::3] if head.grad is not None)
    image.landmarks[1] = 3.0
    image.landmarks[2] = 3.0
    image.landmarks[2, 4, 1] = np.nan  # four points and a half are none
    known = MultiTaskLoss(PLAIN)(heads, batch_of([image]))
    np.testing.assert_allclose(values(known), expected(PLAIN, heads, [image], LossSettings(), False), rtol=2e-5)


@pytest.mark.parametrize("focal", [False, True], ids=["hard negatives", "focal"])
def test_heads_that_are_not_finite_are_not_hidden(rng: np.random.Generator, focal: bool) -> None:
    image = random_image(rng, 3, 48)
    image.ignored[:] = False
    for broken in (0, 1, 2):
        heads = [head.detach() for head in random_heads(rng, PLAIN, 1, SIZE)]
        for head in heads[broken::3]:
            head[:] = np.nan
        image.landmarks[:] = 4.0
        assert torch.isnan(MultiTaskLoss(PLAIN, focal=focal)(heads, batch_of([image])).total), broken


def test_autocast_computes_in_float32(rng: np.random.Generator) -> None:
    batch = batch_of([random_image(rng, 5, 48)])
    heads = [head.detach().bfloat16() for head in random_heads(rng, PLAIN, 1, SIZE)]
    plain = MultiTaskLoss(PLAIN)([head.float() for head in heads], batch)
    with torch.autocast("cpu", torch.bfloat16):
        mixed = MultiTaskLoss(PLAIN)(heads, batch)
    assert mixed.total.dtype == torch.float32
    assert values(mixed) == values(plain)


@pytest.mark.parametrize("counts", [(6, 0, 1, 3), (0, 0, 0, 0)], ids=["faces", "no face"])
def test_two_processes_give_the_gradient_of_one(rng: np.random.Generator, counts: tuple[int, ...]) -> None:
    batch = batch_of([random_image(rng, count, 48) for count in counts])
    heads = random_heads(rng, CASCADE, 4, SIZE)
    whole = MultiTaskLoss(CASCADE)(heads, batch).total
    whole.backward()

    def part(i: int, hook: object) -> torch.Tensor:
        half = Batch(*(values[i : i + 2] for values in batch))
        loss = MultiTaskLoss(CASCADE, positives_of_all=hook)  # type: ignore[arg-type]
        losses: Losses = loss([head[i : i + 2] for head in own], half)
        return losses.total

    own = [head.detach().clone().requires_grad_() for head in heads]
    seen: list[torch.Tensor] = []
    for i in (0, 2):
        part(i, lambda counts: seen.append(counts) or counts)  # type: ignore[func-returns-value]
    mean = torch.stack(seen).mean(0)
    average = (part(0, lambda counts: mean) + part(2, lambda counts: mean)) / 2
    average.backward()  # type: ignore[no-untyped-call]
    torch.testing.assert_close(average, whole)
    for head, same in zip(heads, own, strict=True):
        torch.testing.assert_close(same.grad, head.grad)


def test_refuses_what_does_not_fit(rng: np.random.Generator) -> None:
    batch = batch_of([random_image(rng, 2, 48)])
    heads = random_heads(rng, PLAIN, 1, SIZE)
    with pytest.raises(InvalidArgumentError, match="got 9 heads, expected 18 of cascade"):
        MultiTaskLoss(CASCADE)(heads, batch)
    with pytest.raises(InvalidArgumentError, match="heads of 1 images, but boxes of 2"):
        MultiTaskLoss(PLAIN)(heads, batch._replace(boxes=batch.boxes * 2))
    with pytest.raises(InvalidArgumentError, match="expected \\[M, 4\\]"):
        MultiTaskLoss(PLAIN)(heads, batch._replace(boxes=[batch.boxes[0][:, :3]]))
    with pytest.raises(InvalidArgumentError, match=r"overlaps is \(0.3, 0.5\), expected"):
        LossSettings(overlaps=(0.3, 0.5))
    with pytest.raises(InvalidArgumentError, match="box_weight is nan, expected a finite number"):
        LossSettings(box_weight=float("nan"))
