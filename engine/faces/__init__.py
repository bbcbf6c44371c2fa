"""Faces: what a detection finds, and what people do with it."""

from engine.faces.detections import Detections, joined, replaced, unchecked
from engine.faces.face import Face
from engine.faces.selection import Selection

__all__ = ["Detections", "Face", "Selection", "joined", "replaced", "unchecked"]
