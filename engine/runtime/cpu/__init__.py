"""Running a network on the CPU, with OpenVINO or ONNX Runtime."""
