"""Score and IoU thresholds swept over the candidates of labelled pictures."""
