"""What is written to be read again: weights with their configuration, and checkpoints."""
