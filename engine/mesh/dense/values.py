"""The values that the dense branch predicts for each anchor, and where each kind is among them."""

from __future__ import annotations

CODE, CAMERA, LIGHT = 128, 7, 9  # shape and texture; place, pose, focal length; place of a light, its colour, ambient
DENSE_VALUES = CODE + CAMERA + LIGHT
CODE_PART = slice(0, CODE)
CAMERA_PART = slice(CODE, CODE + CAMERA)
LIGHT_PART = slice(CODE + CAMERA, DENSE_VALUES)
