"""Sessions: what runs a loaded engine, on a GPU or on the CPU."""
