"""MATLAB files that are damaged: the reader may crash, hang or swell, and the evaluation goes on to say so."""

from __future__ import annotations

import resource
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from engine.errors import EvaluationError
from engine.evaluate.widerface import matlab
from engine.evaluate.widerface.files import read_ground_truth
from engine.evaluate.widerface.matlab import read_variables
from tests.support.data import widerface_ground_truth
from tests.support.widerface_cases import cells, write_mat

GT = ("gt_list",)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A file that can be read."""
    path = tmp_path / "gt.mat"
    write_mat(path, {"gt_list": cells([cells([np.arange(3.0)[:, None]]), cells([np.arange(2.0)[:, None]])])})
    return path


def test_values_shapes_and_types_survive_the_child(tmp_path: Path, rng: np.random.Generator) -> None:
    path = tmp_path / "all.mat"
    arrays: dict[str, NDArray[Any]] = {
        "floats": rng.normal(size=(3, 4)),
        "single": np.array([[np.nan, np.inf, -0.0]], np.float32),
        "bytes": rng.integers(0, 256, (2, 3, 4), np.uint8),
        "large": np.array([[2**63 - 1, -(2**63)]]),
        "complex": np.ones((1, 2)) * (1 + 2j),
        "none": np.zeros((0, 4)),
    }
    write_mat(path, {**arrays, "text": "Grüße", "nested": cells([cells(["a", np.zeros((0, 0))]), np.ones((1, 1))])})
    read = read_variables(path, (*arrays, "text", "nested", "absent"))
    assert read.keys() == {*arrays, "text", "nested"}
    for name, array in arrays.items():
        assert read[name].dtype == array.dtype
        assert read[name].shape == array.shape
        assert read[name].tobytes() == array.tobytes()
    assert read["text"].tolist() == ["Grüße"]
    inner, one = read["nested"][:, 0]
    assert inner[0, 0].tolist() == ["a"]
    assert inner[1, 0].shape == (0, 0)
    assert one.tolist() == [[1.0]]


# Bytes of `path` that make SciPy 1.17's reader end by SIGSEGV: types and sizes of elements. Other versions may survive.
@pytest.mark.parametrize(("at", "value"), [(144, 9), (200, 14), (249, 255), (276, 2), (280, 0), (409, 127)])
def test_a_damaged_file_does_not_end_this_process(path: Path, at: int, value: int) -> None:
    content = bytearray(path.read_bytes())
    content[at] = value
    path.write_bytes(content)
    with pytest.raises(EvaluationError, match=r"gt.mat cannot be read as a MATLAB file .*: .+"):
        read_variables(path, GT)


@pytest.mark.parametrize(
    ("child", "said"),
    [
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "reader ended with status -11"),
        ("raise SystemExit(3)", "reader ended with status 3"),
        ("while True: pass", "takes more than 2 seconds"),
        ("print('junk')", "answers what cannot be read"),
        ("print('[' * 100000)", "answers what cannot be read"),
        ("print('{}')", "answers what cannot be read"),
        ("""print('{"variables": 5}')""", "answers what cannot be read"),
        (
            """print('{"variables": {"gt_list": ["<U1", [1], "AAARAA=="]}}')""",
            "answers what cannot be read.*characters",
        ),
        ("""print('{"variables": {"gt_list": [",<f4", [1], ""]}}')""", "answers what cannot be read"),
        ("""print('{"variables": {"gt_list": ["|O", [1], "AAAAAAAAAAA="]}}')""", "answers what cannot be read"),
        ("""print('{"variables": {"gt_list": ["<f8", [9], "AAAAAAAAAAA="]}}')""", "answers what cannot be read"),
        ("""print('{"reason": "a\\\\u001b[31mred"}')""", r"a\\x1b\[31mred"),
    ],
)
def test_whatever_the_child_does_is_reported(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, child: str, said: str
) -> None:
    (tmp_path / "child.py").write_text(child)
    monkeypatch.setattr(matlab, "_CHILD", tmp_path / "child.py")
    monkeypatch.setattr(matlab, "_SECONDS", 1)
    with pytest.raises(EvaluationError, match=said):
        read_variables(path, GT)


@pytest.mark.parametrize("child", ["while True: pass", "import time; time.sleep(600)"])
def test_no_file_takes_more_than_20_seconds(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, child: str
) -> None:
    """Of which it takes up to 5 to decode the answer."""
    assert 2 * matlab._SECONDS <= 15
    (tmp_path / "child.py").write_text(child)
    monkeypatch.setattr(matlab, "_CHILD", tmp_path / "child.py")
    monkeypatch.setattr(matlab, "_SECONDS", matlab._SECONDS / 10)
    began = time.monotonic()
    with pytest.raises(EvaluationError, match=r"takes more than 1.2 seconds"):
        read_variables(path, GT)
    assert time.monotonic() - began < 10


def test_published_files_are_read_with_time_to_spare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of another version are not known by their digests; they are of the same size."""
    monkeypatch.setattr(matlab, "_PUBLISHED", set())
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    content = read_variables(widerface_ground_truth() / "wider_face_val.mat", ("event_list", "file_list"))
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert len(content["event_list"]) == 61
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < matlab._SECONDS / 5


def test_memory_and_output_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "bomb.mat"
    from scipy.io import savemat

    savemat(path, {"gt_list": np.zeros((1000, 8000))}, do_compression=True)
    assert path.stat().st_size < 100_000
    assert read_variables(path, GT)["gt_list"].shape == (1000, 8000)
    with monkeypatch.context() as less:
        less.setattr(matlab, "MAX_MATLAB_OUTPUT_BYTES", 1 << 20)
        with pytest.raises(EvaluationError, match="unpacks to more than the ground truth"):
            read_variables(path, GT)
    monkeypatch.setattr(matlab, "MAX_MATLAB_MEMORY_BYTES", 32 << 20)
    with pytest.raises(EvaluationError, match="Memory"):
        read_variables(path, GT)


def test_other_kinds_of_values_and_files_are_refused(path: Path, tmp_path: Path) -> None:
    write_mat(path, {"gt_list": {"a": 1.0}})
    with pytest.raises(EvaluationError, match="expected numbers, text or cells"):
        read_variables(path, GT)
    path.unlink()
    path.symlink_to("/dev/zero")
    with pytest.raises(EvaluationError, match="it is a device, expected a regular file"):
        read_variables(path, GT)


def test_the_published_files_are_read_without_a_child(monkeypatch: pytest.MonkeyPatch) -> None:
    folder = widerface_ground_truth()
    here = read_variables(folder / "wider_easy_val.mat", GT)
    monkeypatch.setattr(matlab, "_CHILD", Path("nowhere.py"))
    assert len(read_ground_truth(folder).names) == 3226
    monkeypatch.undo()
    monkeypatch.setattr(matlab, "_PUBLISHED", set())
    in_child = read_variables(folder / "wider_easy_val.mat", GT)
    for event, other in zip(here["gt_list"].ravel(), in_child["gt_list"].ravel(), strict=True):
        for faces, same in zip(event.ravel(), other.ravel(), strict=True):
            assert np.array_equal(faces, same)
