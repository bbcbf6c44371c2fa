"""Conversion of a float32 network to another precision, which is in the types of the ONNX file."""
