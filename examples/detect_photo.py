"""Find the faces in one photo, print them and write a copy with the faces marked.

Usage: python examples/detect_photo.py retinaface_fp16.engine photo.jpg marked.png
"""

from __future__ import annotations

import argparse

import cv2

from engine import InvalidArgumentError, TRTRetinaFace


def main() -> None:
    """Run the example."""
    parser = argparse.ArgumentParser(description="Find the faces in one photo.")
    parser.add_argument("engine", help="NAME.engine, with the two files beside it")
    parser.add_argument("photo", help="picture to read")
    parser.add_argument("marked", help="picture to write")
    arguments = parser.parse_args()

    with TRTRetinaFace(arguments.engine) as detector:  # on a GPU where one is usable, else on the CPU
        try:
            faces = detector.detect(arguments.photo)
        except InvalidArgumentError as error:
            parser.error(f"cannot read the picture: {error}")

    for face in faces:
        print(f"score {face.score:.3f}, box {face.box.round(1).tolist()}")
    if not cv2.imwrite(arguments.marked, faces.plot(arguments.photo)):
        parser.error(f"cannot write the picture {arguments.marked}")


if __name__ == "__main__":
    main()
