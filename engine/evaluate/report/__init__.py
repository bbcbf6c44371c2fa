"""The report of a comparison: table, plots and HTML page."""
