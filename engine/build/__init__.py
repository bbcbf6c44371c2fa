"""From weights to the three files of an engine, or to one ONNX file for other programs."""
