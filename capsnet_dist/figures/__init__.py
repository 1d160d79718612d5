"""Pictures: one kind in each module. Matplotlib is imported when the first one is drawn."""
