"""How the examples of a fact sheet are played on a twin, and what every twin's parser must survive."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from labqdl.clock import ManualClock
from labqdl_sim.bench import Bench
from labqdl_sim.ports import Light, LightIn, LightOut, PulseIn, VoltageIn, VoltageOut
from labqdl_sim.scpi import ScpiTwin
from labqdl_sim.twin import Twin
from tests.sheet_examples import Example, Sheet, play


class Wire:
    """A session whose replies are fetched when they are due; the clock moves there."""

    def __init__(self, twin: Twin, **options: Any) -> None:
        self.session = twin.connect(**options)
        self.clock = twin.clock
        self.output = bytearray()

    def feed(self, data: bytes) -> None:
        """Send, then wait for all that comes."""
        self.session.feed(data)
        replies = self.session.replies
        while replies and math.isfinite(replies[0].ready_at):
            self.clock.sleep(max(replies[0].ready_at - self.clock.monotonic(), 0.0))
            self.output += replies[0].data
            replies.popleft()

    def ask(self, data: bytes) -> bytes:
        """Send and return all that comes."""
        self.feed(data)
        got = bytes(self.output)
        self.output.clear()
        return got


class Lab:
    """One twin of a family under a clock that the test moves."""

    def __init__(self, name: str, **options: Any) -> None:
        self.clock = ManualClock()
        self.twin: Any = Bench(seed=3, clock=self.clock).add(name, "it", **options)
        self.wire = Wire(self.twin)

    def after(self, seconds: float) -> None:
        """Let time pass."""
        self.clock.advance(seconds)

    def ask(self, text: str) -> str:
        """A line of text, with or without its terminator, and the reply without."""
        ends: bytes = getattr(self.twin, "terminators", b"")[:1]
        line = text.encode("latin-1")
        return self.wire.ask(line if line.endswith(ends) else line + ends).decode("latin-1").rstrip("\r\n")

    def error(self) -> int:
        """Code of the oldest error of an SCPI instrument."""
        return int(self.ask("SYST:ERR?").split(",")[0])

    def light(self, port: str = "output") -> Light:
        """What leaves a fibre now."""
        found = self.twin.ports[port]
        assert isinstance(found, LightOut)
        return found.at(self.clock.monotonic())

    def volts(self, port: str = "bias") -> float:
        """What leaves a connector now."""
        found = self.twin.ports[port]
        assert isinstance(found, VoltageOut)
        return found.at(self.clock.monotonic())

    def shine(self, watts: float, port: str = "input", wavelength: float = 1550e-9) -> None:
        """Light into a fibre."""
        found = self.twin.ports[port]
        assert isinstance(found, LightIn)
        found.connect(lambda t: Light(watts, wavelength))


Before = Callable[[Lab], None]


def play_example(
    name: str,
    example: Example,
    options: Mapping[str, Mapping[str, object]],
    before: Mapping[str, Before],
    pauses: Mapping[str, tuple[float, ...]],
) -> Lab:
    """Play one example on a fresh twin: its options, what happens before, and seconds before each exchange."""
    lab = Lab(name, **options.get(example.title, {}))
    if example.title in before:
        before[example.title](lab)
    waits = pauses.get(example.title, ())
    for index, exchange in enumerate(example.exchanges):
        lab.after(waits[index] if index < len(waits) else 0.0)
        play(lab.wire, exchange)
    return lab


def check_titles(sheet: Sheet, *tables: Mapping[str, object]) -> None:
    """Whatever a test says about examples must be about examples that there are."""
    assert len(sheet.examples) == sheet.worked
    for table in tables:
        assert set(table) <= set(sheet.titles)


def check_headers(twin: ScpiTwin, commands: Iterable[str], left_out: Mapping[str, str] | None = None) -> None:
    """A twin knows each header of its sheet (suffixes written as {n}) but for those that are left out with a reason."""
    reasons = left_out or {}
    commands = tuple(commands)
    assert commands
    assert set(reasons) <= set(commands)
    for command in commands:
        head = re.sub(r"\{\w\}", "1", command.lstrip(":"))
        found = twin._tree.find(head) or twin._tree.find(head + "?")
        assert (found is None) == (command in reasons), command


def check_fuzz(name: str, pieces: st.SearchStrategy[bytes], examples: int = 120, **options: object) -> None:
    """No bytes make a twin raise, hang or fill up; its ports stay finite."""
    lab = Lab(name, **options)

    @settings(max_examples=examples, deadline=None)
    @given(data=st.lists(pieces, max_size=8), pause=st.sampled_from([0.0, 0.0, 0.3, 20.0]))
    def run(data: list[bytes], pause: float) -> None:
        session = lab.twin.connect()
        for piece in data:
            session.feed(piece)
            assert len(session.buffer) <= sum(map(len, data))
        assert sum(len(reply.data) for reply in session.replies) < 1 << 20
        session.close()
        lab.after(pause)
        for port in lab.twin.ports.values():
            if isinstance(port, LightOut):
                light = port.at(lab.clock.monotonic())
                assert math.isfinite(light.power)
                assert 0.0 <= light.power < 10.0
                assert 1e-7 < light.wavelength < 1e-5
            elif isinstance(port, VoltageOut):
                assert abs(port.at(lab.clock.monotonic())) < 100.0
            else:
                assert isinstance(port, (LightIn, VoltageIn, PulseIn))

    run()


def check_flood(name: str, junk: bytes, limit: int, **options: object) -> None:
    """A message that never ends does not fill the memory."""
    session = Lab(name, **options).twin.connect()
    for _ in range(4 * limit // len(junk) + 4):
        session.feed(junk)
    assert len(session.buffer) <= 2 * limit + len(junk)
