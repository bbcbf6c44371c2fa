"""What measurements mean: summaries, verdicts, comparisons."""
