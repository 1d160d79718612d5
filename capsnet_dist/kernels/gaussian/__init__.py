"""Votes compared with the means of Gaussian wholes without being stored."""
