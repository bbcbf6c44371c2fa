"""What a run shows: curves for TensorBoard, and a page with curves and pictures."""
