"""Find the faces in all pictures of a folder, in batches, and print one JSON object per picture.

Usage: python examples/detect_folder.py retinaface_fp16.engine photos > faces.jsonl
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from engine import TRTRetinaFace
from engine.types import Image


def read_pictures(folder: Path) -> Iterator[tuple[Path, Image]]:
    """Yield every picture of a folder in the order of names, and say on stderr which files are none."""
    for path in sorted(folder.iterdir()):
        picture = cv2.imread(str(path)) if path.is_file() else None
        if picture is None:
            print(f"skipped, not a readable picture: {path}", file=sys.stderr)
        else:
            yield path, np.asarray(picture, np.uint8)


def batches(pictures: Iterator[tuple[Path, Image]], size: int) -> Iterator[list[tuple[Path, Image]]]:
    """Group pictures, so that only one batch is in memory at a time."""
    batch = []
    for picture in pictures:
        batch.append(picture)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch


def main() -> None:
    """Run the example."""
    parser = argparse.ArgumentParser(description="Find the faces in all pictures of a folder.")
    parser.add_argument("engine", help="NAME.engine, with the two files beside it")
    parser.add_argument("folder", type=Path, help="folder of pictures, of any sizes")
    arguments = parser.parse_args()

    with TRTRetinaFace(arguments.engine) as detector:
        for batch in batches(read_pictures(arguments.folder), detector.max_batch):
            found = detector.detect([image for _, image in batch])  # pictures of different sizes share a batch
            for (path, _), faces in zip(batch, found, strict=True):
                print(json.dumps({"image": str(path), **faces.to_json()}))


if __name__ == "__main__":
    main()
