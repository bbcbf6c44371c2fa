"""Reports of a comparison: tables, plots and a page."""
