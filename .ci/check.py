"""Every check of the project, quick ones first, with one summary at the end: what `make test` runs.

Usage: python .ci/check.py [CHECK ...]    (no names: all of them)

Runs on any system with the tools of the extras dev, train and docs installed. Checks that keep one core busy run two
at a time, then the tests on two workers. All checks run even when an early one fails, so that one run tells
everything; the exit code is 1 if any failed.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

TOP = Path(__file__).resolve().parent.parent
FLOOR = 95
"""Per cent of branch coverage that each of these rooms must reach; a wrong number there is a wrong promise."""
COVERED_ROOMS = ("protocol", "optics", "security")
COUNTED = [f"tests/{room}" for room in COVERED_ROOMS]
"""Tests that run with coverage: a room's own tests must reach its code, and counting makes tests half as slow again."""


def _python(*arguments: str) -> list[str]:
    return [sys.executable, "-m", *arguments]


TOOLS = (
    ".ci/check.py",
    ".ci/pins.py",
    "docs/conf.py",
    "docs/gallery.py",
    "docs/_ext/mathml.py",
    "docs/_ext/schema_tables.py",
    "docs/_ext/instrument_pages.py",
)
"""Python files outside of the packages."""
# Without its cache: one that was made in the middle of an edit reports imports that are long mended.
LINT_IMPORTS = [
    sys.executable,
    "-c",
    "from importlinter.cli import lint_imports_command as main; main()",
    "--no-cache",
]
CHECKS: dict[str, list[str]] = {
    "lint": _python("ruff", "check", "--quiet", "."),
    "format": _python("ruff", "format", "--check", "--quiet", "."),
    "imports": LINT_IMPORTS,
    "types": _python("mypy"),
    "types-tools": _python("mypy", *TOOLS),
    "docs": _python("sphinx", "-W", "--keep-going", "-q", "-E", "-b", "html", "docs", "docs/_build/html"),
    "tests": _python("pytest", "-n", "2", "-m", "not soak", "-q", *(f"--ignore={folder}" for folder in COUNTED)),
    "tests-counted": _python("pytest", "-n", "2", "-m", "not soak", "--cov", "--cov-report=", "-q", *COUNTED),
}
BESIDE = ("lint", "format", "imports", "types", "docs")
"""What keeps one core busy and writes to no cache of another one."""
for room in COVERED_ROOMS:
    CHECKS[f"coverage-{room}"] = _python(
        "coverage", "report", f"--include=labqdl/{room}/*", f"--fail-under={FLOOR}", "--precision=1"
    )


def _environment() -> dict[str, str]:
    """One BLAS thread a process: two test workers share two cores."""
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    return {**os.environ, **threads, "PYTHONUTF8": "1"}


def _quietly(name: str) -> tuple[bool, float, str]:
    """Run a check beside another one: whether it passed, its seconds, and all that it said."""
    start = time.perf_counter()
    done = subprocess.run(
        CHECKS[name],
        cwd=TOP,
        env=_environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        errors="replace",
        check=False,
    )
    return done.returncode == 0, time.perf_counter() - start, done.stdout


def main(names: list[str]) -> int:
    """Run the named checks, or all; print a summary; 0 if every one passed."""
    unknown = [name for name in names if name not in CHECKS]
    if unknown:
        print(f"unknown check {unknown[0]!r}; there are: {', '.join(CHECKS)}", file=sys.stderr)
        return 2
    start = time.perf_counter()
    wanted = list(dict.fromkeys(names)) or list(CHECKS)
    results: dict[str, tuple[bool, float]] = {}
    with ThreadPoolExecutor(2) as pool:
        # The longest first, so that the second core is not waited for at the end.
        beside = [name for name in ("types", "docs", *BESIDE) if name in wanted]
        started = {name: pool.submit(_quietly, name) for name in dict.fromkeys(beside)}
        for name in BESIDE:
            if name in started:
                passed, seconds, output = started[name].result()
                print(f"--- {name}\n{output}", end="", flush=True)
                results[name] = (passed, seconds)
    for name in wanted:
        if name not in results:
            print(f"--- {name}", flush=True)
            begin = time.perf_counter()
            done = subprocess.run(CHECKS[name], cwd=TOP, env=_environment(), stdin=subprocess.DEVNULL, check=False)
            results[name] = (done.returncode == 0, time.perf_counter() - begin)
    print("--- summary")
    for name, (passed, seconds) in results.items():
        print(f"{'ok  ' if passed else 'FAIL'}  {name:<20} {seconds:6.1f} s")
    failed = [name for name, (passed, _) in results.items() if not passed]
    total = time.perf_counter() - start
    print(f"{'failed: ' + ', '.join(failed) if failed else 'all checks passed'} in {total:.0f} s")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
