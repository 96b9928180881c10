"""Everybody's own data: a table of items, a table of choices, and pictures, in three kinds of files."""
