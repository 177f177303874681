"""Power meters and what else measures light slowly."""
