"""From a PyTorch model to network.onnx (raw heads) and detector.onnx (with decoding and suppression)."""
