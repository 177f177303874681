"""Controllers of electro-optic modulators."""
