"""The dense branch: 144 values of a face to a coloured mesh in the image. Needs PyTorch, but for running it."""
