"""Test suites for drivers, ours and those of third parties; needs the extra `test`."""

from labqdl.testing.conformance import Subject, declared_problems, machine

__all__ = ["Subject", "declared_problems", "machine"]
