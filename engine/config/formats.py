"""The precisions of a network."""

from __future__ import annotations

QUANTISED_PRECISIONS = ("int8", "fp8", "mixed")
PRECISIONS = ("fp32", "fp16", "bf16", *QUANTISED_PRECISIONS)
