"""From a typed detector.onnx to an engine and its sidecar."""
