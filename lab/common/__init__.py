"""What the labs have in common."""
