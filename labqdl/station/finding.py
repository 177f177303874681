"""What stands on the table: names that this machine knows, what answers there, and which driver is for it.

Only `*IDN?` is ever sent, which changes nothing. Serial ports are not asked unless somebody says so: whatever stands
there may speak another language at another speed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import Any

from labqdl.clock import Clock, SystemClock
from labqdl.driver import Driver
from labqdl.errors import InputError, LabqdlError
from labqdl.instruments import Identity
from labqdl.station.drivers import driver_class, driver_names, list_drivers
from labqdl.transport import Line, RoadOptions, Transport, gather, parse, road_for

PORTS = {5025: "SCPI", 5000: "SCPI (Santec, Red Pitaya)", 4000: "SCPI (Tektronix)"}
"""Ports of a host at which instruments listen for lines."""
PATIENCE = 2.0
"""Seconds in which something must answer."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A name at which an instrument may stand; `ask` is whether *IDN? may be sent there unasked."""

    resource: str
    note: str
    ask: bool


@dataclass(frozen=True, slots=True)
class Found:
    """What was found at a name.

    Attributes
    ----------
    resource, note:
        Where, and how it came to be known.
    asked:
        Whether it was asked.
    identity:
        What it says it is; None where it did not answer, or was not asked.
    drivers:
        Drivers for it.
    problem:
        Why there is no identity, where it was asked.
    """

    resource: str
    note: str
    asked: bool = False
    identity: Identity | None = None
    drivers: tuple[str, ...] = ()
    problem: str = ""

    def to_json(self) -> dict[str, Any]:
        """As a JSON object."""
        who = self.identity
        return {
            "resource": self.resource,
            "note": self.note,
            "asked": self.asked,
            "identity": None
            if who is None
            else {"maker": who.maker, "model": who.model, "serial": who.serial, "firmware": who.firmware},
            "drivers": list(self.drivers),
            "problem": self.problem or None,
        }


def candidates(hosts: Iterable[str] = (), *, library: Any = None) -> tuple[list[Candidate], list[str]]:
    """Names at which instruments may stand, and words about what could not be looked at. Sends nothing to any.

    Parameters
    ----------
    hosts:
        Addresses of instruments on the network: nobody else is asked there.
    library:
        PyVISA library, or what `pyvisa.ResourceManager` takes; None: the default one.

    Raises
    ------
    InputError
        For what is no address.
    """
    found: list[Candidate] = []
    troubles: list[str] = []
    for host in hosts:
        if not host.strip() or any(sign.isspace() for sign in host):
            raise InputError(f"{host!r} is no address", expected="a name or number such as 10.0.0.5", key="host")
        place = f"[{host}]" if ":" in host and not host.startswith("[") else host
        found += [
            Candidate(f"TCPIP0::{place}::{port}::SOCKET", f"host, {words}", True) for port, words in PORTS.items()
        ]
        found.append(Candidate(f"TCPIP0::{place}::hislip0::INSTR", "host, HiSLIP", True))
    if library is None:
        try:
            found += _serial_ports()
        except Exception as error:  # whatever the system's list of ports stumbles over
            troubles.append(f"serial ports cannot be listed: {error}")
    try:
        found += _visa(library, troubles)
    except Exception as error:  # no library, no backend, a vendor's library that raises what it likes
        troubles.append(f"VISA resources cannot be listed: {error}")
    unique = {one.resource.upper(): one for one in reversed(found)}
    return list(reversed(unique.values())), troubles


def _serial_ports() -> list[Candidate]:
    from serial.tools import list_ports

    return [
        Candidate(f"ASRL{port.device}::INSTR", f"serial port, {port.description}", False)
        for port in sorted(list_ports.comports())
        if port.vid is not None or "ttyS" not in port.device  # built-in ports that nothing is plugged into
    ]


def _visa(library: Any, troubles: list[str]) -> list[Candidate]:
    import warnings

    import pyvisa

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # which of pyvisa-py's roads lack a package
        manager = pyvisa.ResourceManager("" if library is None else library)
        try:
            names = manager.list_resources()
            blind = _sees_no_usb(manager)
        finally:
            manager.close()
    if blind:
        troubles.append("USB is not looked at: pyvisa-py needs 'pip install pyusb' and libusb for it")
    own = library is not None
    return [Candidate(name, "VISA", own or not name.startswith("ASRL")) for name in names if own or "ASRL" not in name]


def _sees_no_usb(manager: Any) -> bool:
    """Whether PyVISA's library is the one in Python, without the package that it reaches USB through."""
    return type(manager.visalib).__module__.partition(".")[0] == "pyvisa_py" and find_spec("usb") is None


