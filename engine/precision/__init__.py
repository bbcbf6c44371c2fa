"""Precision lives in the ONNX file: each mode turns the float32 network into a typed one."""
