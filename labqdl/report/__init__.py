"""The report of a run: plain values in (`content`), pictures and one page out. Reads no files of a run itself."""

from __future__ import annotations
