"""Oscilloscopes and other digitizers."""
