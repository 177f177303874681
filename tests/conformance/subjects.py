"""Every driver that ships on the twin of its family, in process: nothing here is a fake, and no time passes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import entry_points
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

import numpy as np

from labqdl.clock import Clock, ManualClock
from labqdl.driver import Driver
from labqdl.testing.conformance import Subject
from labqdl.transport import ConnectionLost, RoadOptions, Transport, TransportTimeout
from labqdl_sim.bench import Bench
from labqdl_sim.ports import Light, LightIn, LightOut, VoltageOut
from labqdl_sim.routes import serial_url
from labqdl_sim.routes.visa import SimVisaLibrary
from labqdl_sim.twin import Session, Twin, registry

T = TypeVar("T")

NAME = "it"
SEED_LIGHT = Light(1e-3, 1550e-9)
"""What enters every fibre input, so that a closed shutter has something to hold back."""

_received: WeakKeyDictionary[Twin, int] = WeakKeyDictionary()


class CountedSession(Session):
    """A session that counts the bytes which reach its twin, on whatever road."""

    __slots__ = ()

    def feed(self, data: bytes | bytearray | memoryview, end: bool = False) -> None:
        """Count, and go on."""
        _received[self.twin] += len(data)
        super().feed(data, end)


def counted(twin: Twin) -> Twin:
    """The twin, whose received bytes are counted from now on."""
    _received[twin] = 0
    connect = twin.connect

    def connecting(**road: Any) -> Session:
        session = connect(**road)
        session.__class__ = CountedSession
        return session

    twin.connect = connecting  # type: ignore[method-assign]
    return twin


def received(twin: Twin) -> int:
    """Bytes that reached the twin so far."""
    return _received[twin]


def shine_in(twin: Twin) -> None:
    """Light into every fibre input."""
    for port in twin.ports.values():
        if isinstance(port, LightIn):
            port.connect(lambda t: SEED_LIGHT)


def emits(twin: Twin, outputs: frozenset[str] | None = None) -> bool:
    """Whether light leaves a fibre or a voltage a connector (of these, or any), now or in the next millisecond."""
    now = twin.clock.monotonic()
    for name, port in twin.ports.items():
        if outputs is not None and name not in outputs:
            continue
        if isinstance(port, LightOut) and port.at(now).power > DARK_POWER:
            return True
        if isinstance(port, VoltageOut) and bool(np.any(np.abs(port.samples(now, 1e6, 1000)) > DARK_VOLTS)):
            return True
    return False


DARK_POWER = 1e-9
"""W; what may remain in the dark: spontaneous emission, a closed shutter's leak (100 dB below a laser)."""
DARK_VOLTS = 1e-6


@dataclass(frozen=True)
class Make:
    """How a driver stands on a twin.

    Attributes
    ----------
    twin:
        Its family.
    resource:
        In process: a VISA name, or a pyserial URL.
    options, twin_options:
        Of the driver's constructor and of the twin.
    emits, outputs:
        Whether something can come out of it that it can hold back; of which ports (default: all).
    others:
        See `Subject`.
    """

    twin: str
    resource: str
    options: Mapping[str, object] = field(default_factory=dict)
    twin_options: Mapping[str, object] = field(default_factory=dict)
    emits: bool = True
    outputs: frozenset[str] | None = None
    tolerance: Mapping[str, float] = field(default_factory=dict)
    couples: frozenset[str] = frozenset()
    plausible: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    refused: Mapping[str, str] = field(default_factory=dict)
    later: frozenset[str] = frozenset()
    infinite: frozenset[str] = frozenset()


SERIAL = f"labqdl://{NAME}"
SOCKET = f"labqdl://{NAME}?socket"
"""A stream in process that tells what waits, as a socket does."""
MESSAGES = f"TCPIP0::{NAME}::inst0::INSTR"


def each(kind: str, count: int, values: Mapping[str, T]) -> dict[str, T]:
    """The same for all channels."""
    return {f"{kind} {number}.{name}": value for number in range(1, count + 1) for name, value in values.items()}


def paths(kind: str, count: int, names: str) -> frozenset[str]:
    """Paths of quantities of all channels."""
    return frozenset(each(kind, count, dict.fromkeys(names.split(), 0)))


REQUESTS = f"zmq://{NAME}:5555"
REDPITAYA = SOCKET

