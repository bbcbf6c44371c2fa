"""All mutants: at least five per kernel. --quick takes the first of each kernel."""

from __future__ import annotations

from .catalogue_align import ALIGN
from .catalogue_decode import DECODE
from .catalogue_deform_conv import DEFORM_CONV
from .catalogue_letterbox import LETTERBOX
from .catalogue_nms import NMS

MUTANTS = [*DECODE, *NMS, *LETTERBOX, *ALIGN, *DEFORM_CONV]
