"""Boards that are several instruments at once."""
