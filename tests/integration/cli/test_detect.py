"""`retinaface-trt detect`: every kind of input and output, errors, and exit status."""

from __future__ import annotations

import argparse
import io
import json
import os
import pty
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from engine import Detections, TRTRetinaFace
from engine.cli import main
from engine.types import Image
from engine.video import capture as capture_module
from tests.engine.video.cameras import Camera
from tests.support.data import astronaut
from tests.support.data import read_image as read

Run = Callable[..., tuple[int, list[dict[str, Any]], str]]


@pytest.fixture
def run(fp32_engine: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs detect in a folder of the test; gives the status, the lines of JSON, and stderr."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: object, listed: bytes = b"") -> tuple[int, list[dict[str, Any]], str]:
        monkeypatch.setattr(sys, "stdin", argparse.Namespace(buffer=io.BytesIO(listed)))
        capsys.readouterr()
        status = main(["detect", "--engine", str(fp32_engine), "--device", "cpu", *map(str, arguments)])
        printed = capsys.readouterr()
        return status, [json.loads(line) for line in printed.out.splitlines()], printed.err

    return run


def face(side: int = 200) -> Image:
    return cv2.resize(astronaut()[20:220, 120:320], (side, side), interpolation=cv2.INTER_AREA)  # type: ignore[return-value]


def put(path: str, image: Image | None = None) -> Path:
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(cv2.imencode(target.suffix, face() if image is None else image)[1].tobytes())
    return target


def put_video(path: str, frames: int = 30) -> Path:
    """A face in all frames but every third."""
    writer = cv2.VideoWriter(path, cv2.VideoWriter.fourcc(*"MJPG"), 12.5, (200, 160))
    for index in range(frames):
        writer.write(np.full((160, 200, 3), 80, np.uint8) if index % 3 == 0 else face()[:160])
    writer.release()
    return Path(path)


def names(lines: list[dict[str, Any]]) -> list[str]:
    return [line["image"] for line in lines]


def test_a_folder_has_its_pictures_in_order(run: Run) -> None:
    for name in ("b.jpg", "a.PNG", "c.gif", "d.webp", "e.jp2", "f.avif", "g.bmp", "h.tiff", "sub/z.png"):
        put(f"photos/{name}")
    Path("photos/text.txt").write_text("no picture")
    Path("photos/folder.jpg").mkdir()
    os.mkfifo("photos/pipe.jpg")
    status, lines, said = run("photos")
    expected = [
        f"photos/{name}" for name in ("a.PNG", "b.jpg", "c.gif", "d.webp", "e.jp2", "f.avif", "g.bmp", "h.tiff")
    ]
    assert (status, names(lines), said) == (0, expected, "")
    assert all(len(line["faces"]) == 1 for line in lines)
    status, lines, said = run("photos", "--recursive")
    assert (status, names(lines), said) == (0, [*expected, "photos/sub/z.png"], "")


def test_patterns_lists_and_what_is_wrong_in_them(run: Run) -> None:
    put("a1.jpg"), put("a2.jpg"), put("b [1].jpg"), put("sub/c.png")
    status, lines, said = run("a?.jpg", "b [1].jpg", "**/c.png")
    assert (status, names(lines), said) == (0, ["a1.jpg", "a2.jpg", "b [1].jpg", "sub/c.png"], "")
    listed = b"a2.jpg\r\n\nnowhere.jpg\nsub\nx\0y.jpg\n" + b"a" * 5000 + b".jpg\na1.jpg"
    status, lines, said = run("-", "z*.jpg", listed=listed)
    assert (status, names(lines)) == (1, ["a2.jpg", "sub/c.png", "a1.jpg"])
    errors = said.splitlines()
    assert len(errors) == 4
    assert "error: nowhere.jpg: cannot be read: No such file" in errors[0]
    assert "no file's name has a character of the value 0" in errors[1]
    assert "File name too long" in errors[2]
    assert errors[3].endswith("error: z*.jpg: no file has a name of this pattern")
    assert run("-")[::2] == (1, "retinaface-trt: error: the list on standard input is empty\n")


def test_what_cannot_be_read_is_named_and_the_others_done(run: Run) -> None:
    put("good.png")
    put("wide.bmp", np.zeros((1, 50_000, 3), np.uint8))
    put("wide.png", np.zeros((10, 50_000, 3), np.uint8))
    Path("zero.jpg").touch()
    Path("zero.mp4").touch()
    Path("text.mp4").write_text("no video" * 100)
    Path("empty").mkdir()
    video = put_video("video.avi").read_bytes()
    Path("cut.avi").write_bytes(video[: len(video) // 2])
    bad = ["wide.png", "wide.bmp", "zero.jpg", "zero.mp4", "text.mp4", "empty", "cut.avi", "ftp://x/y.mp4", "camera:-1"]
    status, lines, said = run(*bad, "good.png")
    assert status == 1
    assert lines[-1]["image"] == "good.png"
    assert {line.get("video") for line in lines[:-1]} == {"cut.avi"}
    assert [line["frame"] for line in lines[:-1]] == list(range(len(lines) - 1))
    expected = [
        "wide.png: is a picture with a side of 50000 pixels",
        "wide.bmp: is a picture with a side of 50000 pixels",
        "zero.jpg: is not a picture",
        "the video zero.mp4 is empty",
        "text.mp4 cannot be read: it is no video",
        "the folder empty has no pictures",
        f"cut.avi broke, {len(lines) - 1} of 30 frames read after frame {len(lines) - 2}",
        "source is ftp://x/y.mp4, expected an address of rtsp",
        "camera:-1: cannot be read: No such file",
    ]
    errors = said.splitlines()
    assert len(errors) == len(expected)
    for error, reason in zip(errors, expected, strict=True):
        assert reason in error


def test_an_address_is_printed_as_it_is_and_without_its_password(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[object] = []

    def capture(*arguments: object) -> Camera:
        opened.append(arguments[0])
        return Camera([10])

    monkeypatch.setattr(cv2, "VideoCapture", capture)
    status, lines, said = run("http://me:secret@camera.example/stream", "camera:3")
    assert opened == ["http://me:secret@camera.example/stream", 3]
    assert [(line["video"], line["frame"]) for line in lines] == [("http://camera.example/stream", 0), ("camera:3", 0)]
    assert status == 1  # both broke after a frame
    assert "http://camera.example/stream broke after frame 0" in said
    assert "secret" not in said


def test_faces_are_selected(run: Run) -> None:
    put("two.png", np.vstack([face(160), np.pad(face(110), ((0, 0), (0, 50), (0, 0)))]))
    (both,) = run("two.png")[1]
    assert len(both["faces"]) == 2
    assert run("two.png", "--max-faces", 1)[1][0]["faces"] == both["faces"][:1]
    sides = sorted(min(box[2] - box[0], box[3] - box[1]) for box in (face["box"] for face in both["faces"]))
    (large,) = run("two.png", "--min-size", sum(sides) / 2)[1]
    assert len(large["faces"]) == 1
    assert run("two.png", "--score-threshold", 1)[1][0]["faces"] == []
    for option in (("--max-faces", 0), ("--min-size", -1), ("--score-threshold", 2)):
        status, lines, said = run("two.png", *option)
        assert (status, lines) == (2, [])
        assert said.count("\n") == 1


def test_pictures_that_are_written(run: Run, fp32_engine: Path) -> None:
    """For a file by its name; for a folder's, also those of its subfolders."""
    put("one.jpg"), put("photos/a.png"), put("photos/sub/a.png")
    status, lines, said = run(
        "one.jpg", "photos", "--recursive", "--annotate", "marked", "--crops", "crops", "--align", "aligned/new"
    )
    assert (status, said) == (0, "")
    assert names(lines) == ["one.jpg", "photos/a.png", "photos/sub/a.png"]
    for folder, end in (("marked", ""), ("crops", "_0"), ("aligned/new", "_0")):
        found = sorted(str(path.relative_to(folder)) for path in Path(folder).rglob("*.png"))
        assert found == [f"a{end}.png", f"one{end}.png", f"sub/a{end}.png"]
    image = read(Path("photos/a.png"))
    faces = TRTRetinaFace(fp32_engine, "cpu").detect(image)
    np.testing.assert_array_equal(read(Path("marked/a.png")), faces.plot(image))
    np.testing.assert_array_equal(read(Path("crops/a_0.png")), faces.crops(image)[0])
    np.testing.assert_array_equal(read(Path("aligned/new/a_0.png")), faces.align(image)[0])
    assert Detections.from_json(lines[1]).to_json() == faces.to_json()


def test_nothing_that_is_read_or_written_is_overwritten(run: Run) -> None:
    put("a/x.jpg"), put("b/x.jpg"), put("c/x.png"), put("d/x.jpg"), put("d/x_0.png")
    before = Path("d/x_0.png").read_bytes()
    for arguments, reason in (
        (("a/x.jpg", "b/x.jpg", "--crops", "out"), "b/x.jpg would overwrite what is made of a/x.jpg"),
        (("c/x.png", "--annotate", "c"), "c/x.png would overwrite a picture that is read"),
        (("a/x.jpg", "--annotate", "out", "--crops", "./out"), "--annotate and --crops need different folders"),
        (("a/x.jpg", "--align", "/proc/out"), "cannot write to the folder /proc/out"),
        (("a/x.jpg", "--save-video", "out.mp4"), "--save-video is for one video"),
        (("video.avi", "--save-video", "out.txt"), "expected a name that ends in .avi"),
        (("video.avi", "--save-video", "./video.avi"), "would overwrite the video that is read"),
    ):
        status, lines, said = run(*arguments)
        assert (status, lines) == (2, [])
        assert reason in said
    assert run("a/x.jpg", "b/x.jpg")[0] == 0  # nothing is written
    status, lines, said = run("d/x.jpg", "d/x_0.png", "--crops", "d")
    assert (status, names(lines)) == (1, ["d/x_0.png"])
    assert "d/x_0.png would overwrite a picture that is read" in said
    assert Path("d/x_0.png").read_bytes() == before


def test_a_video_has_a_line_for_each_frame(run: Run) -> None:
    put_video("video.avi")
    status, lines, said = run("video.avi", "--crops", "crops", "--annotate", "marked")
    assert (status, said) == (0, "")
    assert [(line["video"], line["frame"], len(line["faces"])) for line in lines] == [
        ("video.avi", index, int(index % 3 > 0)) for index in range(30)
    ]
    np.testing.assert_allclose([line["time"] for line in lines], np.arange(30) / 12.5, atol=1e-3)
    crops = sorted(path.name for path in Path("crops").iterdir())
    assert crops == [f"video_{index:06d}_0.png" for index in range(30) if index % 3]
    assert len(list(Path("marked").iterdir())) == 30


@pytest.mark.parametrize("suffix", [".avi", ".m4v", ".mkv", ".mov", ".mp4"])
def test_a_video_is_written_with_its_faces_marked(run: Run, suffix: str) -> None:
    put_video("video.avi")
    marked = Path(f"new/marked{suffix}")
    assert run("video.avi", "--save-video", marked)[0] == 0
    assert list(marked.parent.iterdir()) == [marked]
    capture = cv2.VideoCapture(str(marked))
    assert capture.get(cv2.CAP_PROP_FPS) == 12.5
    found = []
    while (read := capture.read())[0]:
        found.append(np.asarray(read[1], np.int64))
    assert len(found) == 30
    plain = cv2.VideoCapture("video.avi")
    for index, frame in enumerate(found):
        before = plain.read()[1].astype(np.int64)
        changed = (np.abs(frame - before).max(axis=2) > 60).sum()
        assert (changed > 300) == (index % 3 > 0)  # a box, or only what the codec loses


def test_a_video_that_breaks_leaves_the_old_one(run: Run) -> None:
    video = put_video("video.avi").read_bytes()
    Path("cut.avi").write_bytes(video[: len(video) // 2])
    Path("marked.mp4").write_text("old")
    assert run("cut.avi", "--save-video", "marked.mp4")[0] == 1
    assert Path("marked.mp4").read_text() == "old"
    assert not list(Path().glob(".marked*"))


def test_a_cameras_recording_is_kept_when_the_camera_breaks(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    real = cv2.VideoCapture
    monkeypatch.setattr(
        cv2, "VideoCapture", lambda *given: Camera([1, 2, 3], waits=0.05) if given == (0,) else real(*given)
    )
    status, lines, said = run("camera:0", "--save-video", "seen.avi")
    assert (status, len(lines)) == (1, 3)
    assert "camera 0 broke after frame 2" in said
    assert real("seen.avi").get(cv2.CAP_PROP_FRAME_COUNT) == 3


def test_a_camera_that_breaks_is_opened_again(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Twice in a row at most: the third break in a row ends it, the first frame of a connection begins anew."""
    cameras = [Camera([1], waits=0.05), Camera(None), Camera([2], waits=0.05), Camera(None), Camera(None)]
    monkeypatch.setattr(cv2, "VideoCapture", lambda *given: cameras.pop(0))
    monkeypatch.setattr(capture_module, "_FIRST_PAUSE_S", 0.0)
    status, lines, said = run("camera:0", "--retries", 2)
    assert (status, [line["frame"] for line in lines], cameras) == (1, [0, 1], [])
    assert "camera 0 cannot be reached" in said
    assert "after frame 1; it was opened again 2 times in vain" in said


def test_a_negative_number_of_retries_is_refused_before_any_work(run: Run) -> None:
    status, lines, said = run(put("a.png"), "--retries", -1)
    assert (status, lines) == (2, [])
    assert "retries is -1, expected 0 or more" in said


def command(engine: Path, *arguments: object) -> list[str]:
    return [sys.executable, "-m", "engine", "detect", "--engine", str(engine), "--device", "cpu", *map(str, arguments)]


def test_a_reader_that_leaves_ends_it_without_a_traceback(fp32_engine: Path, tmp_path: Path) -> None:
    video = put_video(str(tmp_path / "video.avi"), 200)
    with subprocess.Popen(
        command(fp32_engine, video), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as done:
        assert done.stdout is not None
        assert done.stderr is not None
        json.loads(done.stdout.readline())
        done.stdout.close()
        said = done.stderr.read()
        assert done.wait(60) == 1
    assert "Traceback" not in said


def test_an_interrupt_leaves_no_half_video(fp32_engine: Path, tmp_path: Path) -> None:
    video = put_video(str(tmp_path / "video.avi"), 600)
    out = tmp_path / "out" / "marked.mp4"
    with subprocess.Popen(
        command(fp32_engine, video, "--save-video", out), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as done:
        assert done.stdout is not None
        for _ in range(30):
            done.stdout.readline()
        done.send_signal(signal.SIGINT)
        done.communicate(timeout=60)
    assert done.returncode == 130
    assert list(out.parent.iterdir()) == []


def test_progress_is_on_a_terminal_only(fp32_engine: Path, tmp_path: Path) -> None:
    pictures = [put(str(tmp_path / f"{i}.png")) for i in range(3)]
    leader, follower = pty.openpty()
    done = subprocess.run(command(fp32_engine, *pictures), stdout=subprocess.PIPE, stderr=follower, check=True)
    os.close(follower)
    assert len(done.stdout.splitlines()) == 3
    shown = os.read(leader, 1 << 16).decode()
    os.close(leader)
    assert "0/3" in shown or "1/3" in shown or "3/3" in shown
    quiet = subprocess.run(command(fp32_engine, *pictures), capture_output=True, check=True)
    assert quiet.stderr == b""


def test_weights_by_name_are_built_once(run: Run, monkeypatch: pytest.MonkeyPatch, fp32_engine: Path) -> None:
    """The store builds; here it is a double that says what it was asked for."""
    from engine import store
    from engine.sidecar import read_engine

    asked: list[Any] = []

    def kept(options: Any) -> Any:
        asked.append(options)
        return read_engine(fp32_engine)

    monkeypatch.setattr(store, "kept_engine", kept)
    put("a.png")
    assert main(["detect", "--device", "cpu", "a.png"]) == 0
    assert main(["detect", "--device", "cpu", "--engine", "resnet50", "--precision", "bf16", "a.png"]) == 0
    assert [(options.config, options.precision) for options in asked] == [
        ("mobilenet0.25", "fp16"),
        ("resnet50", "bf16"),
    ]
    status, lines, said = run("a.png", "--precision", "fp32")
    assert (status, lines) == (2, [])
    assert "was built with its own" in said
