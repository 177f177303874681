"""What classes do themselves: views in other units, waveforms that are checked, switches that go to their safe port."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from labqdl.driver import Bool, Driver, Float, Integer, ScpiInstrument, TextChannel
from labqdl.errors import InputError
from labqdl.instruments import (
    Identity,
    Laser,
    LimitError,
    OpticalSwitch,
    Output,
    PowerMeter,
    Shutter,
    WaveformMemory,
    absent,
)
from labqdl.transport import Line
from labqdl.units import LIGHT_SPEED, from_dbm
from tests.sheet_examples import ScriptedTransport, scripted

QUIET: dict[bytes, bytes | None] = {b"SYST:ERR?\n": b"0\n"}


class ToyLaser(ScpiInstrument, Laser):
    """The views of a laser."""

    emission = Bool("EM?", "EM {}")
    power = Float("POW?", "POW {}", unit="W")
    wavelength = Float("WAV?", "WAV {}", unit="m", form=".12g")
    measured_power = absent("none")
    temperature = absent("none")

    def is_stable(self) -> bool:
        return True

    def safe_state(self) -> None:
        self.emission = False


class ToyMeter(ScpiInstrument, PowerMeter):
    """The view of a power meter."""

    power = Float("POW?", unit="W")
    wavelength = absent("none")
    range = absent("none")
    auto_range = absent("none")
    averaging = absent("none")

    def zero(self) -> None:
        """Nothing to do."""


class ToyOutput(TextChannel, Output):
    """An output that only checks its waveforms."""

    output = absent("none")
    amplitude = absent("none")
    offset = absent("none")
    load = absent("none")
    skew = absent("none")

    def upload(self, name: str, samples: NDArray[np.float64], markers: NDArray[np.uint8] | None = None) -> None:
        """Nothing to do."""

    def select(self, name: str) -> None:
        """Nothing to do."""


class ToySwitch(ScpiInstrument, OpticalSwitch):
    """A switch."""

    port = Integer("POR?", "POR {}", limits=(1, 4))


class ToyShutter(ScpiInstrument, Shutter):
    """A shutter."""

    is_passing = Bool("SHU?", "SHU {}")


def made(kind: type[Driver], *steps: tuple[bytes, bytes | None]) -> tuple[Driver, ScriptedTransport]:
    transport = scripted(steps, Line(), QUIET)
    transport.open()
    return kind(transport, name="toy", clock=transport.clock), transport


def test_views_of_a_laser() -> None:
    laser, transport = made(
        ToyLaser,
        (b"POW 0.01\n", None),
        (b"POW?\n", b"0.001\n"),
        (b"WAV 1.55e-06\n", None),
        (b"WAV?\n", b"1.5501234e-06\n"),
        (f"WAV {LIGHT_SPEED / 193.4e12:.12g}\n".encode(), None),
        (b"WAV?\n", b"1.55e-06\n"),
    )
    assert isinstance(laser, Laser)
    laser.power_dbm = 10.0
    assert laser.power_dbm == pytest.approx(0.0, abs=1e-12)
    laser.wavelength_nm = 1550.0
    assert laser.wavelength_nm == pytest.approx(1550.1234, rel=1e-12)
    laser.frequency = 193.4e12
    assert laser.frequency == pytest.approx(193.4144890e12, rel=1e-9)
    transport.finish()


def test_the_view_of_a_meter_in_dbm() -> None:
    meter, transport = made(ToyMeter, (b"POW?\n", b"1e-6\n"), (b"POW?\n", b"-1e-12\n"))
    assert isinstance(meter, PowerMeter)
    assert from_dbm(meter.power_dbm) == pytest.approx(1e-6)
    assert meter.power_dbm == -math.inf
    transport.finish()


def test_safe_states_of_switch_and_shutter() -> None:
    switch, transport = made(ToySwitch, (b"*IDN?\n", b"a,b,c,d\n"), (b"POR 3\n", None))
    assert isinstance(switch, OpticalSwitch)
    switch.safe_state()
    switch.safe_port = 3
    switch.safe_state()
    transport.finish()
    shutter, transport = made(ToyShutter, (b"SHU 0\n", None))
    shutter.safe_state()
    transport.finish()


MEMORY = WaveformMemory(shortest=8, longest=64, granularity=4)


@pytest.mark.parametrize(
    ("samples", "words"),
    [
        (np.zeros((2, 8)), r"shape \(2, 8\)"),
        (np.zeros(4), "8 to 64 samples"),
        (np.zeros(68), "8 to 64 samples"),
        (np.zeros(10), "a multiple of 4"),
        (np.full(8, np.nan), "a sample is NaN"),
        (np.linspace(-1, 1.0001, 8), r"1\.0001 is outside"),
        (np.zeros(0), "0 samples"),
        (np.array([0.0] * 7 + [-np.inf]), "-inf is outside"),
    ],
)
def test_waveforms_that_are_refused(samples: NDArray[np.float64], words: str) -> None:
    generator, _ = made(ToySwitch)
    with pytest.raises((InputError, LimitError), match=words):
        ToyOutput(generator, 1).checked_waveform(samples, MEMORY)


def test_a_waveform_is_taken_as_it_is() -> None:
    generator, _ = made(ToySwitch)
    samples = np.linspace(-1, 1, 16)
    np.testing.assert_array_equal(ToyOutput(generator, 1).checked_waveform(list(samples), MEMORY), samples)


@pytest.mark.parametrize(
    ("who", "words"),
    [
        (Identity("Thorlabs", "PM100D", "P1", "2.5"), "Thorlabs PM100D, serial P1, firmware 2.5"),
        (Identity("Thorlabs", "OSW22", "", ""), "Thorlabs OSW22"),
        (Identity("", "", "7", ""), "an instrument without a name, serial 7"),
    ],
)
def test_identity_in_words_leaves_out_what_is_not_told(who: Identity, words: str) -> None:
    assert str(who) == words
