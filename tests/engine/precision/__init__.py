"""Precision: from a float32 network to an 8-bit or 16-bit one."""
