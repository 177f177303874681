"""The matrix drivers x faults: what each driver must say when its instrument, or the way to it, goes wrong.

`python -m tests.conformance.matrix` prints it; `--wire` over sockets and pseudo terminals. What is expected was written
by hand from the contracts of `labqdl.transport` and `labqdl.instruments`, before any cell was run:

- no whole reply in time: TransportTimeout, not later than the exchange's limit; the next reading is right;
- the connection ends or is reset: ConnectionLost; the next use connects again and is right;
- bytes that are no reply: ProtocolError (a reply that the instrument means as a complaint: InstrumentError);
- the instrument's own report: InstrumentError; 9.91E37: NotAValue;
- another box, or other settings, after the connection was lost: SettingsChanged;
- what does not go off, or does not finish: NotConfirmed.

In no cell may there be a value that is wrong, or a call that does not come back.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any, cast

from labqdl.clock import SystemClock
from labqdl.driver import FrameInstrument, ScpiInstrument
from labqdl.errors import LabqdlError
from labqdl.instruments import Digitizer, Identity, NotAValue, NotConfirmed, Part, Quantity, Refused, SettingsChanged
from labqdl.transport import ConnectionLost, InstrumentError, ProtocolError, TransportTimeout
from labqdl_sim.scpi import ScpiTwin
from labqdl_sim.serve import serve
from labqdl_sim.twin import Twin, twin_class
from tests.conformance.subjects import (
    MAKERS,
    NAMES,
    REQUESTS,
    SERIAL,
    SOCKET,
    Stand,
    bench_for,
    driver_class,
    emits,
    in_process,
)


@dataclass(frozen=True)
class Probe:
    """What is asked of a driver: a quantity that one exchange reads, and a value that it is not at power-on.

    `setting` is another quantity where the one that is read is not compared after a lost connection.
    `light` makes something come out, where the driver can.
    """

    path: str
    value: Any
    light: Callable[[Any], None] | None = None
    setting: str = ""


def _on(name: str) -> Callable[[Any], None]:
    return lambda driver: setattr(driver, name, True)


def _bias(driver: Any) -> None:
    driver.manual_voltage = 2.0
    driver.mode = type(driver).mode.kind.MANUAL


def _amplifier(driver: Any) -> None:
    driver.current_set_point = 0.2
    driver.pump = True


def _source(driver: Any) -> None:
    driver.voltage = 1.0
    driver.output = True


def _shifters(driver: Any) -> None:
    driver.channels()[0].voltage = 3.0


def _generator(driver: Any) -> None:
    driver.channels()[1].amplitude = 0.5
    driver.channels()[1].output = True


PROBES: dict[str, Probe] = {
    "oif-itla": Probe("power", 0.015, _on("emission")),
    "nkt-koheras": Probe("power", 0.02, _on("emission")),
    "santec-tsl": Probe("sweep_dwell", 2.0, _on("emission")),
    "amonics-edfa": Probe("current_set_point", 0.1, _amplifier),
    "keysight-33500": Probe("output 1.frequency", 2e3, _generator),
    "keysight-n77": Probe("attenuation", 10.0, _on("open_shutter")),
    "keithley-2400": Probe("integration", 2.0, _source),
    "thorlabs-mbx": Probe("ratio", 5.0, _bias),
    "thorlabs-mbx-voa": Probe("attenuation", 5.0),
    "thorlabs-mpc320": Probe("speed", 0.7),
    "thorlabs-osw": Probe("port", 2),
    "thorlabs-pm100": Probe("wavelength", 1310e-9),
    "labqdl-lockbox": Probe("set_point", 0.5, _on("engaged")),
    "qontrol": Probe("output 0.current_limit", 0.012, _shifters, "output 0.voltage"),
    "redpitaya": Probe("decimation", 8),
    "redpitaya-generator": Probe("channel 1.frequency", 2e3, _generator),
    "redpitaya-io": Probe("board", None),
    "redpitaya-source": Probe("board", None),
    "keysight-infiniivision": Probe("trigger_level", 0.5),
    "tektronix-mso": Probe("input 1.scale", 0.5),
    "tektronix-awg": Probe("output 1.amplitude", 0.75, _generator),
    "idq-id900": Probe("input 1.threshold", 1.0),
}

RIGHT = "right"
"""The right value, as if nothing had happened."""
Outcome = type[LabqdlError] | str
LATE = 1.5
"""How late a late reply is, in limits of the exchange."""


@dataclass(frozen=True)
class Fault:
    """A fault and its expected outcomes.

    Attributes
    ----------
    effect, given:
        The rule of `labqdl_sim.faults`.
    stimulus:
        "read" the probe, "set" it, "reopen" the driver, fetch a "record", make "light", look after "another box" or
        "other settings" came with a loss, make it "safe".
    expected:
        What may come; several where bytes decide (garbled text that is no number, or no frame at all).
    applies:
        For which drivers; None: all.
    """

    effect: str
    stimulus: str
    expected: tuple[Outcome, ...]
    given: dict[str, Any] = field(default_factory=dict)
    applies: Callable[[str], bool] | None = None


def is_frames(name: str) -> bool:
    """Binary frames instead of text."""
    return issubclass(driver_class(name), FrameInstrument) or name == "thorlabs-mpc320"


def has_checksum(name: str) -> bool:
    """Frames that tell whether a bit was flipped."""
    return name in ("oif-itla", "nkt-koheras")


def is_number(name: str) -> bool:
    """A number as text in one reply."""
    probe = PROBES[name]
    return not is_frames(name) and probe.value is not None and name != "thorlabs-osw"


def is_message(name: str) -> bool:
    """The road carries whole messages: what a wire loses inside of one, the road itself repeats."""
    return MAKERS[name].resource not in (SERIAL, SOCKET)


def is_stream(name: str) -> bool:
    """The road carries bytes."""
    return not is_message(name)


def has_queue(name: str) -> bool:
    """An error queue that the driver looks into after a set."""
    kind = driver_class(name)
    return issubclass(kind, ScpiInstrument) and kind.error_query is not None and PROBES[name].value is not None


def is_set(name: str) -> bool:
    """The probe can be set."""
    return PROBES[name].value is not None


def is_text(name: str) -> bool:
    """The probe is a text, and any text could be the right one."""
    return PROBES[name].value is None


NAMELESS = frozenset({"thorlabs-osw"})
"""What tells neither serial number nor firmware: another one of its kind is the same."""


def has_light(name: str) -> bool:
    """Something can come out."""
    return PROBES[name].light is not None and MAKERS[name].emits


def is_lockable(name: str) -> bool:
    """The twin can be held by its front panel."""
    kind = twin_class(MAKERS[name].twin)
    return is_set(name) and (issubclass(kind, ScpiTwin) or name in ("amonics-edfa", "nkt-koheras", "thorlabs-mbx"))


def has_interlock(name: str) -> bool:
    """The sheet knows an interlock; generators, whose twins take the fault for an overload, have none."""
    return name in ("oif-itla", "nkt-koheras", "santec-tsl", "amonics-edfa", "keithley-2400")


def waits(name: str) -> bool:
    """The probe is complete when *OPC? says so."""
    return name == "keysight-n77"


def has_records(name: str) -> bool:
    """Records come as blocks."""
    return issubclass(driver_class(name), Digitizer)


LOST: tuple[Outcome, ...] = (ConnectionLost,)
SILENT: tuple[Outcome, ...] = (TransportTimeout,)
NONSENSE: tuple[Outcome, ...] = (ProtocolError, InstrumentError)
FAULTS: dict[str, Fault] = {
    # the link
    "message lost": Fault("ignore", "read", SILENT),
    "reply lost": Fault("silent", "read", SILENT),
    "reply late": Fault("late", "read", SILENT),
    "reply in drops": Fault("drip", "read", (RIGHT,), {"value": 1e-3}, lambda name: MAKERS[name].resource != REQUESTS),
    "FIN": Fault("close", "read", LOST),
    "RST": Fault("reset", "read", LOST),
    "FIN inside of the reply": Fault("cut", "read", LOST),
    "gone": Fault("vanish", "read", LOST),
    "refused": Fault("refuse", "reopen", LOST),
    "reply cut short": Fault("truncate", "read", SILENT, applies=is_stream),
    "no terminator": Fault("terminator", "read", SILENT, applies=lambda name: is_stream(name) and not is_frames(name)),
    "reply twice": Fault("duplicate", "read", (RIGHT,)),
    "bit of the reply flipped": Fault("flip", "read", (ProtocolError,), {"value": 2}, has_checksum),
    "bit of the command flipped": Fault("flip-input", "set", (InstrumentError,), {"value": 5}, has_checksum),
    # messages
    "garbled": Fault("garble", "read", (*NONSENSE, TransportTimeout), applies=lambda name: not is_text(name)),
    "not ASCII": Fault("non-ascii", "read", (ProtocolError,), applies=lambda name: not is_frames(name)),
    "another reply": Fault("replace", "read", NONSENSE, {"text": "?"}, is_number),
    "empty reply": Fault("replace", "read", (*NONSENSE, TransportTimeout), {"text": ""}, is_number),
    "9.91E37": Fault("overrange", "read", (NotAValue,), applies=is_number),
    "NAN": Fault("nan", "read", (ProtocolError, NotAValue), applies=is_number),
    "INF": Fault("inf", "read", (ProtocolError, NotAValue), applies=is_number),
    "reply of the query before": Fault("behind", "read", SILENT),
    # the instrument's own report
    "error out of nothing": Fault("error", "set", (InstrumentError,), {"value": -300, "times": 1}, has_queue),
    "queue overflows": Fault("overflow", "set", (InstrumentError,), {"times": 1}, has_queue),
    "front panel has it": Fault("lockout", "set", (InstrumentError, NotConfirmed), applies=is_lockable),
    "interlock open": Fault(
        "interlock",
        "light",
        (InstrumentError, NotConfirmed, Refused),
        applies=has_interlock,
    ),
    "*OPC? never answered": Fault("opc-never", "set", (NotConfirmed,), applies=waits),
    "always busy": Fault("busy", "set", (NotConfirmed,), applies=waits),
    # blocks
    "block said longer": Fault("block-length", "record", (ProtocolError, TransportTimeout), {"value": 4}, has_records),
    "block said shorter": Fault("block-length", "record", (ProtocolError,), {"value": -4}, has_records),
    "end of a block missing": Fault(
        "block-tail", "record", (ProtocolError, TransportTimeout), {"value": 4}, has_records
    ),
    "FIN inside of a block": Fault("cut", "record", LOST, {"command": r"DATA\?|CURV\?"}, has_records),
    # other states
    "another box": Fault("reset", "another box", (SettingsChanged,), applies=lambda name: name not in NAMELESS),
    "other settings": Fault("reset", "other settings", (SettingsChanged,), applies=is_set),
    "stays on": Fault("stay-on", "safe", (NotConfirmed,), applies=has_light),
    "safe while silent": Fault("silent", "safe", (TransportTimeout,), applies=has_light),
    "safe after FIN": Fault("close", "safe", (RIGHT, ConnectionLost), {"times": 1}, has_light),
}
"""By name, in words."""

DIFFERENT: dict[tuple[str, str], tuple[Outcome, ...]] = {
    # A module that does not answer is asked once more, over a new connection: the held reply comes there.
    ("nkt-koheras", "reply of the query before"): (ProtocolError,),
    ("nkt-koheras", "reply late"): (TransportTimeout, ProtocolError),
    # ZeroMQ does not tell that a connection is gone: its silence is all there is. It knocks when the limit is over.
    ("idq-id900", "refused"): (ConnectionLost, TransportTimeout),
    ("idq-id900", "FIN"): SILENT,
    ("idq-id900", "RST"): SILENT,
    ("idq-id900", "FIN inside of the reply"): (TransportTimeout, ProtocolError),
    ("idq-id900", "gone"): (TransportTimeout, ConnectionLost),
}
"""Where an instrument's own protocol says something else, and why."""


