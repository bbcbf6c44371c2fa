"""`python -m engine` is `retinaface-trt`."""

import sys

from engine.cli import main

sys.exit(main())
