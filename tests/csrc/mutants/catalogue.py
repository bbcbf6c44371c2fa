"""The mistakes, at least five to each kernel. The first of each kernel is the quick selection."""

from __future__ import annotations

from .catalogue_decode import DECODE
from .catalogue_deform_conv import DEFORM_CONV
from .catalogue_letterbox import LETTERBOX
from .catalogue_nms import NMS

MUTANTS = [*DECODE, *NMS, *LETTERBOX, *DEFORM_CONV]
