"""A drawn picture of faces, which detectors of real faces find: for trying one where there is no photo."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine.pictures.backgrounds import texture
from engine.types import FloatArray, Image

DRAWN_FACES = 5
_SIDE = 320
# Centre x, centre y and height of each face in pixels.
_PLACES = ((85, 90, 110), (215, 70, 60), (270, 165, 40), (165, 215, 80), (60, 235, 30))
_REACH = 0.9  # of hair and neck around the centre, in heights of the face
_SKIN = np.array([150, 180, 225], np.float32)  # BGR, as all colours here
_HAIR, _DARK, _WHITE, _LIPS = (30, 35, 45), (25, 30, 40), (225, 230, 235), (95, 95, 185)
_GRAIN = 3.0  # of the noise, in grey levels


class _Spot(NamedTuple):
    """A filled ellipse: centre and half axes in heights of the face, colour, opacity, width of its edge."""

    x: float
    y: float
    across: float
    down: float
    colour: tuple[int, ...] | FloatArray
    opacity: float = 1.0
    edge: float = 0.02


def _pair(spot: _Spot) -> tuple[_Spot, _Spot]:
    """Return a spot and its mirror image."""
    return spot, spot._replace(x=-spot.x)


_BEHIND = (_Spot(0, -0.12, 0.47, 0.56, _HAIR), _Spot(0, 0.55, 0.2, 0.3, _SKIN * 0.8))
_HEAD = _Spot(0, 0.03, 0.37, 0.48, _SKIN)
_FEATURES = (
    _Spot(0, -0.42, 0.34, 0.16, _HAIR, 0.9, 0.04),
    *_pair(_Spot(0.155, -0.06, 0.12, 0.075, _SKIN * 0.55, 0.5, 0.12)),
    *_pair(_Spot(0.155, -0.05, 0.075, 0.034, _WHITE)),
    *_pair(_Spot(0.155, -0.05, 0.034, 0.034, _DARK)),
    *_pair(_Spot(0.16, -0.14, 0.11, 0.02, _DARK, 0.9)),
    *_pair(_Spot(0.17, 0.1, 0.09, 0.07, (130, 140, 225), 0.4, 0.12)),
    _Spot(0.03, 0.05, 0.03, 0.12, _SKIN * 0.6, 0.35, 0.06),
    _Spot(0, 0.06, 0.02, 0.1, np.minimum(_SKIN * 1.25, 255), 0.35, 0.06),
    *_pair(_Spot(0.04, 0.145, 0.022, 0.014, _SKIN * 0.35, 0.6)),
    _Spot(0, 0.265, 0.125, 0.035, _LIPS, 0.9),
    _Spot(0, 0.26, 0.125, 0.008, _DARK, 0.7),
)


def drawn_faces() -> Image:
    """Return a picture, uint8 [320, 320, 3] in BGR order, with DRAWN_FACES faces 30 to 110 pixels high."""
    rng = np.random.default_rng(0)
    canvas = texture((_SIDE, _SIDE), rng).astype(np.float32) * 0.5 + 60
    for x, y, height in _PLACES:
        _draw(canvas, x, y, height)
    canvas += rng.normal(0, _GRAIN, canvas.shape)
    return np.asarray(np.clip(np.rint(canvas), 0, 255), np.uint8)


def _draw(canvas: FloatArray, x: float, y: float, height: float) -> None:
    reach = round(_REACH * height)
    top, left = max(round(y) - reach, 0), max(round(x) - reach, 0)
    part = canvas[top : round(y) + reach, left : round(x) + reach]
    rows, columns = np.ogrid[top : top + part.shape[0], left : left + part.shape[1]]
    across, down = (columns + 0.5 - x) / height, (rows + 0.5 - y) / height
    # A round head is darker at its sides, and lit from above.
    shade = 1 - 0.35 * np.clip(np.abs(across) / 0.4, 0, 1) ** 2 - 0.1 * np.clip(down, -0.5, 0.5)
    for spots, light in ((_BEHIND, 1.0), ((_HEAD,), shade[:, :, None]), (_FEATURES, 1.0)):
        for spot in spots:
            opacity = _opacity(spot, across, down, height)
            part += opacity[:, :, None] * (np.asarray(spot.colour, np.float32) * light - part)


def _opacity(spot: _Spot, across: NDArray[np.float64], down: NDArray[np.float64], height: float) -> FloatArray:
    """Return the opacity of each pixel, which falls over the edge, at least over a pixel."""
    radius = np.hypot((across - spot.x) / spot.across, (down - spot.y) / spot.down)
    outside = (radius - 1) * min(spot.across, spot.down)
    return (spot.opacity * np.clip(0.5 - outside / max(spot.edge, 1 / height), 0, 1)).astype(np.float32)
