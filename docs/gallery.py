"""Make the pictures of docs/plots.md by running the code that stands there; `make gallery`."""

from __future__ import annotations

import os
import re
from pathlib import Path

PAGE = Path(__file__).with_name("plots.md")
FOLDER = PAGE.with_suffix("")
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def main() -> None:
    """Run the page's blocks one after another in the folder of its pictures."""
    text = PAGE.read_text(encoding="utf-8")
    FOLDER.mkdir(exist_ok=True)
    os.chdir(FOLDER)
    namespace: dict[str, object] = {"__name__": "gallery"}
    for match in BLOCK.finditer(text):
        lines = "\n" * text.count("\n", 0, match.start(1))
        exec(compile(lines + match.group(1), PAGE, "exec"), namespace)


if __name__ == "__main__":
    main()
