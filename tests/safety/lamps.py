"""Instruments without a wire, for tests inside of one process."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from labqdl.instruments import Identity, Instrument, NotConfirmed, Part, Quantity
from labqdl.safety import Arming, SafeStack

ARMED = Arming(True, "a test")


class Lamp(Instrument):
    """A lamp; `log` is told when it goes dark."""

    simulated = True

    def __init__(self, name: str, order: int = 70, log: list[str] | None = None) -> None:
        super().__init__(name)
        self.safe_order = order  # type: ignore[misc]
        self.log = [] if log is None else log
        self.lit = False
        self.trouble: Callable[[], object] | None = None
        self.opened = True

    def on(self) -> None:
        self.energising("output")
        self.lit = True

    def open(self) -> None:
        self.opened = True

    def close(self) -> None:
        self.opened = False

    @property
    def is_open(self) -> bool:
        return self.opened

    def identity(self) -> Identity:
        return Identity("Fake", "Lamp", self.name, "")

    def safe_state(self) -> None:
        self.log.append(self.name)
        if self.trouble is not None:
            self.trouble()
        self.lit = False

    def complete_part(self, part: Part, quantity: Quantity[Any], value: Any) -> None:
        """At once."""


class RealLamp(Lamp):
    """Stands on a table, and cannot be made again in another process."""

    simulated = False
    resource = "TCPIP0::10.0.0.5::5025::SOCKET"


def refuse() -> None:
    raise NotConfirmed("it still shines")


def guarded(*lamps: Lamp, **options: Any) -> SafeStack:
    """A stack without handlers and watchdog, with little patience."""
    given: dict[str, Any] = {"handlers": False, "watchdog": False, "arming": ARMED}
    given |= {"deadline": 0.2, "effort": 0.1, "grace": 0.05, "notify": lambda words: None}
    stack = SafeStack(**(given | options))
    for lamp in lamps:
        lamp.guard = stack
    return stack
