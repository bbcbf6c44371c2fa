"""`python -m engine` is `retinaface-trt`."""

import sys

from retinaface_trt import main

sys.exit(main())
