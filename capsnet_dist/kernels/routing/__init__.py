"""Dynamic routing without votes in memory."""