MAKERS: dict[str, Make] = {
    "oif-itla": Make(
        "oif-itla",
        SERIAL,
        couples=frozenset({"wavelength", "channel", "grid"}),
        refused=dict.fromkeys(
            ("wavelength", "channel", "grid", "power", "emission"),
            "CIE: ignored because the optical output is on; mode 0 before power, frequency and emission",
        ),
        plausible={
            "grid": (1e9, 200e9),
            "sweep_range": (1e9, 200e9),
            **dict.fromkeys(("fatal_power", "warning_power"), (0.01, 10.0)),
            **dict.fromkeys(("fatal_frequency", "warning_frequency"), (1e8, 50e9)),
            **dict.fromkeys(("fatal_temperature", "warning_temperature"), (0.01, 20.0)),
            "dither_rate": (10e3, 200e3),
            "dither_frequency": (0.0, 1e9),
            "dither_amplitude": (0.0, 0.1),
        },
    ),
    "nkt-koheras": Make(
        "nkt-koheras",
        SERIAL,
        couples=frozenset({"wavelength", "fine_wavelength"}),
        plausible={
            "modulation_level": (0.0, 1.0),
            "modulation_offset": (-1.0, 1.0),
            "modulation_frequency": (0.01, 1e5),
            "second_modulation_frequency": (0.01, 1e5),
            "amplitude_frequency": (0.01, 1e5),
            "external_gain": (0.0, 1.0),
            "amplitude_depth": (0.0, 1.0),
        },
    ),
    "santec-tsl": Make(
        "santec-tsl",
        SOCKET,
        # The first is the next two; the attenuator follows the power while that is constant.
        couples=frozenset({"emission", "diode", "open_shutter", "attenuation"}),
        plausible={"sweep_step": (1e-13, 50e-9), "trigger_step": (1e-13, 1e-9)},
        refused={
            "attenuation": "POWer:ATTenuation:AUTo 1: automatic power control",
            "sweep_speed": "TSL-570: 1,2,5,10,20,50,100,200 nm/s",
        },
    ),
    "amonics-edfa": Make(
        "amonics-edfa", SERIAL, refused={"mode": "mode, set point, STAT 1: the mode of a channel that is on stays"}
    ),
    "keysight-33500": Make(
        "keysight-33500",
        MESSAGES,
        infinite=paths("output", 2, "load"),
        refused=dict.fromkeys(
            paths("output", 2, "lowest highest amplitude offset protected"),
            "VOLTage:LIMit: limits and waveform must agree",
        ),
        couples=frozenset({"trigger_source", "sample_rate"})  # of both outputs together
        | paths("output", 2, "amplitude offset lowest highest rate bursting by_trigger gated load"),
        plausible=each(
            "output",
            2,
            {
                "skew": (-1e-9, 1e-9),
                "lowest": (-5.0, 5.0),
                "highest": (-5.0, 5.0),
                "cycles": (1, 1_000_000),
                "burst_period": (1e-6, 8000.0),
            },
        ),
    ),
    "keysight-n77": Make(
        "keysight-n77",
        SOCKET,
        couples=frozenset({"attenuation"}),  # its display moves with the offset
        plausible={"offset": (-10.0, 10.0), "power_reference": (1e-6, 1e-2)},
    ),
    "keithley-2400": Make(
        "keithley-2400",
        SERIAL,
        # By the sheet the output goes off after a reading where `auto_clear` is on; the twin switches it off with the
        # terminals too, and lets a range that is set end the automatic one.
        couples=frozenset({"output", "auto_range", "voltage_range"}),
        refused={
            "output": "the driver switches on nothing that sources current",
            "voltage_range": "a range below the present level: the sheet says nothing, the twin Settings conflict",
        },
    ),
    "thorlabs-mbx": Make(
        "thorlabs-mbx",
        SERIAL,
        outputs=frozenset({"bias"}),
        later=frozenset({"voltage"}),
        couples=frozenset({"manual_voltage"}),
    ),
    "thorlabs-mbx-voa": Make("thorlabs-mbx", SERIAL, emits=False),
    "thorlabs-mpc320": Make("thorlabs-mpc320", SERIAL, emits=False),
    "thorlabs-osw": Make("thorlabs-osw", SERIAL, emits=False),
    "thorlabs-pm100": Make(
        "thorlabs-pm100",
        f"USB0::0x1313::0x8078::{NAME}::INSTR",
        emits=False,
        # One setting in samples and in seconds; a range "turns auto off" by the sheet, and auto chooses the range.
        couples=frozenset({"samples", "averaging", "range", "auto_range"}),
        plausible={"reference": (0.0, 0.02), "beam_diameter": (1e-4, 1e-2)},
    ),
    "labqdl-lockbox": Make("labqdl-lockbox", SOCKET, outputs=frozenset({"actuator"})),
    "qontrol": Make(
        "qontrol",
        SERIAL,
        twin_options={"load": 600.0, "noise": 0.0},
        tolerance=each("output", 8, {"voltage_limit": 1e-3, "current_limit": 1e-3})  # steps of the converter
        | {"output 0.voltage_limit": 1e-3, "output 0.current_limit": 1e-3},
        plausible={  # so that nothing trips: 5 V drive 8.3 mA through the load
            f"output {number}.{name}": ends
            for number in range(8)
            for name, ends in {
                "voltage": (0.0, 5.0),
                "current": (0.0, 8e-3),
                "voltage_limit": (6.0, 12.0),
                "current_limit": (10e-3, 24e-3),
            }.items()
        },
        later=frozenset(f"output {number}.{name}" for number in range(8) for name in ("voltage", "current")),
    ),
    "redpitaya": Make(
        "redpitaya",
        REDPITAYA,
        emits=False,
        tolerance={"pre_trigger": 1e-3},  # counted in samples of a rate that is told with few digits
        refused={
            "sample_rate": "125 MS/s over 1, 2, 4, 8, 16 or 17 to 65536",
            "decimation": "1, 2, 4, 8, 16 or 17 to 65536",
            **each("channel", 2, {"range": "jumpers: LV or HV"}),
        },
        couples=frozenset({"sample_rate", "decimation", "pre_trigger", "record_length", "trigger_delay"}),
        plausible={"sample_rate": (2e3, 125e6), "decimation": (1, 65536), **each("channel", 2, {"range": (2.0, 40.0)})},
    ),
    "redpitaya-generator": Make("redpitaya", REDPITAYA),
    "redpitaya-io": Make("redpitaya", REDPITAYA),
    "redpitaya-source": Make("redpitaya", REDPITAYA),
    "keysight-infiniivision": Make(
        "keysight-infiniivision",
        MESSAGES,
        emits=False,
        later=frozenset({"record_length", "pre_trigger"}),  # what there is; told in six digits of `position`,
        couples=paths("input", 4, "range offset") | {"trigger_level"},  # of a probe that is changed
        # An end of the range times an odd factor of a probe, in six digits, may be outside.
        refused=each("input", 4, {"range": "8 mV to 40 V times the factor of the probe"}),
        plausible={
            "trigger_level": (-1.0, 1.0),
            "segments": (1, 50),
            "duration": (1e-6, 1.0),
            "position": (-1e-3, 1e-3),
            "averages": (2, 65536),
            "hold_off": (40e-9, 10.0),
            **each("input", 4, {"offset": (-1.0, 1.0)}),
        },
    ),
    "tektronix-mso": Make(
        "tektronix-mso",
        MESSAGES,
        emits=False,
        refused={"record_length": "62.5 M samples; more are an option"},
        couples=paths("input", 8, "range scale offset position"),
        plausible={
            "trigger_level": (-1.0, 1.0),
            "segments": (1, 50),
            "sample_rate": (1e3, 6.25e9),
            "samples": (1000, 1_000_000),
            "duration": (1e-6, 1.0),
            "position": (-1e-3, 1e-3),
            "averages": (2, 10240),
            **each(
                "input",
                8,
                {
                    "range": (0.01, 10.0),
                    "scale": (0.001, 1.0),
                    "offset": (-1.0, 1.0),
                    "position": (-5.0, 5.0),
                    "bandwidth": (20e6, 1e9),
                },
            ),
        },
    ),
    "tektronix-awg": Make(
        "tektronix-awg",
        MESSAGES,
        couples=frozenset({"trigger_source"})  # of all outputs together
        | paths("output", 8, "run_mode trigger_a"),
    ),
    "idq-id900": Make(
        "idq-id900",
        REQUESTS,
        emits=False,
        plausible={"gate_time": (1e-3, 3600.0), **each("input", 4, {"delay": (0.0, 1e-3)})},
    ),
}
"""By name of the entry point: every driver of the group is here."""
ADAPTERS = frozenset({"pymeasure", "qcodes"})
"""Entry points that serve whatever a station file maps: tested with what they adapt."""


