"""The mutation campaign: plants one fault after another into a copy of the project; the named test must notice.

Usage: python tests/mutants/campaign.py [--find] [--jobs N] [NAME ...]      (no names: all faults of faults.toml)

Exit code 0 if every fault is killed by its test, 1 if one survives. `--find` runs all tests of the fault's `where`
instead and prints the first one that fails, for naming it in faults.toml.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

TOP = Path(__file__).resolve().parents[2]
FAULTS = Path(__file__).with_name("faults.toml")
_COPIED = ("labqdl", "sim_instruments", "tests", "benchmarks", "docs", "pyproject.toml", "README.md")
_FAILED = re.compile(r"^(?:FAILED|ERROR) (\S+)", re.MULTILINE)
_PATIENCE = 300.0
"""Seconds after which a test that hangs under a fault counts as having noticed it."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One planted mistake: `old` in `file`, which stands there exactly once, becomes `new`; `test` must fail then."""

    name: str
    file: str
    old: str
    new: str
    test: str

    def planted(self, text: str) -> str:
        """The file's text with the fault in it."""
        if text.count(self.old) != 1:
            raise ValueError(
                f"fault {self.name!r}: the text to change stands {text.count(self.old)} times in {self.file}"
            )
        return text.replace(self.old, self.new)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a fault: `killed` by `by`, the tests that failed."""

    fault: Fault
    killed: bool
    by: tuple[str, ...]
    seconds: float
    words: str


def read_faults(path: Path = FAULTS) -> tuple[Fault, ...]:
    """All faults of the file, in its order."""
    entries = tomllib.loads(path.read_text(encoding="utf-8"))["fault"]
    return tuple(Fault(**entry) for entry in entries)


def copy_project(folder: Path) -> None:
    """A copy that a fault can be planted in."""
    for name in _COPIED:
        source = TOP / name
        if source.is_dir():
            ignore = shutil.ignore_patterns("__pycache__", "_build", "results")
            shutil.copytree(source, folder / name, ignore=ignore)
        else:
            shutil.copy2(source, folder / name)


def run_tests(folder: Path, tests: Sequence[str]) -> tuple[int, str]:
    """Exit code and output of pytest in a copy; the copy's packages stand before the installed ones."""
    path = os.pathsep.join([str(folder), str(folder / "sim_instruments")])
    environment = {**os.environ, "PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"}
    environment |= dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", "--no-header", *tests]
    try:
        done = subprocess.run(
            command,
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_PATIENCE,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return 1, f"FAILED {tests[0]} (no end after {_PATIENCE:g} s)"
    return done.returncode, done.stdout + done.stderr


def try_fault(fault: Fault, *, find: bool = False) -> Outcome:
    """Plant a fault in a fresh copy and run its test (or, to find one, all tests of the test's folder or file)."""
    started = time.perf_counter()
    try:
        planted = fault.planted((TOP / fault.file).read_text(encoding="utf-8"))
    except ValueError as error:
        return Outcome(fault, False, (), 0.0, str(error))
    with tempfile.TemporaryDirectory(prefix="labqdl-mutant-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        copy_project(folder)
        (folder / fault.file).write_text(planted, encoding="utf-8", newline="\n")
        code, output = run_tests(folder, [fault.test.split("::")[0] if find else fault.test])
    failed = tuple(_FAILED.findall(output))
    # 1: tests ran and failed; 2: the module does not even import. Anything else says nothing about the fault.
    return Outcome(fault, code in (1, 2) and bool(failed), failed, time.perf_counter() - started, output[-2000:])


def main(arguments: Sequence[str]) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--find", action="store_true", help="look for a test that notices")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="faults at the same time")
    parser.add_argument("names", nargs="*", metavar="NAME", help="faults to plant; all by default")
    chosen = parser.parse_args(arguments)
    faults = {fault.name: fault for fault in read_faults()}
    unknown = [name for name in chosen.names if name not in faults]
    if unknown:
        print(f"no fault called {unknown[0]!r} in {FAULTS.name}", file=sys.stderr)
        return 2
    wanted = [faults[name] for name in chosen.names] or list(faults.values())
    survivors: list[Outcome] = []
    with ThreadPoolExecutor(max_workers=chosen.jobs) as pool:
        for outcome in pool.map(lambda fault: try_fault(fault, find=chosen.find), wanted):
            verdict = "killed  " if outcome.killed else "SURVIVED"
            print(f"{verdict} {outcome.seconds:5.1f} s  {outcome.fault.name}  {' '.join(outcome.by[:1])}", flush=True)
            if not outcome.killed:
                survivors.append(outcome)
    for outcome in survivors:
        print(f"--- {outcome.fault.name}: {outcome.fault.file}: {outcome.fault.old!r} -> {outcome.fault.new!r}")
        print(outcome.words)
    print(f"{len(wanted) - len(survivors)} of {len(wanted)} faults killed")
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