def find(
    hosts: Iterable[str] = (),
    *,
    ask_serial: bool = False,
    library: Any = None,
    clock: Clock | None = None,
    saying: Callable[[str], None] = lambda words: None,
) -> list[Found]:
    """Look at every name that this machine knows, and ask `*IDN?` where that is allowed, all at the same time.

    Parameters
    ----------
    hosts, library:
        See `candidates`.
    ask_serial:
        Whether serial ports are asked as well (9600 baud, 8N1).
    clock:
        For deadlines of instruments inside this process.
    saying:
        Told what is about to be asked, and what could not be looked at.
    """
    known, troubles = candidates(hosts, library=library)
    for trouble in troubles:
        saying(trouble)
    asked = [one for one in known if one.ask or ask_serial]
    if asked:
        saying(f"sending *IDN?, which changes nothing, to {', '.join(one.resource for one in asked)}")
    answers = gather(*(lambda one=one: _asked(one, library, clock) for one in asked))
    by_name = {one.resource: one for one in answers}
    found = [by_name.get(one.resource, Found(one.resource, one.note)) for one in known]
    for trouble in _silent_hosts(answers):
        saying(trouble)
    # A host has many ports, and nobody wants to read about those where nobody listens.
    return [one for one in found if one.identity is not None or not one.note.startswith("host")]


def _silent_hosts(answers: Iterable[Found]) -> list[str]:
    """In a line each, the hosts at which nothing answered at any port, and why not at the first one."""
    at: dict[str, list[Found]] = {}
    for one in answers:
        if one.note.startswith("host"):
            at.setdefault(one.resource.split("::")[1], []).append(one)
    lines = []
    for host, ports in at.items():
        if all(one.identity is None for one in ports):
            reason = ports[0].problem.removeprefix(f"{ports[0].resource}: ").partition(". ")[0]
            lines.append(f"{host}: nothing answered ({reason})")
    return lines


def _asked(candidate: Candidate, library: Any, clock: Clock | None) -> Found:
    try:
        identity = ask_identity(candidate.resource, library=library, clock=clock)
    except LabqdlError as error:
        return Found(candidate.resource, candidate.note, True, problem=str(error).partition(" | ")[0])
    return Found(candidate.resource, candidate.note, True, identity, drivers_for(identity))


def ask_identity(
    resource: str, *, library: Any = None, clock: Clock | None = None, timeout: float = PATIENCE
) -> Identity:
    """Send `*IDN?` and understand the answer.

    Raises
    ------
    InputError
        For what is no resource name.
    TransportError
        Where nobody answers.
    """
    parse(resource)
    options = RoadOptions(connect_timeout=timeout, visa_library=library)
    clock = clock or SystemClock()
    transport = Transport(
        road_for(resource, options, clock=clock), Line(), name=resource, resource=resource, clock=clock, timeout=timeout
    )
    with transport:
        reply = transport.query(b"*IDN?").decode("ascii", "replace").strip()
    parts = [part.strip() for part in reply.split(",")]
    if len(parts) < 2:
        raise LabqdlError(f"{resource}: the answer {reply!r} is no identification")
    parts += [""] * (4 - len(parts))
    return Identity(parts[0], parts[1], parts[2], ",".join(parts[3:]))


def drivers_for(identity: Identity) -> tuple[str, ...]:
    """Names of the drivers whose pattern is found in what an instrument says that it is."""
    words = f"{identity.maker} {identity.model}"
    found = []
    for name in driver_names():
        try:
            kind = driver_class(name)
        except InputError:
            continue
        pattern = getattr(kind, "identity_pattern", "")
        if pattern and re.search(pattern, words):
            found.append(name)
    return tuple(found)


# --- one resource, looked at closely ----------------------------------------------------------------------------------


@dataclass(slots=True)
class Diagnosis:
    """Steps that were taken at one resource: (what, whether it worked, what was found)."""

    resource: str
    steps: list[tuple[str, bool, str]] = field(default_factory=list)

    @property
    def healthy(self) -> bool:
        """Whether every step worked."""
        return all(worked for _, worked, _ in self.steps)

    def to_json(self) -> dict[str, Any]:
        """As a JSON object."""
        return {
            "schema": "labqdl.instrument-doctor/1",
            "resource": self.resource,
            "healthy": self.healthy,
            "steps": [{"step": step, "ok": worked, "found": found} for step, worked, found in self.steps],
        }

    def __str__(self) -> str:
        width = max((len(step) for step, _, _ in self.steps), default=0)
        return "\n".join(
            f"{'ok  ' if worked else 'FAIL'}  {step:<{width}}  {found}" for step, worked, found in self.steps
        )


