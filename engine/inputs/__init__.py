"""What users give for images, as uint8 arrays: arrays, files, images of Pillow, tensors; one, several, a generator.

Arrays in GPU memory stay where they are.
"""

from engine.inputs.batches import Batch, batches
from engine.inputs.images import as_image
from engine.inputs.pixels import check_color, reordered

__all__ = ["Batch", "as_image", "batches", "check_color", "reordered"]
