"""Simulated instruments that speak the real wire protocols, and the optical world that couples them."""
