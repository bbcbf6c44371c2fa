"""Small training runs for tests."""
