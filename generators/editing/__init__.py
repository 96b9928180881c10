"""Editing: the reference's own picture, changed to what somebody would like of it."""
