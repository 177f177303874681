"""Arrays of phase shifters."""
