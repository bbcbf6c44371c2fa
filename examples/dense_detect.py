"""Find the faces in one photo with an engine that has the dense branch's values, and draw their meshes.

Usage: python examples/dense_detect.py dense.engine dense.npz photo.jpg marked.png

The engine's model has a head of 144 plain values, such as the preset mobilenet0.25-dense; the mesh decoder that was
trained with it is the file that `decoder.weights().save` wrote. Values and boxes of the best faces are decoded to
meshes in the pixels of the photo, whatever the engine's input size is.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np

from engine import InvalidArgumentError, TRTRetinaFace
from engine.images import read_image
from engine.mesh.dense.run import DenseDecoder
from engine.types import FloatArray, IntArray


def front_edges(vertices: FloatArray, triangles: IntArray) -> FloatArray:
    """Return the edges of the triangles that face the camera, each once: [E, 2, 2], ends x y in pixels.

    Args:
        vertices: [V, 3].
        triangles: [F, 3], counter-clockwise seen from outside, so clockwise in a picture, whose y points down.
    """
    corners = vertices[triangles, :2]
    (ax, ay), (bx, by) = ((corners[:, i] - corners[:, 0]).T for i in (1, 2))
    front = triangles[ax * by - ay * bx < 0]
    edges = np.unique(np.sort(front[:, [[0, 1], [1, 2], [2, 0]]].reshape(-1, 2), axis=1), axis=0)
    return np.asarray(vertices[edges, :2], np.float32)


def main() -> None:
    """Run the example."""
    parser = argparse.ArgumentParser(description="Draw the meshes of the faces in one photo.")
    parser.add_argument("engine", help="NAME.engine of a model with a head `dense` of 144 values")
    parser.add_argument("decoder", type=Path, help="the mesh decoder that was trained with it, a .npz file")
    parser.add_argument("photo", type=Path, help="picture to read")
    parser.add_argument("marked", help="picture to write")
    parser.add_argument("--score-threshold", type=float, default=0.5, help="default %(default)s")
    parser.add_argument("--max-meshes", type=int, default=20, help="of the best faces (default %(default)s)")
    arguments = parser.parse_args()

    try:
        photo, decoder = read_image(arguments.photo), DenseDecoder.load(arguments.decoder)
    except InvalidArgumentError as error:
        parser.error(str(error))
    with TRTRetinaFace(arguments.engine) as detector:
        faces = detector.detect(photo, score_threshold=arguments.score_threshold, max_faces=arguments.max_meshes)
    if "dense" not in faces.values:
        parser.error(f"the model of {arguments.engine} has no head `dense`, but {sorted(faces.values) or 'none'}")
    meshes = decoder.decode(faces.values["dense"], faces.boxes)
    for mesh in meshes.vertices:
        lines = np.rint(front_edges(mesh, decoder.triangles) * 16).astype(np.int32)
        cv2.polylines(photo, list(lines), False, (80, 255, 80), 1, cv2.LINE_AA, shift=4)
    if not cv2.imwrite(arguments.marked, photo):
        parser.error(f"cannot write the picture {arguments.marked}")
    print(f"{len(meshes.vertices)} meshes of {meshes.vertices.shape[1]} vertices")


if __name__ == "__main__":
    main()
