"""Find the faces in one photo with an engine that gives meshes, draw them, and write the best one as an OBJ file.

Usage: python examples/dense_detect.py dense.engine photo.jpg marked.png best.obj

The engine was built with --mesh-decoder, such as from the results of dense_faces.py; with --mesh-colours the OBJ file
has the colours of vertices:

    python build_engine.py --config run/config.json --weights run/weights.pth --mesh-decoder run/dense.npz \
        --mesh-colours --output dense.engine
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np

from engine import InvalidArgumentError, TRTRetinaFace
from engine.images import read_image


def main() -> None:
    """Run the example."""
    parser = argparse.ArgumentParser(description="Draw the meshes of the faces in one photo.")
    parser.add_argument("engine", help="NAME.engine that was built with --mesh-decoder")
    parser.add_argument("photo", type=Path, help="picture to read")
    parser.add_argument("marked", help="picture to write")
    parser.add_argument("best", type=Path, help="OBJ file to write: the mesh of the best face")
    parser.add_argument("--score-threshold", type=float, default=0.5, help="default %(default)s")
    arguments = parser.parse_args()

    try:
        photo = read_image(arguments.photo)
    except InvalidArgumentError as error:
        parser.error(str(error))
    with TRTRetinaFace(arguments.engine) as detector:
        faces = detector.detect(photo, score_threshold=arguments.score_threshold)
    if faces.vertices is None or faces.triangles is None:
        parser.error(f"{arguments.engine} gives no meshes: build it with --mesh-decoder")
    if not cv2.imwrite(arguments.marked, faces.plot(photo)):
        parser.error(f"cannot write the picture {arguments.marked}")
    there = np.flatnonzero(faces.has_mesh)
    print(f"{len(there)} meshes of {faces.vertices.shape[1]} vertices")
    for best in there[:1]:
        # In a picture y points down and depth away from the camera; in an OBJ file y points up and z to the viewer.
        lines = [f"v {x:.3f} {-y:.3f} {-depth:.3f}" for x, y, depth in faces.vertices[best]]
        if faces.colours is not None:  # behind the place, as most programs read them
            colours = (f" {red:.4f} {green:.4f} {blue:.4f}" for red, green, blue in faces.colours[best])
            lines = [line + colour for line, colour in zip(lines, colours, strict=True)]
        lines += [f"f {a + 1} {b + 1} {c + 1}" for a, b, c in faces.triangles]
        arguments.best.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
