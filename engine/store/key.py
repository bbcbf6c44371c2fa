"""The key of a kept engine: a digest of all that it depends on."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

from engine.backend.driver import compute_capability, gpu_names
from engine.backend.plugin_library import plugin_library
from engine.backend.tensorrt import Backend
from engine.build.pipeline import BuildOptions
from engine.config.files import find_config
from engine.errors import InvalidArgumentError, WeightsError
from engine.files import sha256_of, sha256_of_file
from engine.model.weights.known import KNOWN_WEIGHTS, RANDOM_WEIGHTS
from engine.version import project_version

_DIGITS = 16


def key_of(options: BuildOptions, backend: Backend) -> str:
    """Return the key of an engine: 16 hexadecimal digits.

    Raises:
        WeightsError: the weights cannot be read.
    """
    gpus = gpu_names()
    parts = {
        "weights": _weights_sha256(options),
        "config": find_config(options.config).to_dict(),
        "precision": options.precision,
        "size": asdict(options.input_size()),
        "max_batch": options.max_batch,
        "thresholds": asdict(options.thresholds),
        "targets": options.targets,
        "builder": backend.title,
        "gpu": (gpus[0], compute_capability()) if gpus else None,
        "plugins": plugin_library().sha256,
        "version": project_version(),
    }
    return sha256_of(json.dumps(parts, sort_keys=True).encode())[:_DIGITS]


def _weights_sha256(options: BuildOptions) -> str:
    name = options.weights or find_config(options.config).name
    try:
        if Path(name).exists():
            return sha256_of_file(Path(name))
    except (OSError, InvalidArgumentError) as error:
        raise WeightsError(f"weights {name} cannot be read: {error}") from error
    return KNOWN_WEIGHTS[name].sha256 if name in KNOWN_WEIGHTS else RANDOM_WEIGHTS
