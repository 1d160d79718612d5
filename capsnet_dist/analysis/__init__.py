"""What a network does inside, and how networks compare."""