@dataclass
class Cell:
    """What happened."""

    name: str
    fault: str
    outcome: str
    problems: list[str]


def find(stand: Stand, path: str) -> tuple[Part, Quantity[Any]]:
    """Part and quantity of a path."""
    return next(
        (part, quantity)
        for part in stand.driver.parts()
        for name, quantity in part.quantities().items()
        if part.path(name) == path
    )


@contextmanager
def on_the_wire(name: str, limit: float) -> Iterator[Stand]:
    """The driver over a socket, a pseudo terminal or ZeroMQ, on the system's clock."""
    make = MAKERS[name]
    bench, twin = bench_for(make, SystemClock())
    if make.resource == REQUESTS:
        bench.routes[twin.name] = ("zmq",)
    elif make.resource == SERIAL and sys.platform != "win32":
        bench.routes[twin.name] = ("pty",)
    else:
        bench.routes[twin.name] = ("socket",)
    with serve(bench) as served:
        kind: Callable[..., Any] = driver_class(name)
        driver = kind(served.resource(twin.name), name=name, **make.options)
        driver.timeout = driver.transport.timeout = limit
        driver.guard = None  # what dies with this test needs no watchdog
        stand = Stand(bench, twin, driver)
        try:
            yield stand
        finally:
            driver.close()


@contextmanager
def here(name: str) -> Iterator[Stand]:
    """The driver in process."""
    stand = in_process(name)
    try:
        yield stand
    finally:
        stand.close()


