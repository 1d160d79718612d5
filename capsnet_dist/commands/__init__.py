"""What `capsnet-dist` does: a module for each command, named after it."""
