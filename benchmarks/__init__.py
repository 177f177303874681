"""Benchmarks of labqdl against peers: `python -m benchmarks` (`make bench`); see docs/benchmarks.md."""
