"""Command lines: configurations and commands written in Python, overlaid from flags and files."""

from capsnet_dist.config.command_line.commands import command
from capsnet_dist.config.command_line.runs import flags, parse
from capsnet_dist.config.command_line.words import split_words, values_of

__all__ = ["command", "flags", "parse", "split_words", "values_of"]
