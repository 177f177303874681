"""The UNSAFE file: what could not be made safe, when, why, and what to do. It blocks until it is acknowledged."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from labqdl.errors import InputError
from labqdl.instruments import Refused
from labqdl.safety.darkening import Outcome
from labqdl.safety.recipe import Recipe, check_recipe

SCHEMA = "labqdl.unsafe/1"
FILE_NAME = "UNSAFE"
TO_DO = (
    "Go and look. Switch it off at its front panel, key or mains, and block the beam. Then run `labqdl safe`, and "
    "`labqdl safe --acknowledge` when you have seen that it is dark."
)


def state_folder() -> Path:
    """Where this user's state is kept: $LABQDL_STATE, or the place that the system foresees. It may not exist."""
    given = os.environ.get("LABQDL_STATE")
    if given:
        return Path(given)
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home()) / "labqdl"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Application Support" / "labqdl"
    return Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "labqdl"


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing that was not confirmed safe.

    Attributes
    ----------
    name, resource, why:
        As in the outcome.
    when:
        UTC, ISO 8601.
    told_by:
        Which process says so.
    recipe:
        How to make its driver again; None where that is not known.
    """

    name: str
    resource: str
    why: str
    when: str
    told_by: str
    recipe: Recipe | None


class UnsafeFile:
    """The file at `path`; None: in the user's state folder, where everybody looks."""

    def __init__(self, path: Path | None = None) -> None:
        self.path = path or state_folder() / FILE_NAME

    def exists(self) -> bool:
        """Whether something waits to be acknowledged."""
        return self.path.exists()

    def refuse(self, what: str) -> None:
        """Refused where the file is there; `what` is what somebody wanted to do."""
        if self.exists():
            names = ", ".join(sorted({entry.name for entry in self._known()})) or "something"
            raise Refused(
                f"{what}: refused, because {names} could not be made safe before; see {self.path}. Go and look, then "
                "`labqdl safe --acknowledge`"
            )

    def entries(self) -> list[Entry]:
        """What the file says; nothing where there is none.

        Raises
        ------
        InputError
            Where it cannot be understood; it blocks all the same.
        """
        try:
            data = json.loads(self.path.read_text(encoding="utf-8"))
            return [_entry(one, str(self.path)) for one in data["entries"]]
        except FileNotFoundError:
            return []
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InputError(
                f"the file cannot be understood ({error})",
                source=self.path,
                hint="It blocks all the same: look at every instrument, then `labqdl safe --acknowledge`",
            ) from error

    def _known(self) -> list[Entry]:
        try:
            return self.entries()
        except InputError:
            return []

    def add(
        self, outcomes: Sequence[Outcome], recipes: Mapping[tuple[str, str], Recipe], *, wall: float, told_by: str
    ) -> None:
        """Write down what was not confirmed, besides what stands there already; OSError where that fails."""
        when = datetime.fromtimestamp(wall, UTC).isoformat(timespec="milliseconds")
        new = [
            Entry(one.name, one.resource, one.problem, when, told_by, recipes.get((one.name, one.resource)))
            for one in outcomes
            if not one.safe
        ]
        again = {(one.name, one.resource) for one in new}
        kept = [entry for entry in self._known() if (entry.name, entry.resource) not in again]
        document = {
            "schema": SCHEMA,
            "what_to_do": TO_DO,
            "entries": [_json(entry) for entry in kept + new],
        }
        self.path.parent.mkdir(parents=True, exist_ok=True)
        partial = self.path.with_name(f".{self.path.name}.{os.getpid()}.partial")
        try:
            with partial.open("w", encoding="utf-8") as file:
                file.write(json.dumps(document, indent=1) + "\n")
                file.flush()
                os.fsync(file.fileno())
            partial.replace(self.path)
        except OSError:
            with suppress(OSError):
                partial.unlink(missing_ok=True)
            raise

    def report(
        self, outcomes: Sequence[Outcome], recipes: Mapping[tuple[str, str], Recipe], *, wall: float, told_by: str
    ) -> str:
        """As `add`; gives words for what became of it, and raises nothing."""
        try:
            self.add(outcomes, recipes, wall=wall, told_by=told_by)
        except OSError as error:
            return (
                f"Go and look now. The file {self.path} could not be written ({error.strerror or error}): nothing but "
                "this message says so"
            )
        return f"Go and look now, then `labqdl safe --acknowledge`; nothing is energised before. See {self.path}"

    def acknowledge(self) -> bool:
        """Take the file away; it stays beside itself under another name. False where there was none."""
        try:
            self.path.replace(self.path.with_name(f"{self.path.name}.acknowledged"))
        except FileNotFoundError:
            return False
        return True


def _json(entry: Entry) -> dict[str, Any]:
    return {
        "name": entry.name,
        "resource": entry.resource,
        "why": entry.why,
        "when": entry.when,
        "told_by": entry.told_by,
        "recipe": None if entry.recipe is None else entry.recipe.to_json(),
    }


def _entry(data: Mapping[str, Any], source: str) -> Entry:
    recipe = data["recipe"]
    name, resource, why, when, told_by = (str(data[key]) for key in ("name", "resource", "why", "when", "told_by"))
    return Entry(name, resource, why, when, told_by, None if recipe is None else check_recipe(recipe, source))
