"""Faces as the package supervision has them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from engine.errors import InvalidArgumentError

if TYPE_CHECKING:
    import supervision

    from engine.faces.pictured import PicturedFaces


def to_supervision(found: PicturedFaces) -> supervision.Detections:
    """Return detections of supervision; see Detections.to_supervision."""
    try:
        from supervision import Detections as Theirs
    except ImportError as error:
        raise InvalidArgumentError(
            f"to_supervision needs the package supervision (pip install supervision): {error}"
        ) from error
    return Theirs(
        xyxy=found.boxes.copy(),
        confidence=found.scores.copy(),
        class_id=np.zeros(len(found.scores), int) if found.classes is None else found.classes.astype(int) - 1,
        data={name: array.copy() for name, array in _data(found).items()},
    )


def _data(found: PicturedFaces) -> dict[str, Any]:
    names = np.array(found.class_names)
    return {
        **({} if found.landmarks is None else {"landmarks": found.landmarks}),
        **({} if found.classes is None or not len(names) else {"class_name": names[found.classes - 1]}),
        **({} if found.vertices is None else {"vertices": found.vertices}),
        **({} if found.colours is None else {"colours": found.colours}),
        **found.values,
    }
