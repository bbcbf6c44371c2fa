"""detect_to_parquet: every kind of source, errors, and a run that was stopped."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import tarfile
import time
from dataclasses import replace
from pathlib import Path

import pyarrow
import pytest
from pyarrow import parquet

from engine import TRTRetinaFace
from engine.errors import InvalidArgumentError
from engine.rows import Detection
from engine.scale import Columns, Summary, Workers, detect_to_parquet
from tests.ray.results import BROKEN, assert_found, rows_of

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("cluster")]
TWO = Workers(2, batch_size=3)


@pytest.fixture
def tars(pictures: dict[str, bytes], tmp_path: Path) -> Path:
    """Three archives: half of the pictures, a damaged one, and the other half."""
    folder = tmp_path / "tars"
    folder.mkdir()
    for part in (0, 2):
        with tarfile.open(folder / f"{part}.tar", "w") as archive:
            for name in sorted(pictures, reverse=True)[part // 2 :: 2]:
                for member, content in ((name, pictures[name]), (f"{name}.json", b"{}")):
                    info = tarfile.TarInfo(member)
                    info.size = len(content)
                    archive.addfile(info, io.BytesIO(content))
    (folder / "1.tar").write_bytes(b"no archive" * 100)
    return folder


def test_a_folder_of_pictures(
    folder: Path, detection: Detection, alone: TRTRetinaFace, pictures: dict[str, bytes], tmp_path: Path
) -> None:
    done = detect_to_parquet(folder, tmp_path / "faces", detection, TWO, part_size=5)
    rows = rows_of(tmp_path / "faces")
    assert_found(rows, pictures, alone)
    names = [row["name"] for row in rows]
    assert names == sorted(names)
    files = sorted((tmp_path / "faces").iterdir())
    assert [file.name for file in files] == ["_faces.json", *(f"faces-{i:05d}.parquet" for i in range(5))]
    assert [len(parquet.read_table(file)) for file in files[1:]] == [5, 5, 5, 5, 2]
    assert done == Summary(22, sum(len(row["scores"] or ()) for row in rows), 1, 5, 0)


def test_archives_of_webdataset(
    tars: Path, detection: Detection, alone: TRTRetinaFace, pictures: dict[str, bytes], tmp_path: Path
) -> None:
    assert detect_to_parquet(tars, tmp_path / "faces", detection, TWO).failed == 2
    parts = [parquet.read_table(file).to_pylist() for file in sorted((tmp_path / "faces").glob("*.parquet"))]
    assert [len(part) for part in parts] == [11, 1, 11]
    assert [row["name"] for row in parts[0]] == sorted(row["name"] for row in parts[0])
    (damaged,) = parts[1]
    assert (damaged["name"], damaged["boxes"]) == ("1.tar", None)
    assert "cannot be read after 0 pictures" in damaged["error"]
    assert_found(parts[0] + parts[2], pictures, alone)


def test_parquet_files(detection: Detection, alone: TRTRetinaFace, pictures: dict[str, bytes], tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    table = pyarrow.table({"key": list(pictures), "jpg": list(pictures.values()), "other": [1] * len(pictures)})
    parquet.write_table(table.slice(0, 17), source / "b.parquet")
    parquet.write_table(table.slice(17), source / "d.parquet")
    parquet.write_table(table.slice(0, 0), source / "a.parquet")  # empty, the first
    parquet.write_table(pyarrow.table({"key": ["x"], "jpg": [3]}), source / "c.parquet")
    parquet.write_table(table.slice(0, 0), source / "e.parquet")
    (source / "f.parquet").write_bytes(b"no table")
    parquet.write_table(pyarrow.table({"key": ["x"]}), source / "g.parquet")
    with pytest.raises(InvalidArgumentError, match=r"a\.parquet has no column 'path', it has key, jpg, other"):
        detect_to_parquet(source, tmp_path / "faces", detection, TWO)
    done = detect_to_parquet(source, tmp_path / "faces", detection, TWO, columns=Columns("key", "jpg"))
    assert (done.parts, done.failed) == (7, 4)
    parts = [parquet.read_table(file).to_pylist() for file in sorted((tmp_path / "faces").glob("*.parquet"))]
    assert [len(part) for part in parts] == [0, 17, 1, 5, 0, 1, 1]
    assert_found(parts[1] + parts[3], pictures, alone)
    assert parts[2][0]["error"] == "the column jpg has no bytes in this row"
    assert parts[5][0]["name"] == "f.parquet"
    assert parts[6][0]["error"] == "cannot be read after 0 pictures: it has no column jpg"
    assert len({parquet.read_schema(file) for file in (tmp_path / "faces").glob("*.parquet")}) == 1


def test_only_bad_pictures(detection: Detection, tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "a.png").write_bytes(b"")
    (tmp_path / "source" / os.fsdecode(b"\xff.png")).write_bytes(b"")
    assert detect_to_parquet(tmp_path / "source", tmp_path / "faces", detection) == Summary(2, 0, 2, 1, 0)
    rows = rows_of(tmp_path / "faces")
    assert [row["name"] for row in rows] == [r"\udcff.png", "a.png"]
    assert all(BROKEN in row["error"] for row in rows)


def test_a_run_that_was_killed_goes_on(
    folder: Path, detection: Detection, alone: TRTRetinaFace, pictures: dict[str, bytes], tmp_path: Path
) -> None:
    """Finished parts are not touched, and the result is that of one run."""
    output = tmp_path / "faces"
    program = (
        "import sys, ray\n"
        "from engine.scale import Detection, Workers, detect_to_parquet\n"
        "ray.init(num_cpus=1, include_dashboard=False)\n"
        "detection = Detection(sys.argv[1], 'cpu', threads=1)\n"
        "detect_to_parquet(sys.argv[2], sys.argv[3], detection, Workers(1, batch_size=1), part_size=2)\n"
    )
    command = [sys.executable, "-c", program, str(detection.engine), str(folder), str(output)]
    environment = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
    killed = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    end = time.monotonic() + 120
    while not (output / "faces-00001.parquet").exists() and killed.poll() is None and time.monotonic() < end:
        time.sleep(0.005)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    before = {file: file.stat() for file in output.glob("*.parquet")}
    assert 2 <= len(before) < 11

    done = detect_to_parquet(folder, output, detection, TWO, part_size=2)
    assert (done.parts, done.earlier) == (11 - len(before), len(before))
    assert done.pictures == 22 - 2 * len(before)
    assert all(
        (file.stat().st_mtime_ns, file.stat().st_ino) == (old.st_mtime_ns, old.st_ino) for file, old in before.items()
    )
    assert_found(rows_of(output), pictures, alone)
    assert detect_to_parquet(folder, output, detection, TWO, part_size=2) == Summary(0, 0, 0, 0, 11)


def test_other_work_does_not_go_into_the_same_folder(folder: Path, detection: Detection, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    (source / "a.png").write_bytes((folder / "broken.jpg").read_bytes())
    detect_to_parquet(source, tmp_path / "faces", detection)
    for other, words in ((replace(detection, max_faces=1), "settings"), (replace(detection, engine="x"), "engine")):
        with pytest.raises(InvalidArgumentError, match=f"holds faces of a run with other {words}: choose another"):
            detect_to_parquet(source, tmp_path / "faces", other)
    (source / "b.png").write_bytes(b"")
    with pytest.raises(InvalidArgumentError, match="a run with other pictures:"):
        detect_to_parquet(source, tmp_path / "faces", detection)
    (tmp_path / "faces" / "_faces.json").write_text("{")
    with pytest.raises(InvalidArgumentError, match=r"_faces\.json is damaged"):
        detect_to_parquet(source, tmp_path / "faces", detection)