@dataclass
class Stand:
    """A driver on a twin on a bench."""

    bench: Bench
    twin: Twin
    driver: Driver

    def close(self) -> None:
        """Forget the bench."""
        self.driver.close()
        serial_url.detach(self.bench)
        SimVisaLibrary.forget(self.bench)


@cache
def driver_class(name: str) -> type[Driver]:
    """The driver that an entry point names; kept, for a look through all packages takes as long as a fault."""
    (found,) = (entry for entry in entry_points(group="labqdl.drivers") if entry.name == name)
    loaded: type[Driver] = found.load()
    return loaded


def bench_for(make: Make, clock: Clock) -> tuple[Bench, Twin]:
    """A bench with the twin alone, whose bytes are counted and whose inputs are lit."""
    bench = Bench(seed=5, clock=clock)
    twin = counted(bench.add(make.twin, NAME, **dict[str, Any](make.twin_options)))
    shine_in(twin)
    return bench, twin


def in_process(name: str) -> Stand:
    """The driver over the in-process road, not opened."""
    make = MAKERS[name]
    clock = ManualClock()
    bench, twin = bench_for(make, clock)
    serial_url.attach(bench)
    kind: Callable[..., Driver] = driver_class(name)
    if make.resource == REQUESTS:
        transport = Transport(Requests(twin), driver_class(name).framing, name=name, resource=REQUESTS, clock=clock)
        return Stand(bench, twin, kind(transport, name=name, clock=clock, **make.options))
    road = None if make.resource.startswith("labqdl://") else RoadOptions(visa_library=SimVisaLibrary.for_bench(bench))
    return Stand(bench, twin, kind(make.resource, name=name, clock=clock, options=road, **make.options))


