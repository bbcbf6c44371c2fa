"""Training: labelled pictures and a model to start from go in, a checkpoint for `build` comes out. Needs PyTorch."""
