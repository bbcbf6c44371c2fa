"""Find the faces in one photo with an engine that gives meshes, draw them, and write the best one as an OBJ file.

Usage: python examples/dense_detect.py dense.engine photo.jpg marked.png best.obj

The engine was built with --mesh-decoder, such as from the results of dense_faces.py:

    python build_engine.py --config run/config.json --weights run/weights.pth --mesh-decoder run/dense.npz \
        --output dense.engine
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2

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
    meshes = [face.vertices for face in faces if face.vertices is not None]
    print(f"{len(meshes)} meshes of {faces.vertices.shape[1]} vertices")
    if meshes:
        # In a picture y points down and depth away from the camera; in an OBJ file y points up and z to the viewer.
        lines = [f"v {x:.3f} {-y:.3f} {-depth:.3f}" for x, y, depth in meshes[0]]
        lines += [f"f {a + 1} {b + 1} {c + 1}" for a, b, c in faces.triangles]
        arguments.best.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
