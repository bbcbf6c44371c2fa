"""Engines are built once and found again, whatever state the cache is in."""

from __future__ import annotations

import errno
import logging
import multiprocessing
import os
import shutil
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from engine.backend.plugin_library import PluginLibrary
from engine.backend.tensorrt import Backend
from engine.build.pipeline import BuildOptions
from engine.config.detection import InputSize, Thresholds
from engine.errors import BuildError, OutputError
from engine.store import keep, kept_engine, key
from engine.store.key import key_of
from engine.writing import locked

OPTIONS = BuildOptions("fp32", weights="random")
BACKEND = Backend("tensorrt-rtx", None, "0")
PROCESSES = 3


def test_the_second_time_nothing_is_built(builds: list[BuildOptions], cache: Path) -> None:
    first, second = kept_engine(OPTIONS), kept_engine(OPTIONS)
    assert len(builds) == 1
    assert first == second
    assert first.path.is_relative_to(cache)


def test_everything_that_matters_is_in_the_key(builds: list[BuildOptions], monkeypatch: pytest.MonkeyPatch) -> None:
    changed = [
        OPTIONS,
        replace(OPTIONS, precision="fp16"),
        replace(OPTIONS, config="mobilenet0.25-relu"),
        replace(OPTIONS, weights="mobilenet0.25"),
        replace(OPTIONS, size=InputSize.fixed(320, 320)),
        replace(OPTIONS, max_batch=2),
        replace(OPTIONS, thresholds=Thresholds(score=0.3)),
        replace(OPTIONS, targets=("sm89",)),
    ]
    keys = [key_of(options, BACKEND) for options in changed]
    keys.append(key_of(OPTIONS, replace(BACKEND, version="1")))
    keys.append(key_of(OPTIONS, replace(BACKEND, runtime="tensorrt")))
    for name, value in (
        ("plugin_library", PluginLibrary(Path("plugins.so"), "1" * 64)),
        ("project_version", "9.9"),
        ("gpu_names", ["another GPU"]),
        ("compute_capability", (9, 0)),
    ):
        monkeypatch.setattr(key, name, lambda value=value: value)
        keys.append(key_of(OPTIONS, BACKEND))
    assert len(set(keys)) == len(keys)


def test_a_checkpoint_is_known_by_its_content(builds: list[BuildOptions], tmp_path: Path) -> None:
    keys = []
    for name, content in (("a.pth", b"1"), ("b.pth", b"1"), ("a.pth", b"2")):
        (tmp_path / name).write_bytes(content)
        keys.append(key_of(replace(OPTIONS, weights=str(tmp_path / name)), BACKEND))
    assert keys[0] == keys[1] != keys[2]


@pytest.mark.parametrize(
    ("capability", "runtime", "targets"),
    [
        (None, "tensorrt-rtx", ()),
        ((7, 5), "tensorrt-rtx", ("sm75",)),
        ((8, 9), "tensorrt-rtx", ("sm89",)),
        ((9, 0), "tensorrt-rtx", ()),
        ((8, 9), "tensorrt", ()),
    ],
)
def test_the_build_is_for_the_gpu_at_hand(
    builds: list[BuildOptions],
    monkeypatch: pytest.MonkeyPatch,
    capability: tuple[int, int] | None,
    runtime: str,
    targets: tuple[str, ...],
) -> None:
    monkeypatch.setattr(keep, "compute_capability", lambda: capability)
    monkeypatch.setattr(keep, "load_backend", lambda _: Backend(runtime, None, "0"))
    kept_engine(OPTIONS)
    assert [options.targets for options in builds] == [targets]


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-9])


def _empty(path: Path) -> None:
    path.write_bytes(b"")


@pytest.mark.parametrize("damage", [_cut, _empty, Path.unlink], ids=["cut", "empty", "missing"])
@pytest.mark.parametrize("suffix", [".engine", ".engine.json", ".network.onnx"])
def test_a_damaged_engine_is_said_and_built_again(
    builds: list[BuildOptions], caplog: pytest.LogCaptureFixture, damage: Callable[[Path], object], suffix: str
) -> None:
    files = kept_engine(OPTIONS)
    damage(files.path.with_name("retinaface" + suffix))
    assert kept_engine(OPTIONS) == files
    assert len(builds) == 2
    assert [r.message for r in caplog.records if "damaged" in r.message]


