"""XML from outside."""
