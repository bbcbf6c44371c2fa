"""The service under load: a soak with hostile callers, and other servers with the same engine."""