def run_cell(name: str, words: str, *, wire: bool = False) -> Cell:
    """One cell; its problems are empty if all was as expected."""
    fault = FAULTS[words]
    slack = 3.0 if wire else 1.05
    with on_the_wire(name, 0.25) if wire else here(name) as stand:
        driver, probe = stand.driver, PROBES[name]
        driver.open()
        part, quantity = find(stand, probe.path)
        first, identity = quantity.fetch(part), driver.identity()
        if fault.stimulus == "safe":
            assert probe.light is not None
            probe.light(driver)
        if fault.stimulus == "other settings":
            where, what = find(stand, probe.setting or probe.path)
            what.__set__(where, probe.value if not probe.setting else SET_ELSEWHERE)
        given = dict(fault.given)
        limit = driver.transport.timeout
        if fault.effect == "late":
            given["value"] = LATE * limit
        clock, problems = driver.clock, []
        if fault.stimulus == "reopen":
            driver.close()
        if fault.stimulus == "record":
            limit = max(limit, 2.0)  # recording takes its time
            vars(driver)["timeout"] = driver.transport.timeout = limit
            record(driver)
        stand.twin.faults.add(fault.effect, **given)
        start = clock.monotonic()
        outcome, value = _outcome(stimulate(stand, fault.stimulus, part, quantity, probe.value))
        took = clock.monotonic() - start
        expected = DIFFERENT.get((name, words), fault.expected)
        if outcome is None or not any(_is(outcome, one) for one in expected):
            names = " or ".join(one if isinstance(one, str) else one.__name__ for one in expected)
            problems.append(f"expected {names}, came {_shown(outcome)}: {str(value)[:160]}")
        if outcome == RIGHT and fault.stimulus == "read" and value != first:
            problems.append(f"WRONG VALUE {value!r} instead of {first!r}")
        if fault.stimulus == "read" and took > slack * (EXCHANGES.get(name, 1) * limit + 0.3):
            problems.append(f"took {took:.2f} s, the limit is {limit:g} s")
        if isinstance(value, Exception) and name not in str(value):
            problems.append(f"the error does not name its instrument: {value}")
        lit = emits(stand.twin, MAKERS[name].outputs)
        stand.twin.faults.clear()
        problems += afterwards(stand, fault, part, quantity, first, identity, lit)
    return Cell(name, words, _shown(outcome), problems)


