"""Lasers."""
