"""Sessions, their timing, and their queue."""
