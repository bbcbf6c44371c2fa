"""Fitting: the scales of each number format."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from engine.config.formats import FP8, INT8
from engine.precision.calibrate.fit import fit
from engine.precision.calibrate.images import find_images
from engine.precision.options import Techniques
from engine.precision.qdq.graph import Graph
from engine.precision.qdq.placement import quantisable, scale_groups
from engine.runtime.letterbox import Letterbox
from tests.support import graphs


def test_integers_are_clipped_and_floating_point_numbers_are_not(graph: Graph, photos: Path) -> None:
    images = find_images(photos, 6, Letterbox(graphs.SIZE, graphs.CONFIG, enlarge=False))
    assignments = [dict.fromkeys(quantisable(graph, kind), kind) for kind in (INT8, FP8)]
    techniques = Techniques(method="percentile", equalise=False, round_weights=False)
    reference, network = fit(graphs.CONFIG, graph, assignments, images, techniques, lambda stage: None)
    groups, largest = scale_groups(graph), dict[str, float]()
    for batch in images.batches(images.fitting):
        for name, values in graphs.everything(reference, batch).items():
            leader = groups.get(name, name)
            largest[leader] = max(largest.get(leader, 0.0), float(np.abs(values).max()))
    shares = {
        kind: [float(s) * kind.largest / largest[leader] for (leader, k), s in network.scales.items() if k is kind]
        for kind in (INT8, FP8)
    }
    # Scales are rounded to float16.
    assert shares[FP8] == pytest.approx([1.0] * len(shares[FP8]), rel=2.0**-11)
    assert max(shares[INT8]) <= 1 + 2.0**-11
    assert min(shares[INT8]) < 0.99
