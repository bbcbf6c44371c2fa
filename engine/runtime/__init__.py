"""Running a loaded engine, on a GPU or on the CPU."""