def diagnose(resource: str, *, driver: str | None = None, library: Any = None, clock: Clock | None = None) -> Diagnosis:
    """Go step by step from a resource name to an instrument that answers, and stop where that fails.

    Nothing is sent but `*IDN?` and, with a driver, its queries.

    Raises
    ------
    InputError
        For an unknown driver.
    """
    kind = None if driver is None else driver_class(driver)
    found = Diagnosis(resource)

    def step(what: str, do: Callable[[], str]) -> bool:
        try:
            words = do()
        except (LabqdlError, OSError, ValueError) as error:
            found.steps.append((what, False, str(error).partition(" | ")[0]))
            return False
        found.steps.append((what, True, words))
        return True

    def name() -> str:
        known = parse(resource)
        road = {"socket": "own socket", "serial": "pyserial", "visa": "PyVISA", "zmq": "ZeroMQ"}[known.kind]
        place = f"{known.host} port {known.port}" if known.host else known.address or known.visa
        return f"{road} to {place}"

    if not step("name is understood", name):
        return found
    clock = clock or SystemClock()
    if kind is None or not issubclass(kind, Driver):
        options = RoadOptions(connect_timeout=PATIENCE, visa_library=library)
        transport = Transport(
            road_for(resource, options, clock=clock), Line(), name=resource, resource=resource, clock=clock,
            timeout=PATIENCE,
        )  # fmt: skip

        def connect() -> str:
            transport.open()
            transport.close()
            return "somebody listens"

        def identity() -> str:
            who = ask_identity(resource, library=library, clock=clock)
            names = drivers_for(who)
            return f"{who}; drivers: {', '.join(names) or 'none'}"

        if step("connection opens", connect):
            step("*IDN? is answered", identity)
        return found
    options = getattr(kind, "road", RoadOptions())
    if library is not None:
        import dataclasses

        options = dataclasses.replace(options, visa_library=library)
    instrument = kind(resource, name=driver, clock=clock, options=options)

    def opened() -> str:
        instrument.open()
        return str(instrument.identity())

    def every_quantity() -> str:
        began = clock.monotonic()
        readings = instrument.snapshot()
        problems = [f"{path}: {one.problem}" for path, one in readings.items() if one.problem]
        if problems:
            raise LabqdlError("; ".join(problems))
        return f"{len(readings)} quantities in {clock.monotonic() - began:.2f} s"

    try:
        if step(f"driver {driver} opens it", opened):
            step("every quantity is read", every_quantity)
    finally:
        instrument.close()
    return found


# --- a station file from it -------------------------------------------------------------------------------------------

_CALLED = {
    "Laser": "laser", "WaveformGenerator": "generator", "BiasController": "bias", "VoltageSource": "source",
    "Attenuator": "voa", "OpticalAmplifier": "edfa", "PolarizationController": "polarization",
    "OpticalSwitch": "switch", "Shutter": "shutter", "PhaseShifterArray": "shifters", "PhaseServo": "servo",
    "PowerMeter": "meter", "Digitizer": "scope", "PhotonCounter": "counter", "TemperatureSensor": "thermometer",
    "InterlockIO": "interlock",
}  # fmt: skip


def station_text(found: Iterable[Found], name: str) -> str:
    """A station file with an entry for each instrument that a driver is for, and the others as comments."""
    kinds = {entry.name: entry.kind for entry in list_drivers()}
    lines = [
        "# Written by labqdl init. Check it: labqdl station check. Every key: docs/station-files.md",
        "# Without the instruments: --profile sim puts a simulated twin at each resource.",
        "",
        "[station]",
        f'name = "{name}"',
    ]
    used: dict[str, int] = {}
    seen: set[tuple[str, str, str]] = set()
    for one in found:
        who = one.identity
        if who is None:
            lines += ["", f"# {one.resource}: {one.note}; {'it did not answer' if one.asked else 'not asked'}"]
            continue
        if not one.drivers:
            lines += ["", f"# {one.resource}: {who}; no driver is for it"]
            continue
        key = (who.maker, who.model, who.serial)
        if who.serial and key in seen:
            continue  # the same box by another name
        seen.add(key)
        called = _CALLED.get(kinds[one.drivers[0]], "instrument")
        used[called] = used.get(called, 0) + 1
        called = called if used[called] == 1 else f"{called}-{used[called]}"
        note = _toml(str(who))
        lines += ["", f"[instruments.{called}]"]
        more = f"   # or {', '.join(one.drivers[1:])}" if one.drivers[1:] else ""
        lines += [f'driver = "{one.drivers[0]}"{more}', f"resource = {_toml(one.resource)}", f"note = {note}"]
    lines += [
        "",
        "# What comes next: wiring, light paths with their barriers, interlocks. For example:",
        "# [[interlocks]]",
        '# require = "edfa.input_power > 10 uW"',
        '# before = "edfa.pump = true"',
    ]
    return "\n".join(lines) + "\n"


def _toml(text: str) -> str:
    import json

    return json.dumps(text, ensure_ascii=False)