class Requests:
    """A road in process that gives each message an answer, if only an empty one, as ZeroMQ does."""

    messages = True
    alternates = True
    in_process = True

    def __init__(self, twin: Twin) -> None:
        self.twin = twin
        self.clock = twin.clock
        self.now = twin.clock.monotonic
        self.session: Session | None = None

    def open(self) -> None:
        """Connect."""
        try:
            self.session = self.twin.connect()
        except ConnectionRefusedError as error:
            raise ConnectionLost("refused") from error
        self.session.answers = True

    def close(self) -> None:
        """Hang up."""
        session, self.session = self.session, None
        if session is not None:
            session.close()

    def end_on(self, byte: int | None) -> None:
        """Messages have ends."""

    def waiting(self) -> bool:
        """Never: one reply for one request."""
        return False

    def send(self, data: bytes | bytearray | memoryview, deadline: float) -> None:
        """One message."""
        assert self.session is not None
        self.session.discard()  # a REQ socket drops what came before its request
        self.session.feed(bytes(data), end=True)

    def receive(self, maximum: int, deadline: float) -> bytes:
        """One message, which may be empty. ZeroMQ does not tell of connections that break: they are silence."""
        assert self.session is not None
        ready = self.session.ready_at()
        if ready is None or ready > deadline:
            self.clock.sleep(max(deadline - self.now(), 0.0))
            raise TransportTimeout("no whole reply in time")
        self.clock.sleep(max(ready - self.now(), 0.0))
        return bytes(self.session.read(maximum)[0])

    def receive_into(self, view: memoryview, deadline: float) -> int:
        """The same into a buffer."""
        data = self.receive(len(view), deadline)
        view[: len(data)] = data
        return len(data)


def lose(twin: Twin) -> None:
    """Break all connections once."""
    twin.faults.add("reset", times=1)


def subject(name: str) -> Subject:
    """What the conformance suite needs."""
    make, stand = MAKERS[name], in_process(name)
    return Subject(
        instrument=stand.driver,
        sent=lambda: received(stand.twin),
        emits=(lambda: emits(stand.twin, make.outputs)) if make.emits else None,
        tolerance=make.tolerance,
        couples=make.couples,
        plausible=make.plausible,
        refused=make.refused,
        later=make.later,
        infinite=make.infinite,
        settle=30.0,
        lose=lambda: lose(stand.twin),
        close=stand.close,
    )


NAMES = sorted(name for name, make in MAKERS.items() if make.twin in registry())
