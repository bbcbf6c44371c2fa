"""DetectFaces in a pipeline of Ray Data."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pyarrow
import pytest
import ray

from engine import TRTRetinaFace
from engine.errors import InvalidArgumentError
from engine.rows import Detection
from engine.scale import DetectFaces
from tests.ray.results import assert_found, rows_of

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("cluster")]


class _Named(DetectFaces):
    """Also says which process worked."""

    def __call__(self, table: Any) -> Any:
        time.sleep(0.1)  # as long as one works, the other gets a batch
        faces = super().__call__(table)
        return faces.append_column("process", pyarrow.array([os.getpid()] * len(faces)))


def test_two_processes_find_what_detect_finds(
    folder: Path, detection: Detection, alone: TRTRetinaFace, pictures: dict[str, bytes], tmp_path: Path
) -> None:
    read = ray.data.read_binary_files(str(folder), include_paths=True, override_num_blocks=len(pictures))
    faces = read.materialize().map_batches(  # slow reading would leave work for one process only
        _Named,
        fn_constructor_args=(detection,),
        batch_format="pyarrow",
        batch_size=3,
        compute=ray.data.ActorPoolStrategy(size=2),
        num_cpus=0.5,
    )
    faces.write_parquet(str(tmp_path))
    rows = rows_of(tmp_path)
    for row in rows:
        row["name"] = Path(row["path"]).relative_to(folder).as_posix()
    assert_found(rows, pictures, alone)
    assert len({row["process"] for row in rows}) == 2
    assert "bytes" not in rows[0]


def test_a_table_without_pictures_is_refused(detection: Detection) -> None:
    with pytest.raises(InvalidArgumentError, match="has no column 'bytes'"):
        DetectFaces(detection)(pyarrow.table({"path": ["a"]}))
    with pytest.raises(InvalidArgumentError, match='batch_format="pyarrow"'):
        DetectFaces(detection)({"bytes": [b""]})
