"""Safe reading of downloaded files: archives, images, tables, JSON, text."""
