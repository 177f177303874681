"""Sources of voltage and current."""
