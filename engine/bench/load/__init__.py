"""Load on an engine: pictures, clients, windows, resources."""
