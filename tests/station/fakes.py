"""Instruments without a wire, for tests of stations: they keep what they are told."""

from __future__ import annotations

import threading
from typing import Any, ClassVar

from labqdl.clock import Clock
from labqdl.errors import LabqdlError
from labqdl.instruments import (
    AmplifierMode,
    Attenuator,
    Channel,
    Identity,
    Instrument,
    Laser,
    OpticalAmplifier,
    Part,
    PowerMeter,
    Quantity,
    absent,
)
from labqdl.transport import RoadOptions


class Kept(Quantity[Any]):
    """A quantity that is kept in the instrument's dictionary."""

    def fetch(self, part: Part) -> Any:
        fake = part.instrument
        assert isinstance(fake, Fake)
        if not fake.is_open:
            raise ValueError(f"{fake.name} is not open")
        if fake.dead:
            raise LabqdlError(f"{fake.name}: nobody answers")
        return fake.state[part.path(self.name)]

    def store(self, part: Part, value: Any) -> None:
        fake = part.instrument
        assert isinstance(fake, Fake)
        fake.state[part.path(self.name)] = value
        fake.log.append((part.path(self.name), value))


class Fake(Instrument):
    """What all of them share. `log` is what was set, in order."""

    maker = "Fake"
    models: ClassVar[tuple[str, ...]] = ("F1",)
    initial: ClassVar[dict[str, Any]] = {}

    def __init__(
        self,
        resource: str,
        *,
        name: str | None = None,
        clock: Clock | None = None,
        options: RoadOptions | None = None,
    ) -> None:
        super().__init__(name or "fake", clock=clock)
        self.resource = resource
        self.road_options = options
        self.state = dict(self.initial)
        self.log: list[tuple[str, Any]] = []
        self.dead = "dead" in resource
        self.thread: int | None = None
        self._open = False

    def open(self) -> None:
        self.thread = threading.get_ident()
        if self.dead:
            raise LabqdlError(f"{self.name}: nobody answers at {self.resource}")
        self._open = True

    def close(self) -> None:
        self._open = False

    @property
    def is_open(self) -> bool:
        return self._open

    def identity(self) -> Identity:
        return Identity("Fake", "F1", "1", "0")

    def complete_part(self, part: Part, quantity: Quantity[Any], value: Any) -> None:
        return


class FakeLaser(Fake, Laser):
    """A laser."""

    initial: ClassVar = {
        "emission": False, "power": 1e-3, "measured_power": 0.0, "wavelength": 1550e-9, "temperature": 298.15,
    }  # fmt: skip
    emission = Kept(bool, settable=True)
    power = Kept(float, unit="W", settable=True, limits=(1e-5, 0.02))
    measured_power = Kept(float, unit="W")
    wavelength = Kept(float, unit="m", settable=True)
    temperature = Kept(float, unit="K")

    def is_stable(self) -> bool:
        return True

    def safe_state(self) -> None:
        self.emission = False


class FakeAmplifier(Fake, OpticalAmplifier):
    """An amplifier without a temperature sensor."""

    initial: ClassVar = {
        "pump": False, "mode": AmplifierMode.CURRENT, "current_set_point": 0.1, "input_power": 5e-6,
        "output_power": 0.0, "pump_current": 0.0,
    }  # fmt: skip
    pump = Kept(bool, settable=True)
    mode = Kept(AmplifierMode, settable=True)
    output_set_point = absent("it has no such mode")
    gain_set_point = absent("it has no such mode")
    current_set_point = Kept(float, unit="A", settable=True)
    input_power = Kept(float, unit="W")
    output_power = Kept(float, unit="W")
    pump_current = Kept(float, unit="A")
    temperature = absent("it has no thermometer")

    def safe_state(self) -> None:
        self.pump = False


class FakeAttenuator(Fake, Attenuator):
    """An attenuator with a slot."""

    initial: ClassVar = {"attenuation": 3.0, "open_shutter": False, "wavelength": 1550e-9}
    attenuation = Kept(float, unit="dB", settable=True)
    open_shutter = Kept(bool, settable=True)
    wavelength = Kept(float, unit="m", settable=True)

    def __init__(self, resource: str, *, channel: int = 1, speed: float = 1.0, **common: Any) -> None:
        super().__init__(resource, **common)
        self.channel = channel
        self.speed = speed

    def safe_state(self) -> None:
        self.open_shutter = False


class Input(Channel):
    """One input of a meter."""

    power = Kept(float, unit="W", doc="Power at this input.")


class FakeMeter(Fake, PowerMeter):
    """A meter with two inputs, which it counts when it is opened."""

    initial: ClassVar = {
        "power": 2e-3, "wavelength": 1550e-9, "range": 1e-2, "auto_range": True, "averaging": 0.1,
        "channel 1.power": 1e-3, "channel 2.power": 2e-3,
    }  # fmt: skip
    power = Kept(float, unit="W")
    wavelength = Kept(float, unit="m", settable=True)
    range = Kept(float, unit="W", settable=True)
    auto_range = Kept(bool, settable=True)
    averaging = Kept(float, unit="s", settable=True)

    def channels(self) -> dict[int, Channel]:
        return {number: Input(self, number) for number in (1, 2)} if self.is_open else {}

    def zero(self) -> None:
        return
