"""The public Python API, with the same power as the command line: one function a command."""

from __future__ import annotations

from labqdl.api.bounding import bound
from labqdl.api.comparing import Comparison, compare
from labqdl.api.detecting import PowerResult, power
from labqdl.api.exporting import export
from labqdl.api.importing import convert_onnx
from labqdl.api.listing import RunEntry, RunList, list_runs
from labqdl.api.planning import PlanResult, plan
from labqdl.api.reading import RecordedRun, open_run
from labqdl.api.recovering import Recovery, recover
from labqdl.api.replaying import Replay, replay
from labqdl.api.reporting import Report, write_report
from labqdl.api.results import BoundResult, RunResult
from labqdl.api.running import print_dry_run, resume, run
from labqdl.api.spent import AccountsResult, accounts

__all__ = [
    "AccountsResult",
    "BoundResult",
    "Comparison",
    "PlanResult",
    "PowerResult",
    "RecordedRun",
    "Recovery",
    "Replay",
    "Report",
    "RunEntry",
    "RunList",
    "RunResult",
    "accounts",
    "bound",
    "compare",
    "convert_onnx",
    "export",
    "list_runs",
    "open_run",
    "plan",
    "power",
    "print_dry_run",
    "recover",
    "replay",
    "resume",
    "run",
    "write_report",
]
