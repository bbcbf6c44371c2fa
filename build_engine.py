"""Build a TensorRT engine from a RetinaFace checkpoint: `python build_engine.py --precision fp16`."""

import sys

from retinaface_trt import build_main

if __name__ == "__main__":
    sys.exit(build_main())
