"""What Triton's Python backend runs: a class TritonPythonModel in each file, which the repository's model.py names."""
