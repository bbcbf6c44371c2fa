"""How long the stages of a detection take."""

from __future__ import annotations

# Seconds by stage, in this order where present: "decode", "queueing", "letterbox", "h2d", "network",
# "post-processing", "d2h", "undo letterbox".
Stages = dict[str, float]
