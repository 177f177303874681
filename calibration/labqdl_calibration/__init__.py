"""Calibration routines and records; the first ones come with the bench."""
