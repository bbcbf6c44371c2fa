"""detect_stream of a detector."""

from __future__ import annotations

import os
from abc import abstractmethod
from collections.abc import Generator, Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Literal

from engine.errors import InvalidArgumentError
from engine.faces import Detections, Selection
from engine.inputs import as_image, check_color
from engine.runtime.serving import ServedDetector
from engine.text import represented
from engine.types import AnyImage, Color
from engine.video.detect import faces_of_frames
from engine.video.frames import Frame
from engine.video.reader import FrameReader

if TYPE_CHECKING:
    from engine.video.source import Source


class StreamingDetector(ServedDetector):
    """The base of TRTRetinaFace that detects in videos, cameras and other streams of frames."""

    device: str

    @abstractmethod
    def detect(
        self,
        images: Sequence[AnyImage],
        *,
        score_threshold: float | None = None,
        min_size: float | None = None,
        max_faces: int | None = None,
        color: Color = "bgr",
    ) -> list[Detections]:
        """Find the faces in several images."""

    def detect_stream(
        self,
        source: str | os.PathLike[str] | int | Iterable[AnyImage],
        *,
        batch: int = 1,
        late: Literal["wait", "drop"] = "wait",
        retries: int = 0,
        score_threshold: float | None = None,
        min_size: float | None = None,
        max_faces: int | None = None,
        color: Color = "bgr",
    ) -> Generator[tuple[Frame, Detections], None, None]:
        """Find the faces in each frame of a stream. A thread reads frames while those before them are worked on.

        Args:
            source: the path of a video, the number of a camera, an address (rtsp://, http:// and others), or an
                iterable of images of any kind that detect() takes. It is opened now, and read during the iteration.
            batch: frames in one run, 1 to max_batch. More are faster, and their faces come later.
            late: what happens with frames that come faster than they are worked on. "wait" reads no further until
                there is room for them, and so takes every frame. "drop" leaves out the oldest of them, for cameras:
                frame.index counts them, too.
            retries: how often a camera or an address is opened again, in a row, after it broke: at first after half a
                second, then after twice as long each time, up to 8 s.
            score_threshold: see detect.
            min_size: see detect.
            max_faces: see detect.
            color: order of the channels of arrays and tensors of an iterable. The frames of videos are BGR.

        Returns:
            Yields each frame, with its `index`, `time` and `image`, and its faces, in order. The thread ends with the
            iteration, also if it is left early and closed or forgotten.

        Raises:
            InvalidArgumentError: an argument is out of range, there is no such file, or, during the iteration, a frame
                of an iterable is no image; the message names it.
            StreamError: the source cannot be opened; or it broke, after the faces of all frames before.
            InferenceError: the engine failed.
        """
        self._check_open()
        if isinstance(batch, bool) or not isinstance(batch, int) or not 1 <= batch <= self.max_batch:
            raise InvalidArgumentError(f"batch is {represented(batch)}, expected 1 to {self.max_batch}")
        threshold = self.check_threshold(score_threshold)
        Selection(min_size, max_faces)  # checks
        given = check_color(color)
        order: Color = "bgr" if isinstance(source, str | os.PathLike | int) else given
        reader = FrameReader(self._opened(source, order, retries), batch if late == "drop" else 2 * batch, late)
        detect = partial(self.detect, score_threshold=threshold, min_size=min_size, max_faces=max_faces, color=order)
        return faces_of_frames(reader, batch, detect)

    def _opened(self, source: object, order: Color, retries: int) -> Source:
        from engine.video.source import open_source  # OpenCV takes long to import

        on_gpu = self.device != "cpu"
        convert = partial(as_image, color=order, to=order, on_gpu=on_gpu, may_copy=on_gpu)
        return open_source(source, convert, retries)
