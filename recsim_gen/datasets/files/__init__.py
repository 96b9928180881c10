"""Files that were downloaded, read safely: archives, images, tables, JSON, text."""
