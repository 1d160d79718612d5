"""What a run writes down and shows: its folder, metrics, model card, progress and trackers."""
