"""What a reader writes on the command line and in files, read into a command's dataclass of options."""
