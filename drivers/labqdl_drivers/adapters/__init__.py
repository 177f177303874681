"""Instruments of other Python packages, served as ours through a mapping in the station file."""
