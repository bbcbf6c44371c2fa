"""Find the faces in one photo, print them and write a copy with the faces marked.

Usage: python examples/detect_photo.py retinaface_fp16.engine photo.jpg marked.png
"""

from __future__ import annotations

import argparse

import cv2
import numpy as np

from engine import TRTRetinaFace


def main() -> None:
    """Run the example."""
    parser = argparse.ArgumentParser(description="Find the faces in one photo.")
    parser.add_argument("engine", help="NAME.engine, with the two files beside it")
    parser.add_argument("photo", help="picture to read")
    parser.add_argument("marked", help="picture to write")
    arguments = parser.parse_args()

    photo = cv2.imread(arguments.photo)
    if photo is None:
        parser.error(f"cannot read the picture {arguments.photo}")
    image = np.asarray(photo, np.uint8)

    with TRTRetinaFace(arguments.engine) as detector:  # on a GPU where one is usable, else on the CPU
        faces = detector.detect(image)

    for box, score in zip(faces.boxes, faces.scores, strict=True):
        print(f"score {score:.3f}, box {box.round(1).tolist()}")
        left, top, right, bottom = box.round().astype(int).tolist()
        cv2.rectangle(image, (left, top), (right, bottom), (80, 220, 60), 2)
    if faces.landmarks is not None:
        for x, y in faces.landmarks.reshape(-1, 2).round().astype(int).tolist():
            cv2.circle(image, (x, y), 2, (60, 60, 230), -1)
    if not cv2.imwrite(arguments.marked, image):
        parser.error(f"cannot write the picture {arguments.marked}")


if __name__ == "__main__":
    main()
