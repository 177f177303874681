"""Arbitrary waveform generators."""
