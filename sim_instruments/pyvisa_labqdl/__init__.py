"""PyVISA backend name `@labqdl`; the backend itself comes with the instrument core."""
