"""The roads, one module each: what loads a foreign package does so when it opens."""
