"""What the project counts and measures about itself."""
