"""Turn pip-compile's output into constraints.txt: plain `name==version ; marker` lines, sorted, nothing else.

Usage: python .ci/pins.py COMPILED CONSTRAINTS
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

PIN = re.compile(r"[A-Za-z0-9._-]+==[^\s;]+( *;.*)?")
WINDOWS = 'colorama==0.4.6 ; sys_platform == "win32"'
"""What click, pytest and sphinx need on Windows only, which a resolution elsewhere leaves out."""


def pins(compiled: str) -> list[str]:
    """The pins in a compiled requirements file; comments, options and direct references are left out."""
    lines = {line.strip() for line in compiled.splitlines() if PIN.fullmatch(line.strip())}
    named = {line.partition("==")[0].lower() for line in lines}
    return sorted(lines if "colorama" in named else lines | {WINDOWS}, key=str.lower)


if __name__ == "__main__":
    source, target = (Path(argument) for argument in sys.argv[1:])
    target.write_text("\n".join(pins(source.read_text(encoding="utf-8"))) + "\n", encoding="utf-8", newline="\n")
