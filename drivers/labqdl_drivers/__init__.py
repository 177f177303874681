"""Drivers of real instruments; the first ones come with the instrument core."""
