"""The public Python API: run, resume, bound, plan and open_run, with the same power as the command line."""

from __future__ import annotations

from labqdl.api.bounding import bound
from labqdl.api.planning import PlanResult, plan
from labqdl.api.reading import RecordedRun, open_run
from labqdl.api.results import BoundResult, RunResult
from labqdl.api.running import print_dry_run, resume, run

__all__ = [
    "BoundResult",
    "PlanResult",
    "RecordedRun",
    "RunResult",
    "bound",
    "open_run",
    "plan",
    "print_dry_run",
    "resume",
    "run",
]
