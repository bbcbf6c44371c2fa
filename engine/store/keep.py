"""Finds a kept engine, or builds it, once for all processes."""

from __future__ import annotations

import errno
import logging
import os
import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from pathlib import Path

from engine.backend.driver import compute_capability
from engine.backend.targets import TARGETS
from engine.backend.tensorrt import Backend, load_backend
from engine.build.pipeline import BuildOptions, build_engine
from engine.config.files import find_config
from engine.errors import BuildError, EngineLoadError, OutputError
from engine.files import cache_folder
from engine.progress import stages_shown
from engine.sidecar import EngineFiles, read_engine
from engine.store.key import key_of
from engine.writing import check_writable, folder_until_exit, locked

NAME = "retinaface.engine"
_HELD = (errno.EWOULDBLOCK, errno.EAGAIN)  # by another process: the lock
_PATIENCE_S = 1800.0  # of a process that waits for another one's build

_log = logging.getLogger("engine.store")


def engines_folder() -> Path:
    """Return the folder that has a folder for each kept engine."""
    return cache_folder() / "engines"


def kept_engine(options: BuildOptions) -> EngineFiles:
    """Return the engine of a build from the cache folder, where it is put now if it is not there.

    The build is for the GPU of this machine, if there is one. It shows its progress on stderr. Processes that want the
    same engine at the same time build it once. A cache that cannot be written to is a warning: the engine then lasts
    as long as the process.

    Args:
        options: of the build; its output and its targets are chosen here.

    Raises:
        WeightsError, BuildError: as build_engine.
        OutputError: another process has been building this engine for half an hour.
    """
    backend = load_backend(options.runtime)
    config = find_config(options.config)
    options = replace(options, config=config, targets=_targets(backend))
    name = re.sub(r"[^A-Za-z0-9.]", "_", config.name)
    folder = engines_folder() / f"{name}-{options.precision}-{key_of(options, backend)}"
    path = folder / "files" / NAME
    if (found := _read(path)) is not None:
        return found
    try:
        check_writable(path.parent)
        with _locked(folder):
            return _read(path, warn=True) or _build(options, path)
    except OSError as error:
        if isinstance(error, OutputError) and error.errno in _HELD:
            raise
        return _without_cache(options, folder, error.strerror)
    except BuildError as error:
        if not isinstance(error.__cause__, OSError):
            raise
        return _without_cache(options, folder, error.__cause__.strerror)


def _targets(backend: Backend) -> tuple[str, ...]:
    """Return the target of the first GPU for TensorRT-RTX; else none, which means the default."""
    capability = compute_capability()
    if backend.runtime != "tensorrt-rtx" or capability is None:
        return ()
    target = "sm{}{}".format(*capability)
    return (target,) if target in TARGETS else ()


def _read(path: Path, warn: bool = False) -> EngineFiles | None:
    """Return a kept engine, and note that it was used; None if there is none, or a damaged one."""
    if not path.parent.is_dir() or not any(path.parent.iterdir()):
        return None
    try:
        files = read_engine(path)
    except EngineLoadError as error:
        if warn:
            _log.warning("A kept engine is damaged and is built again: %s", error)
        return None
    with suppress(OSError):  # a cache that is read-only
        os.utime(path.parent.parent)
    return files


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Lock the folder of an engine; say so if another process is building it."""
    with ExitStack() as stack:
        try:
            stack.enter_context(locked(folder, patience_s=0.0))
        except OutputError as error:
            if error.errno not in _HELD:
                raise
            _log.warning("Another process is building this engine; waiting for it.")
            stack.enter_context(locked(folder, patience_s=_PATIENCE_S))
        yield


def _build(options: BuildOptions, path: Path) -> EngineFiles:
    with stages_shown() as show:
        weights = options.weights or find_config(options.config).name
        show(f"Building an engine of {weights} in {options.precision}, in {path.parent}")
        build_engine(replace(options, output=path), show)
    return read_engine(path)


def _without_cache(options: BuildOptions, folder: Path, reason: str | None) -> EngineFiles:
    _log.warning(
        "The engine cannot be kept in %s: %s. It is built for this process only; set RETINAFACE_TRT_CACHE to a folder "
        "that can be written to.",
        folder.parent,
        reason,
    )
    return _build(options, folder_until_exit() / NAME)
