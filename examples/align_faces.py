"""Cut out all faces of a folder of pictures, turned upright as models for recognition want them, onto one sheet.

Usage: python examples/align_faces.py retinaface_fp16.engine photos sheet.png
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path

import cv2
import numpy as np

from engine import TRTRetinaFace, align


def main() -> None:
    """Run the example."""
    parser = argparse.ArgumentParser(description="Cut out the faces of a folder of pictures onto one sheet.")
    parser.add_argument("engine", help="NAME.engine, with the two files beside it")
    parser.add_argument("folder", help="folder with pictures")
    parser.add_argument("sheet", help="picture to write")
    parser.add_argument("--size", type=int, default=112, help="side of a crop in pixels (default %(default)s)")
    arguments = parser.parse_args()

    crops = []
    with TRTRetinaFace(arguments.engine) as detector:
        for path in sorted(Path(arguments.folder).iterdir()):
            picture = cv2.imread(str(path)) if path.is_file() else None
            if picture is None:
                continue
            image = np.asarray(picture, np.uint8)
            found = align(image, detector.detect(image), arguments.size)  # uint8 [N, size, size, 3]
            print(f"{len(found)} faces in {path.name}")
            crops.extend(found)
    if not crops:
        parser.error(f"no faces in the pictures of {arguments.folder}")

    across = math.ceil(math.sqrt(len(crops)))
    crops += [np.zeros_like(crops[0])] * (-len(crops) % across)
    rows = [np.hstack(crops[first : first + across]) for first in range(0, len(crops), across)]
    if not cv2.imwrite(arguments.sheet, np.vstack(rows)):
        parser.error(f"cannot write the picture {arguments.sheet}")


if __name__ == "__main__":
    main()
