"""What an engine's numbers are worth: agreement, average precision, WIDER FACE, thresholds, generated pictures."""
