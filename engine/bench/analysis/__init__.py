"""Analysis of the measurements: summaries, verdicts, comparisons."""
