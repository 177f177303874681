"""Optical amplifiers."""
