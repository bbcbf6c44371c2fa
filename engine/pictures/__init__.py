"""Pictures with labelled faces: read from folders, or composed from photos."""
