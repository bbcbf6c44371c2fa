"""Files of arrays that this program stores: calibration caches, candidates of a sweep, decoders of meshes."""

from __future__ import annotations

from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import torch

from engine.config.formats import INT8
from engine.evaluate.sweep.candidates import Candidates
from engine.mesh.dense.decoder import MeshDecoder
from engine.mesh.dense.run import DenseDecoder
from engine.mesh.levels import make_levels
from engine.precision.calibrate.cache import load_fit, save_fit
from engine.precision.qdq.graph import Graph
from engine.precision.qdq.placement import quantisable
from engine.precision.qdq.writer import write_quantised
from tests.engine.mesh.meshes import mask
from tests.fuzz.mutate.archives import members_of, mutated_archive
from tests.fuzz.mutate.arrays import mutated_array
from tests.fuzz.mutate.content import mutated
from tests.fuzz.target import Files, FileTarget
from tests.support import graphs

_KEY: dict[str, Any] = {"weights": "abc", "config": {"levels": [1, 2]}, "images": ["a" * 64] * 3}


class Caches(FileTarget):
    """Calibration caches of a small network."""

    def __init__(self, folder: Path) -> None:
        """Fit the network and save the fit."""
        super().__init__(folder)
        torch.set_num_threads(1)
        self._path = folder / "fit.npz"
        self.named = (str(self._path),)
        self._graph = Graph(graphs.tiny_detector(), graphs.SIZE)
        self._weights = dict(self._graph.weights)
        self._assignments = [dict.fromkeys(quantisable(self._graph, INT8), INT8)]
        network = graphs.quantised(self._graph, self._assignments[0], graphs.images(1))
        save_fit(self._path, _KEY, self._graph, network)
        self._members = members_of(self._path.read_bytes())

    def make(self, random: Random) -> Files:
        """Return a changed cache."""
        return {self._path.name: mutated_archive(self._members, random, _changed_member)}

    def read(self, made: Files) -> None:
        """Load the fit, run the network once and write it."""
        self._graph.weights = dict(self._weights)
        reference, network = load_fit(self._path, _KEY, self._graph, self._assignments)
        network.assignment = self._assignments[0]
        graphs.simulate(reference, graphs.images(2))
        graphs.simulate(network, graphs.images(2))
        write_quantised(self._graph, network)


class StoredCandidates(FileTarget):
    """Candidates of a sweep."""

    def __init__(self, folder: Path) -> None:
        """Save the candidates of three images."""
        super().__init__(folder)
        self._path = folder / "candidates.npz"
        self.named = (str(self._path),)
        random = np.random.default_rng(3)
        counts = {"a/1.jpg": 3, "a/2.jpg": 0, "b": 5}
        boxes = {name: random.uniform(0, 90, (count, 4)).astype(np.float32) for name, count in counts.items()}
        scores = {name: -np.sort(-random.uniform(0, 1, count).astype(np.float32)) for name, count in counts.items()}
        candidates = Candidates(boxes, scores, dict.fromkeys(counts, "0" * 64), "1" * 64, 0.02, False)
        candidates.save(self._path)
        self._members = members_of(self._path.read_bytes())

    def make(self, random: Random) -> Files:
        """Return a changed file."""
        return {self._path.name: mutated_archive(self._members, random, _changed_member)}

    def read(self, made: Files) -> None:
        """Load them."""
        Candidates.load(self._path)


class MeshDecoders(FileTarget):
    """The levels of a mesh, and the weights of its decoder."""

    def __init__(self, folder: Path) -> None:
        """Save a small decoder."""
        super().__init__(folder)
        torch.set_num_threads(1)
        self._path = folder / "dense.npz"
        self.named = (str(self._path),)
        MeshDecoder(make_levels(mask(6, 5), [12]), [3, 2], 2).weights().save(self._path)
        self._members = members_of(self._path.read_bytes())

    def make(self, random: Random) -> Files:
        """Return a changed file."""
        return {self._path.name: mutated_archive(self._members, random, _changed_member)}

    def read(self, made: Files) -> None:
        """Load it, and decode a face."""
        DenseDecoder.load(self._path).decode(np.zeros((1, 144), np.float32), np.ones((1, 4), np.float32))


def _changed_member(name: str, content: bytes, random: Random) -> bytes:
    return mutated_array(content, random) if name.endswith(".npy") else mutated(content, random)
