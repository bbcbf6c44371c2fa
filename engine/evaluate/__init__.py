"""What an engine's numbers are worth: agreement with another engine, average precision, generated pictures."""
