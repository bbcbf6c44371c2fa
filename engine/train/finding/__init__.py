"""What a network finds in pictures while it is trained, and before."""