def test_a_cache_that_cannot_be_written_to_is_said(
    builds: list[BuildOptions], cache: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cache.write_text("a file where the folder should be")
    files = kept_engine(OPTIONS)
    assert not files.path.is_relative_to(cache)
    assert files.path.exists()
    assert "cannot be kept" in caplog.text
    assert "RETINAFACE_TRT_CACHE" in caplog.text


def read_only(folder: Path, patch: pytest.MonkeyPatch) -> None:
    """Let the system refuse all that would change the folder, as on a disk that is mounted read-only."""

    def refusing(call: Callable[..., Any], changes: Callable[..., bool]) -> Callable[..., Any]:
        def checked(path: Any, *arguments: Any, **options: Any) -> Any:
            if isinstance(path, str | os.PathLike) and Path(path).is_relative_to(folder) and changes(*arguments):
                raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))
            return call(path, *arguments, **options)

        return checked

    for name in ("mkdir", "utime", "rename", "replace", "unlink"):
        patch.setattr(os, name, refusing(getattr(os, name), lambda *_: True))
    writing = os.O_WRONLY | os.O_RDWR | os.O_CREAT
    patch.setattr(os, "open", refusing(os.open, lambda flags=0, *_: bool(flags & writing)))


def test_a_cache_on_a_disk_that_is_read_only_is_said_and_what_it_has_is_used(
    builds: list[BuildOptions], cache: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    kept = kept_engine(OPTIONS)
    read_only(cache, monkeypatch)
    assert kept_engine(OPTIONS) == kept
    assert (len(builds), caplog.text) == (1, "")
    other = kept_engine(replace(OPTIONS, precision="fp16"))
    assert len(builds) == 2
    assert other.path.exists()
    assert not other.path.is_relative_to(cache)
    assert "cannot be kept" in caplog.text
    assert "Read-only file system" in caplog.text


def test_a_full_disk_is_said(
    builds: list[BuildOptions],
    stand_in: Path,
    monkeypatch: pytest.MonkeyPatch,
    cache: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def full(options: BuildOptions, show: object) -> None:
        if Path(str(options.output)).is_relative_to(cache):
            cause = OutputError.at(options.output, OSError(errno.ENOSPC, "No space left on device"))
            raise BuildError("the engine could not be written") from cause
        shutil.copytree(stand_in, Path(str(options.output)).parent, dirs_exist_ok=True)

    monkeypatch.setattr(keep, "build_engine", full)
    assert kept_engine(OPTIONS).path.exists()
    assert "No space left on device" in caplog.text


def test_a_build_that_fails_is_not_tried_elsewhere(
    builds: list[BuildOptions], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(options: BuildOptions, show: object) -> None:
        builds.append(options)
        raise BuildError("TensorRT refuses the network")

    monkeypatch.setattr(keep, "build_engine", refuse)
    with pytest.raises(BuildError, match="refuses"):
        kept_engine(OPTIONS)
    assert len(builds) == 1


def test_a_builder_that_never_ends_is_named(
    builds: list[BuildOptions], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    files = kept_engine(OPTIONS)
    _cut(files.path)
    monkeypatch.setattr(keep, "_PATIENCE_S", 0.1)
    with locked(files.path.parent.parent), pytest.raises(OutputError, match=r"process \d+ keeps the folder locked"):
        kept_engine(OPTIONS)
    assert "Another process is building" in caplog.text


def _keep_slowly(folder: Path, stand_in: Path) -> None:
    """In a process of its own: build a stand-in that takes half a second, and leave a mark."""
    logging.disable()
    with pytest.MonkeyPatch.context() as patch:

        def build(options: BuildOptions, show: object) -> None:
            (folder / f"built-{time.monotonic_ns()}").touch()
            time.sleep(0.5)
            shutil.copytree(stand_in, Path(str(options.output)).parent, dirs_exist_ok=True)

        patch.setenv("RETINAFACE_TRT_CACHE", str(folder / "cache"))
        patch.setattr(keep, "build_engine", build)
        patch.setattr(keep, "load_backend", lambda runtime: BACKEND)
        patch.setattr(key, "plugin_library", lambda: PluginLibrary(Path("plugins.so"), "0" * 64))
        kept_engine(OPTIONS)


def test_processes_that_start_together_build_once(tmp_path: Path, stand_in: Path) -> None:
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=_keep_slowly, args=(tmp_path, stand_in)) for _ in range(PROCESSES)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0] * PROCESSES
    assert len(list(tmp_path.glob("built-*"))) == 1
