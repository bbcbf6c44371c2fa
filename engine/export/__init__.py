"""From a PyTorch model to network.onnx (raw heads), and behind it to faces: with plugins, or in standard operators."""
