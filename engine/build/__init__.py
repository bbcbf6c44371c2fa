"""From weights to the three files of an engine."""
