"""Which routine comes before which."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any

from labqdl.config.schema import did_you_mean
from labqdl.errors import InputError
from labqdl_calibration.routine import Routine


class Graph(Mapping[str, Routine]):
    """Routines by name, and what each needs.

    Parameters
    ----------
    routines:
        In the order in which they are measured where nothing else orders them.
    absent:
        Names that may be required although there is no such routine here.

    Raises
    ------
    ValueError
        Where two have one name, where one requires what there is not, and for a circle, which it names.
    """

    def __init__(self, routines: Iterable[Routine], *, absent: Collection[str] = ()) -> None:
        self._routines: dict[str, Routine] = {}
        self._absent = frozenset(absent)
        for routine in routines:
            if routine.name in self._routines:
                raise ValueError(f"two routines are called {routine.name!r}")
            self._routines[routine.name] = routine
        for routine in self._routines.values():
            for other in routine.requires:
                if other not in self._routines and other not in self._absent:
                    raise ValueError(f"{routine.name} requires {other!r}, which is no routine")
        self._order = self._sorted()

    def __getitem__(self, name: str) -> Routine:
        return self._routines[name]

    def __iter__(self) -> Iterator[str]:
        """Names in an order in which they can be measured."""
        return iter(self._order)

    def __len__(self) -> int:
        return len(self._routines)

    def order(self, names: Iterable[str] | None = None) -> tuple[str, ...]:
        """These and everything that they require, each behind what it requires; None: all.

        InputError for a name that is no routine.
        """
        if names is None:
            return self._order
        wanted: set[str] = set()
        waiting = list(names)
        while waiting:
            name = waiting.pop()
            if name not in self._routines:
                raise InputError(
                    f"there is no calibration {name!r}",
                    expected=f"one of {', '.join(self._order)}",
                    hint=did_you_mean(name, self._order),
                )
            if name not in wanted:
                wanted.add(name)
                waiting.extend(self.requires(name))
        return tuple(name for name in self._order if name in wanted)

    def requires(self, name: str) -> tuple[str, ...]:
        """What a routine requires here."""
        return tuple(other for other in self._routines[name].requires if other not in self._absent)

    def dependents(self, name: str) -> tuple[str, ...]:
        """What is stale when this one is measured again, in order."""
        stale = {name}
        for one in self._order:
            if stale.intersection(self._routines[one].requires):
                stale.add(one)
        return tuple(one for one in self._order if one in stale and one != name)

    def needed_for(self, purpose: str) -> tuple[str, ...]:
        """What has to be measured for a purpose such as "run", in order."""
        return self.order(name for name, routine in self._routines.items() if purpose in routine.serves)

    def applicable(self, bench: Any) -> Graph:
        """The graph of what applies to a bench; what the others would have given is not required there."""
        kept = [routine for routine in self._routines.values() if routine.applies(bench)]
        return Graph(kept, absent=set(self._routines) - {routine.name for routine in kept})

    def _sorted(self) -> tuple[str, ...]:
        order: list[str] = []
        state: dict[str, int] = {}

        def visit(name: str, path: tuple[str, ...]) -> None:
            if state.get(name) == 2:
                return
            if state.get(name) == 1:
                circle = " -> ".join([*path[path.index(name) :], name])
                raise ValueError(f"calibrations require each other in a circle: {circle}")
            state[name] = 1
            for other in (*self.requires(name), *self._routines[name].prefers):
                if other in self._routines:
                    visit(other, (*path, name))
            state[name] = 2
            order.append(name)

        for name in self._routines:
            visit(name, ())
        return tuple(order)
