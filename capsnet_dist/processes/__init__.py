"""The processes of a run: how they start, hear signals, watch each other and use memory."""
