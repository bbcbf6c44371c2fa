"""What is only needed to develop this project."""
