"""Tables, plots and a page of a benchmark."""
