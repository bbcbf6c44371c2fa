"""Frames of video files, cameras, addresses and iterators, read while the frames before them are worked on."""

from engine.video.frames import Frame
from engine.video.reader import LATE, FrameReader

__all__ = ["LATE", "Frame", "FrameReader"]
