"""Figures from plain arrays and facts, in the house style; matplotlib is loaded when the first one is drawn."""

from __future__ import annotations

from labqdl.plots import style

__all__ = ["style"]
