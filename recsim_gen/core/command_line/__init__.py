"""Parses the command line and option files into the options dataclass of a command."""