SET_ELSEWHERE = 3.0

EXCHANGES = {"nkt-koheras": 2, "thorlabs-mpc320": 2}
"""Exchanges that one reading may take: what the NKT leaves unanswered is asked for once more."""


def stimulate(stand: Stand, stimulus: str, part: Part, quantity: Quantity[Any], value: Any) -> Callable[[], Any]:
    """What is done while the fault is there."""
    driver, twin = stand.driver, stand.twin
    if stimulus == "read":
        return lambda: quantity.fetch(part)
    if stimulus == "set":
        return lambda: quantity.__set__(part, value)
    if stimulus == "reopen":
        return driver.open
    if stimulus == "record":
        return lambda: cast(Digitizer, driver).fetch(1)
    if stimulus == "light":
        light = PROBES[driver.name].light
        assert light is not None
        return partial(light, driver)
    if stimulus == "safe":
        return driver.safe_state

    def lost_then_looked_at() -> Any:
        with suppress(LabqdlError):
            quantity.fetch(part)
        twin.faults.clear()
        if stimulus == "another box":
            twin.serial = "9" + twin.serial[1:]
        elif stimulus == "other settings":
            power_cycle(twin)
        return quantity.fetch(part)

    return lost_then_looked_at


def record(driver: Any) -> None:
    """Record something."""
    driver.arm()
    driver.force_trigger()
    driver.wait(5.0)


def power_cycle(twin: Twin) -> None:
    """The twin forgets what it was told."""
    with twin.lock:
        twin.reset()
    if isinstance(twin, ScpiTwin):
        session = twin.connect()
        session.feed(b"*RST" + (b"\r\n" if b"\r" in twin.reply_terminator else b"\n"), end=True)
        session.close()


