"""Counters of photons and time taggers."""
