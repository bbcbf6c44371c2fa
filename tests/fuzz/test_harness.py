"""The harness finds planted faults of every kind, goes on behind them, and repeats them."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.fuzz import __main__ as command
from tests.fuzz import report
from tests.fuzz.outcome import flaw_of
from tests.fuzz.targets import PLANTED
from tests.fuzz.targets.planted import FAULTS, NUMBERS, Planted
from tests.fuzz.watch import HarnessError, Limits, Tally, Watch
from tests.fuzz.worker import Task, random_of

LIMITS = Limits(seconds=3, memory_bytes=400 << 20)
KINDS = {
    "crash": ("crash", "ended with SIGSEGV"),
    "exit": ("crash", "ended with status 3"),
    "hang": ("hang", "takes more than 3 s"),
    "memory": ("memory", "the process has had more than 400 MiB"),
    "exception": ("exception", "KeyError from planted.py"),
    "unnamed": ("message", "RetinaFaceError does not name the file, from planted.py"),
    "causeless": ("message", "RetinaFaceError does not say what is wrong, from planted.py"),
    "unprintable": ("message", "RetinaFaceError has characters that do not print, from planted.py"),
}


def _first(seed: int) -> dict[str, int]:
    """Return the number of the first input with each fault."""
    found: dict[str, int] = {}
    index = 0
    while len(found) < len(set(FAULTS.values())):
        number = random_of(Task(PLANTED, seed, 0), index).randrange(NUMBERS)
        if number in FAULTS:
            found.setdefault(FAULTS[number], index)
        index += 1
    return found


@pytest.mark.slow
def test_every_planted_fault_is_found_once_and_kept(tmp_path: Path) -> None:
    first = _first(1)
    tally = Watch(LIMITS, tmp_path).try_inputs(Task(PLANTED, 1, 60, most=max(first.values()) + 1))
    assert {finding.index: (finding.kind, finding.detail.split(":")[0]) for finding in tally.findings} == {
        first[fault]: said for fault, said in KINDS.items()
    }
    assert tally.tried == max(first.values()) + 1 == tally.accepted + tally.refused + tally.faulty
    assert min(tally.accepted, tally.refused) > 0
    assert tally.faulty >= len(KINDS)
    kept = {int(path.name.split("-")[-1]): (path / "planted.txt").read_text().split()[0] for path in tmp_path.iterdir()}
    assert kept == {index: fault for fault, index in first.items()}


@pytest.mark.slow
def test_one_input_repeats_a_finding(tmp_path: Path) -> None:
    for fault, index in _first(2).items():
        tally = Watch(LIMITS, tmp_path).try_inputs(Task(PLANTED, 2, 60, index, most=1))
        assert [(f.index, f.kind, f.detail.split(":")[0]) for f in tally.findings] == [(index, *KINDS[fault])]
        assert (tally.tried, tally.faulty) == (1, 1)
    crash = Watch(LIMITS, tmp_path).try_inputs(Task(PLANTED, 2, 60, _first(2)["crash"], most=1)).findings[0]
    assert "planted.py" in crash.report  # where Python was


def test_parts_share_the_inputs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Together they try what one would."""
    first = min(_first(3).values())
    whole = Watch(LIMITS, tmp_path).try_inputs(Task(PLANTED, 3, 60, most=first))
    parts = Tally(PLANTED)
    for part in range(2):
        parts.add(Watch(LIMITS, tmp_path).try_inputs(Task(PLANTED, 3, 60, part, 2, (first + 1 - part) // 2)))
    assert (parts.tried, parts.accepted, parts.refused) == (whole.tried, whole.accepted, whole.refused)
    assert whole.tried == first


def test_an_input_depends_on_seed_target_and_number_alone(tmp_path: Path) -> None:
    target = Planted(tmp_path)
    made = [target.make(random_of(Task(PLANTED, seed, 0), index)) for seed in range(3) for index in range(50)]
    again = [target.make(random_of(Task(PLANTED, seed, 9.0, 5, 7), index)) for seed in range(3) for index in range(50)]
    assert made == again
    assert made[:50] != made[50:100] != made[100:]


def test_a_target_that_fails_itself_is_no_finding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLANTED_BREAKS", "1")
    with pytest.raises(HarnessError, match=r"(?s)target planted fails:.*no input can be made"):
        Watch(LIMITS, tmp_path).try_inputs(Task(PLANTED, 1, 60, most=3))


@pytest.mark.parametrize(
    ("message", "flaw"),
    [
        ("/a/b is damaged: it ends within a field", None),
        ("it is damaged: it ends within a field", "does not name the file"),
        ("/a/b cannot be", "does not say what is wrong"),
        ("/a/b is damaged: it ends within\na field", "has characters that do not print"),
        ("/a/b is damaged by \x1b[31m", "has characters that do not print"),
        ("/a/b is damaged by " + "a" * 10_000, "is longer than 10000 characters"),
    ],
)
def test_messages(message: str, flaw: str | None) -> None:
    assert flaw_of(message, ("/a/b", "/a/c")) == flaw
    if flaw != "does not name the file":
        assert flaw_of(message, ()) == (None if flaw == "does not say what is wrong" else flaw)


def test_the_command_prints_what_repeats_a_finding(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    index = _first(1)["exception"]
    monkeypatch.setattr(sys, "argv", ["fuzz", "--target", PLANTED, "--seed", "1", "--index", str(index)])
    monkeypatch.setattr(command, "Watch", lambda: Watch(LIMITS, tmp_path))
    assert command.main() == 1
    out = capsys.readouterr().out
    assert f"python -m tests.fuzz --target planted --seed 1 --index {index}" in out
    assert "exception: KeyError from planted.py" in out


def test_a_run_is_documented(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = tmp_path / "security.md"
    page.write_text(f"before\n<!-- {report.SECTION}: generated -->\nold\n<!-- end of {report.SECTION} -->\nafter\n")
    monkeypatch.setattr(report, "DOCUMENT", page)
    report.document([Tally("texts", 1200, 700, 500, 0, 2.0, 0.5, 1 << 30)], "python -m tests.fuzz --seed 1")
    text = page.read_text()
    assert text.startswith("before\n")
    assert text.endswith("after\n")
    assert "old" not in text
    assert "`python -m tests.fuzz --seed 1`:" in text
    assert "| texts | 1,200 | 700 | 500 | 0 | 600 | 0.50 s | 1.07 GB |" in text