def afterwards(
    stand: Stand, fault: Fault, part: Part, quantity: Quantity[Any], first: Any, identity: Identity, lit: bool
) -> list[str]:
    """Once the fault is over: readings are right, or the driver says why it does not carry on."""
    driver = stand.driver
    if fault.stimulus in ("another box", "other settings"):
        outcome, value = _outcome(lambda: quantity.fetch(part))
        return [] if outcome is SettingsChanged else [f"carries on afterwards: {_shown(outcome)} {value!r}"[:200]]
    if fault.stimulus == "light":
        return ["something comes out with the interlock open"] if lit else []
    if fault.stimulus == "record":
        outcome, value = _outcome(lambda: cast(Digitizer, driver).fetch(1))
        return [] if outcome == RIGHT else [f"record afterwards: {_shown(outcome)}: {value}"[:300]]
    if fault.stimulus == "safe":
        outcome, value = _outcome(driver.safe_state)
        problems = [] if outcome == RIGHT else [f"safe_state afterwards: {_shown(outcome)}: {value}"[:200]]
        return problems + (["not dark afterwards"] if emits(stand.twin, MAKERS[stand.driver.name].outputs) else [])
    if fault.stimulus == "reopen":
        driver.open()
    elif fault.stimulus == "set":
        first = None  # whether the setting took effect is not known
    if fault.effect == "duplicate":
        driver.clock.sleep(0.05)  # it can be noticed once it has come
    # Something else is asked first: a reply of yesterday would be taken for it.
    outcome, value = _outcome(driver.identity)
    late = fault.effect == "late" and MAKERS[driver.name].resource == SERIAL  # a cable stays, and brings it later
    may_fail = fault.effect in ("duplicate", "behind") or late
    problems = []
    if (outcome == RIGHT and value != identity) or (outcome != RIGHT and not may_fail):
        problems.append(f"WRONG REPLY afterwards: {value}"[:300])
    for attempt in range(3):
        outcome, value = _outcome(lambda: quantity.fetch(part))
        if outcome == RIGHT and first is not None and value != first:
            problems.append(f"WRONG VALUE afterwards: {value!r} instead of {first!r}")
        if outcome != RIGHT and not (late and attempt == 0):  # the reply to what was asked once more is late, too
            problems.append(f"afterwards: {_shown(outcome)}: {value}"[:300])
    return problems


def _outcome(call: Callable[[], Any]) -> tuple[Outcome | None, Any]:
    try:
        return RIGHT, call()
    except LabqdlError as error:
        return type(error), error
    except Exception as error:
        return None, f"{type(error).__name__}: {error}"


def _is(outcome: Outcome, expected: Outcome) -> bool:
    if isinstance(outcome, str) or isinstance(expected, str):
        return outcome == expected
    return issubclass(outcome, expected)


def _shown(outcome: Outcome | None) -> str:
    return "FOREIGN" if outcome is None else outcome if isinstance(outcome, str) else outcome.__name__


def cells(*, wire: bool = False) -> list[tuple[str, str]]:
    """All cells: driver and fault."""
    return [
        (name, words)
        for name in NAMES
        for words, fault in FAULTS.items()
        if (fault.applies is None or fault.applies(name))
        and not (wire and fault.effect in UNWIRED and MAKERS[name].resource == SERIAL)
        and not (wire and fault.effect in SLOW)
    ]


SLOW = frozenset({"opc-never", "busy", "interlock"})
"""What costs a limit of many seconds, or a laser's time to switch on: in process only."""
UNWIRED = frozenset({"refuse", "close", "reset", "cut", "vanish", "sessions"})
"""What a pseudo terminal has not: it is a cable, and has no connections."""


def tried(name: str, words: str, *, wire: bool) -> Cell:
    """One cell of a long run: what fails before its fault is there (on a machine that is too busy) stops no other."""
    try:
        return run_cell(name, words, wire=wire)
    except LabqdlError as error:
        return Cell(name, words, _shown(type(error)), [f"before the fault: {str(error)[:160]}"])


def main() -> None:
    """Print the matrix."""
    wire, names = "--wire" in sys.argv, [one for one in sys.argv[1:] if not one.startswith("-")]
    found = [tried(name, words, wire=wire) for name, words in cells(wire=wire) if not names or name in names]
    shown = [name for name in NAMES if not names or name in names]
    table = {(cell.name, cell.fault): cell for cell in found}
    for words in FAULTS:
        print(f"{words}")
        for name in shown:
            cell = table.get((name, words))
            if cell is not None:
                trouble = f"NOT EXPECTED: {'; '.join(cell.problems)}" if cell.problems else ""
                print(f"    {name:24}{cell.outcome:18}{trouble}")
    bad = sum(bool(cell.problems) for cell in found)
    print(f"{len(found)} cells of {len(shown)} drivers x {len(FAULTS)} faults, {bad} not as expected")


if __name__ == "__main__":
    main()
