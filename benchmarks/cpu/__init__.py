"""What the CPU session and its operators take, beside other ways to do the same."""
