"""Folded batch normalisations get their statistics back."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import nn

from engine.train.unfolding import unfold
from tests.support.family import settled_model
from tests.support.training.runs import tiny_network


def fold(network: nn.Module) -> int:
    """Make batch normalisations that only shift, with their scales in the convolutions before them."""
    layers = list(network.modules())
    count = 0
    with torch.no_grad():
        for before, norm in pairwise(layers):
            if isinstance(norm, nn.BatchNorm2d):
                assert isinstance(before, nn.Conv2d)
                assert norm.running_mean is not None
                assert norm.running_var is not None
                scale = norm.weight / (norm.running_var + norm.eps).sqrt()
                before.weight *= scale.view(-1, 1, 1, 1)
                norm.bias.sub_(norm.running_mean * scale)
                norm.weight.fill_(1)
                norm.running_mean.zero_()
                norm.running_var.fill_(1 - norm.eps)
                count += 1
    return count


def test_the_function_stays_and_training_mode_computes_about_the_same() -> None:
    network = settled_model("mobilenet0.25").eval()
    images = torch.randn(4, 3, 64, 64, generator=torch.Generator().manual_seed(1)) * 50
    with torch.no_grad():
        count = fold(network)
        expected = network(images)
        folded_in_training = network.train()(images)
    network = settled_model("mobilenet0.25").eval()
    assert fold(network) == count
    assert unfold(network, [images[:2], images[2:]]) == count
    with torch.no_grad():
        for ours, theirs in zip(network(images), expected, strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-4 * float(theirs.abs().max()))
        trained = network.train()(images)
    for ours, theirs, folded in zip(trained, expected, folded_in_training, strict=True):
        spread = float(theirs.std())
        assert float((ours - theirs).abs().max()) < 0.01 * spread  # variances over n and n - 1 differ for some pixels
        assert float((folded - theirs).abs().max()) > spread


def test_new_and_trained_layers_are_left_alone() -> None:
    for network in (tiny_network(), settled_model("mobilenet0.25")):
        before = {name: value.clone() for name, value in network.state_dict().items()}
        assert unfold(network.eval(), []) == 0
        assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
