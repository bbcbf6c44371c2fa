"""Texts are read line by line, within bounds: what is legitimate is read, what would fill the memory is refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from engine.bench.analysis.results import read_results
from engine.errors import EvaluationError, InvalidArgumentError
from engine.evaluate.widerface import files, matlab
from engine.evaluate.widerface.files import read_predictions
from engine.pictures.labels import label_line, read_labels
from engine.untrusted import json_text, lines
from engine.untrusted.json_text import count_values, parse_json
from engine.untrusted.limits import MAX_JSON_VALUES, MIB
from engine.untrusted.lines import read_lines
from tests.support.memory import at_most_more


def test_lines_end_alike(tmp_path: Path) -> None:
    path = tmp_path / "text"
    path.write_bytes("\ufeffé\r\nb\rc\u2028d\n\nlast".encode())
    assert [*read_lines(path)] == ["é", "b", "c\u2028d", "", "last"]
    path.write_bytes(b"")
    assert [*read_lines(path)] == []
    path.write_bytes(b"good\n" * 10_000 + b"\xff")
    with pytest.raises(UnicodeDecodeError):
        [*read_lines(path)]


def test_long_lines_and_files_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "text"
    monkeypatch.setattr(lines, "MAX_LINE_CHARACTERS", 10)
    path.write_text("123456789\n" * 3)
    assert len([*read_lines(path)]) == 3
    path.write_text("1\n1234567890\n")
    with pytest.raises(OSError, match="a line of more than 10 characters"):
        [*read_lines(path)]
    monkeypatch.setattr(lines, "MAX_TEXT_BYTES", 12)
    with pytest.raises(OSError, match="it has 13 bytes, expected at most 12"):
        next(read_lines(path))


def test_a_file_that_grows_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "text"
    path.write_text("1\n" * 10_000)
    reader = read_lines(path)
    next(reader)
    path.write_text("1\n" * 100_000)
    with pytest.raises(OSError, match="no fixed size"):
        list(reader)


@pytest.mark.parametrize(
    "text",
    [
        "0",
        "[]",
        "[[], {}, [1, 2]]",
        '{"a": {"b": [1, "c"]}, "d": null}',
        json.dumps([{str(i): [i, i]} for i in range(100)]),
    ],
)
def test_values_are_not_counted_low(text: str) -> None:
    def count(value: object) -> int:
        if isinstance(value, dict):
            return 1 + sum(1 + count(inner) for inner in value.values())
        return 1 + sum(map(count, value)) if isinstance(value, list) else 1

    assert count(json.loads(text)) <= count_values(text) == count_values(text.encode())


def test_json_of_too_many_values_takes_no_memory(tmp_path: Path) -> None:
    text = "[" + "[]," * MAX_JSON_VALUES + "0]"
    path = tmp_path / "results.json"
    path.write_text(text)
    with at_most_more(64 * MIB):
        with pytest.raises(InvalidArgumentError, match=r"has 20,000,002 values, expected at most 10,000,000"):
            parse_json(text)
        with pytest.raises(InvalidArgumentError, match=r"results.json cannot be read: has 20,000,002 values"):
            read_results(path)


def test_the_lines_of_labels_count_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "labels.jsonl"
    path.write_text("".join(label_line(f"{i}", [(1, 2, 3, 4)] * 10) + "\n" for i in range(10)))
    assert len(read_labels(path)) == 10
    monkeypatch.setattr(json_text, "MAX_JSON_VALUES", 500)
    with pytest.raises(InvalidArgumentError, match=r"has 525 values, expected at most 500, up to line 7: split"):
        read_labels(path)


def test_labels_of_a_large_training_set(tmp_path: Path, rng: np.random.Generator) -> None:
    """As many pictures and faces as WIDER FACE has for training, then very many pictures."""
    path, faces = tmp_path / "labels.jsonl", rng.multinomial(160_000, np.full(12_880, 1 / 12_880))
    box = [10.5, 20.25, 300.125, 400.0625]
    path.write_text("".join(label_line(f"0--Event/{i}.jpg", [box] * int(n)) + "\n" for i, n in enumerate(faces)))
    assert [len(found) for found in read_labels(path).values()] == faces.tolist()
    path.write_text("".join(f'{{"image": "{i}", "faces": [{{"box": [1, 2, 3, 4]}}]}}\n' for i in range(100_000)))
    assert len(read_labels(path)) == 100_000


def test_predictions_take_little_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "event").mkdir()
    count = 500_000
    for name in "ab":
        (tmp_path / "event" / f"{name}.txt").write_text(f"{name}.jpg\n{count}\n" + "0 0 1 1 0\n" * count)
    names = ["event/a", "event/b"]
    with at_most_more(120 * MIB):  # 40 bytes a face; lists of lists took 250
        read = read_predictions(tmp_path, names)
    assert [found.shape for found in read] == [(count, 5)] * 2
    monkeypatch.setattr(files, "MAX_PREDICTIONS", count + 7)
    with pytest.raises(EvaluationError, match=r"b.txt, line 10: more than 500,007 faces are predicted"):
        read_predictions(tmp_path, names)


def test_a_long_line_of_predictions_takes_no_memory(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("a.jpg\n1\n" + "0 " * (16 * MIB))
    with at_most_more(200 * MIB), pytest.raises(EvaluationError, match=r"a.txt cannot be read: .* a line of more than"):
        read_predictions(tmp_path, ["a"])


def test_the_answer_of_the_matlab_reader_is_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    child = tmp_path / "child.py"
    child.write_text("print('[' + '[],' * 10_000_000 + '0]')")
    monkeypatch.setattr(matlab, "_CHILD", child)
    (tmp_path / "a.mat").write_bytes(b"damaged")
    with pytest.raises(EvaluationError, match=r"a.mat cannot be read .*: .* has 20,000,002 values"):
        matlab.read_variables(tmp_path / "a.mat", ("gt_list",))
