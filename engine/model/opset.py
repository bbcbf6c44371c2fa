"""The ONNX opset that networks are written in."""

OPSET = 19  # the first with DeformConv
