"""Training of models: fine-tuning on labelled pictures, with PyTorch."""
