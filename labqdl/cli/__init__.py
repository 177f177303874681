"""The command line: the composition root, one thin command a file."""

from __future__ import annotations

from labqdl.cli.root import cli, main

__all__ = ["cli", "main"]
