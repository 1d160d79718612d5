"""Votes combined and compared without being stored."""
