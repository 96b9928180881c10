"""Editing: changes the reference's own image towards a person's taste."""
