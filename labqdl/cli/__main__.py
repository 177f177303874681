"""`python -m labqdl.cli`, the same as the `labqdl` command."""

from __future__ import annotations

from labqdl.cli import main

main()
