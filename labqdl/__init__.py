"""labqdl: quantum-secure deep learning on the bench.

`labqdl.run` performs a secure inference, `labqdl.bound` says what an operating point leaks, `labqdl.plan` finds the
point that reaches a target, `labqdl.power` says how soon a cheat is found, and `labqdl.open_run` reads a run folder.
Names load lazily: importing labqdl itself needs numpy and the standard library only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from labqdl.api import bound, open_run, plan, power, run

_LAZY = dict.fromkeys(("run", "bound", "open_run", "plan", "power"), "labqdl.api")

__all__ = ["__version__", "bound", "open_run", "plan", "power", "run"]


def __getattr__(name: str) -> Any:
    """Load a public name on first use (PEP 562)."""
    if name in _LAZY:
        import importlib

        value = getattr(importlib.import_module(_LAZY[name]), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module 'labqdl' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(set(globals()) | set(_LAZY))
