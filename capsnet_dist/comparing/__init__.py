"""Comparisons: what each of several routings or networks comes to, over the same seeds, each run in its own process."""
