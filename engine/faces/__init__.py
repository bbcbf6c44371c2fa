"""Faces: what a detection finds, and what people do with it."""

from engine.faces.detections import Detections, unchecked
from engine.faces.face import Face
from engine.faces.selection import Selection

__all__ = ["Detections", "Face", "Selection", "unchecked"]
