"""Users' own data: a table of items, a table of choices, and images, in three kinds of files."""
