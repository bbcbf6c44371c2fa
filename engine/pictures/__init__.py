"""Pictures with known faces: composed, found and labelled."""
