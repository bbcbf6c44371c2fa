"""The work of `detect`."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from engine.cli.arguments import check_outputs
from engine.cli.detect.inputs import Input, Picture, Stream, Unusable, inputs_of
from engine.cli.detect.outputs import Outputs, frame_stem
from engine.cli.detect.recording import CODECS, recording_to
from engine.cli.terminal import counted, note
from engine.detector import TRTRetinaFace
from engine.errors import InvalidArgumentError, OutputError, StreamError
from engine.faces import Selection
from engine.images import read_image
from engine.video.source import check_retries

_BATCH = 8  # frames of a video in one run


def detect(arguments: argparse.Namespace) -> int:
    """Detect in everything that was given; return 1 if some of it cannot be used."""
    inputs = inputs_of(arguments.inputs, arguments.recursive)
    selection = Selection(arguments.min_size, arguments.max_faces)
    check_retries(arguments.retries)
    outputs = Outputs(arguments, inputs)
    _check_recording(arguments.save_video, inputs)
    detector = TRTRetinaFace(
        arguments.engine,
        arguments.device,
        config=arguments.config,
        precision=arguments.precision,
        score_threshold=arguments.score_threshold,
        threads=arguments.threads,
        trust_embedded_plugins=arguments.trust_embedded_plugins,
    )
    work = _Work(detector, asdict(selection), outputs, arguments)
    failed = 0
    with counted(len(inputs)) as show:
        for given in inputs:
            try:
                work.on(given, show)
            except (InvalidArgumentError, OutputError, StreamError) as error:
                note(f"error: {error}")
                failed += 1
            show("", 1)
    return 1 if failed else 0


class _Work:
    """Detects in one input after the other."""

    def __init__(
        self, detector: TRTRetinaFace, selection: dict[str, Any], outputs: Outputs, arguments: argparse.Namespace
    ) -> None:
        self._detector, self._selection, self._outputs = detector, selection, outputs
        self._video, self._retries, self._meshes = arguments.save_video, arguments.retries, arguments.meshes

    def on(self, given: Input, show: Callable[[str, int], None]) -> None:
        """Print what is found.

        Raises:
            InvalidArgumentError, StreamError: the input cannot be read.
            OutputError: a file could not be written.
        """
        if isinstance(given, Unusable):
            raise InvalidArgumentError(given.reason)
        if isinstance(given, Stream):
            self._on_stream(given, show)
        else:
            show(given.name, 0)
            self._on_picture(given)

    def _on_picture(self, picture: Picture) -> None:
        try:
            image = read_image(Path(picture.name))
        except InvalidArgumentError as error:
            raise InvalidArgumentError(f"{picture.name}: {error}") from error
        faces = self._detector.detect(image, **self._selection)
        self._outputs.write(picture.stem, image, faces)
        _print({"image": picture.name, **faces.to_json(meshes=self._meshes)})

    def _on_stream(self, stream: Stream, show: Callable[[str, int], None]) -> None:
        frames = self._detector.detect_stream(
            stream.source,
            batch=1 if stream.live else min(_BATCH, self._detector.max_batch),
            late="drop" if stream.live else "wait",
            retries=self._retries,
            **self._selection,
        )
        with closing(frames), recording_to(self._video, live=stream.live) as record:
            for frame, faces in frames:
                show(f"{stream.name}, frame {frame.index}", 0)
                image, time = np.asarray(frame.image), frame.time or 0.0
                self._outputs.write(frame_stem(stream.stem, frame.index), image, faces)
                found = faces.to_json(meshes=self._meshes)
                _print({"video": stream.name, "frame": frame.index, "time": round(time, 3), **found})
                if self._video is not None and not record(time, faces.plot(image)):
                    break


def _print(line: dict[str, Any]) -> None:
    print(json.dumps(line), flush=True)


def _check_recording(path: Path | None, inputs: Sequence[Input]) -> None:
    """Refuse an impossible --save-video before any work."""
    if path is None:
        return
    if path.suffix.lower() not in CODECS:
        raise InvalidArgumentError(f"--save-video {path}: expected a name that ends in {', '.join(CODECS)}")
    if len(inputs) != 1 or not isinstance(inputs[0], Stream):
        raise InvalidArgumentError("--save-video is for one video, camera or address, and nothing else")
    if os.path.realpath(path) == os.path.realpath(str(inputs[0].source)):
        raise InvalidArgumentError(f"--save-video {path} would overwrite the video that is read; choose another name")
    check_outputs([path])
