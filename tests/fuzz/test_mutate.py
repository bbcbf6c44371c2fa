"""Changed files stay what their format promises: with right lengths and checksums, so that readers go on."""

from __future__ import annotations

import io
import json
import pickle
import pickletools
import struct
import zipfile
import zlib
from pathlib import Path
from random import Random

import cv2
import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import InvalidArgumentError
from engine.untrusted.onnx_file import refuse_external_data
from tests.fuzz.mutate.archives import archive_of, members_of, mutated_archive
from tests.fuzz.mutate.arrays import array_file, mutated_array
from tests.fuzz.mutate.content import edge, few, mutated
from tests.fuzz.mutate.matlab import HEADER_BYTES, content_of, elements_of, mutated_matlab
from tests.fuzz.mutate.pickles import mutated_pickle
from tests.fuzz.mutate.pictures import chunks_of, jpeg_of, mutated_jpeg, mutated_png, png_of, segments_of
from tests.fuzz.mutate.protobuf import fields_of, message_of, mutated_message
from tests.fuzz.mutate.values import mutated_values, to_text
from tests.support.graphs import tiny_detector

TIMES = 300
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
)
FIELD = st.one_of(
    st.tuples(st.integers(1, 1 << 28), st.just(0), st.integers(0, (1 << 64) - 1)),
    st.tuples(st.integers(1, 1 << 28), st.just(1), st.binary(min_size=8, max_size=8)),
    st.tuples(st.integers(1, 1 << 28), st.just(2), st.binary(max_size=300)),
    st.tuples(st.integers(1, 1 << 28), st.just(5), st.binary(min_size=4, max_size=4)),
)


@pytest.fixture
def picture(rng: np.random.Generator) -> np.ndarray:
    """Noise."""
    return rng.integers(0, 256, (11, 17, 3), np.uint8)


@given(st.binary(), st.integers(0, 1 << 32), st.lists(st.binary(), max_size=2))
def test_any_bytes_can_be_changed(content: bytes, seed: int, others: list[bytes]) -> None:
    assert mutated(content, Random(seed), others) == mutated(content, Random(seed), others)


def test_edges_and_counts_stay_in_range() -> None:
    random = Random(1)
    for bits in (1, 8, 16, 29, 64):
        values = {edge(random, bits) for _ in range(TIMES)}
        assert min(values) >= 0
        assert max(values) < 1 << bits
    assert {few(random, 4) for _ in range(TIMES)} == {1, 2, 3, 4}


@given(JSON, st.integers(0, 1 << 32))
def test_any_values_can_be_changed(values: object, seed: int) -> None:
    before = repr(values)
    text = to_text(mutated_values(values, Random(seed)))
    assert repr(values) == before
    text.encode()  # surrogates are escaped


def test_values_are_changed_inside() -> None:
    values = {"a": {"b": [1, 2, {"c": "text"}]}, "d": 1.5}
    changed = {to_text(mutated_values(values, Random(seed))) for seed in range(TIMES)}
    assert len(changed) > TIMES / 2
    assert sum('"c": "' not in text and '"d": 1.5' in text for text in changed) > 10


@given(st.lists(FIELD, max_size=20))
def test_messages_are_read_as_they_were_written(fields: list[tuple[int, int, int | bytes]]) -> None:
    assert fields_of(message_of(fields)) == fields


def test_changed_messages_are_well_formed() -> None:
    """The product's reader finds no field that is cut off, except where a change says so."""
    content = tiny_detector().SerializeToString()
    assert message_of(fields_of(content)) == content
    changed = [mutated_message(content, onnx.ModelProto.DESCRIPTOR, Random(seed)) for seed in range(TIMES)]
    good = deep = 0
    for message in changed:
        try:
            refuse_external_data(message)
            good += 1
        except InvalidArgumentError:
            pass
        deep += fields_of(message)[0] == fields_of(content)[0] and message != content
    assert good > TIMES / 2
    assert deep > TIMES / 2


def test_changed_archives_have_right_checksums() -> None:
    members = [("a.npy", bytes(range(200))), ("folder/b.pkl", b"text" * 50)]
    assert members_of(archive_of(members)) == members
    good = 0
    for seed in range(TIMES):
        content = mutated_archive(members, Random(seed))
        try:
            with zipfile.ZipFile(io.BytesIO(content)) as archive:
                good += archive.testzip() is None
        except Exception:  # zipfile raises many kinds
            continue
    assert TIMES * 0.7 < good < TIMES


def test_changed_pickles_keep_whole_operations() -> None:
    content = pickle.dumps({"a": [1, 2.5, "b", (None, True)], "c": 1 << 40}, protocol=2)
    whole = 0
    for seed in range(TIMES):
        changed = mutated_pickle(content, Random(seed))
        try:
            whole += len(list(pickletools.genops(changed))) > 0
        except ValueError:
            continue
    assert whole > TIMES / 2


def test_changed_png_files_have_right_checksums(picture: np.ndarray) -> None:
    content = cv2.imencode(".png", picture)[1].tobytes()
    assert png_of(chunks_of(content)) == content
    decoded = 0
    for seed in range(TIMES):
        changed, at = mutated_png(content, Random(seed)), 8
        while at < len(changed):
            (length,) = struct.unpack_from(">I", changed, at)
            (checksum,) = struct.unpack_from(">I", changed, at + 8 + length)
            assert zlib.crc32(changed[at + 4 : at + 8 + length]) == checksum
            at += length + 12
        assert at == len(changed)
        decoded += chunks_of(changed)[:1] == chunks_of(content)[:1] and changed != content
    assert decoded > TIMES / 3


def test_changed_jpeg_files_have_right_lengths(picture: np.ndarray) -> None:
    content = cv2.imencode(".jpg", picture)[1].tobytes()
    segments, scan = segments_of(content)
    assert jpeg_of(segments, scan) == content
    whole = 0
    for seed in range(TIMES):
        changed = mutated_jpeg(content, Random(seed))
        try:
            whole += all(len(data) < 65534 for _, data in segments_of(changed)[0]) and changed != content
        except (IndexError, struct.error):  # what follows the segments was cut
            continue
    assert whole > TIMES * 0.7


def test_changed_matlab_files_have_right_lengths(tmp_path: Path) -> None:
    from scipy.io import savemat

    for packed in (False, True):
        path = tmp_path / "a.mat"
        savemat(
            path, {"x": np.arange(6.0), "name": "text", "y": np.array([[1, 2, 3]], np.uint8)}, do_compression=packed
        )
        content = path.read_bytes()
        assert content_of(elements_of(content[HEADER_BYTES:])) == content[HEADER_BYTES:]
        whole = 0
        for seed in range(TIMES):
            changed = mutated_matlab(content, Random(seed))[HEADER_BYTES:]
            whole += content_of(elements_of(changed)) == changed
        assert whole > TIMES / 2


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # NumPy's, of shapes that are too large
def test_changed_arrays_have_a_header() -> None:
    content = array_file(np.arange(12, dtype=np.float32).reshape(3, 4))
    read = 0
    for seed in range(TIMES):
        changed = mutated_array(content, Random(seed))
        try:
            np.load(io.BytesIO(changed), allow_pickle=False)
            read += changed != content
        except Exception:  # NumPy raises many kinds
            continue
    assert read > TIMES / 5


def test_text_is_json_unless_it_is_too_deep() -> None:
    assert json.loads(to_text({"a": [1, "\ud800"]})) == {"a": [1, "\ud800"]}
    deep: list[object] = []
    for _ in range(10_000):
        deep = [deep]
    with pytest.raises(RecursionError):
        json.loads(to_text(deep))
