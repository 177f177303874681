"""Arbitrary waveform generators."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from labqdl.errors import InputError
from labqdl.instruments.errors import LimitError
from labqdl.instruments.instrument import Channel, Instrument
from labqdl.instruments.limits import Limit
from labqdl.instruments.quantity import required


class Reference(StrEnum):
    """Where the time base comes from."""

    INTERNAL = "internal"
    EXTERNAL = "external"


class Trigger(StrEnum):
    """What starts a waveform or a record."""

    FREE = "free"
    SOFTWARE = "software"
    EXTERNAL = "external"


@dataclass(frozen=True, slots=True)
class WaveformMemory:
    """What a waveform may be: number of samples from `shortest` to `longest` in steps of `granularity`."""

    shortest: int
    longest: int
    granularity: int = 1
    bits: int = 14


class Output(Channel):
    """An analog output. The waveform's +1 is ``offset + amplitude / 2``, its -1 ``offset - amplitude / 2``.

    Voltages are those into `load`.
    """

    output = required(bool, doc="Whether the output is on.", settable=True, energises=True)
    amplitude = required(float, unit="V", doc="Peak to peak voltage of the full-scale waveform.", settable=True)
    offset = required(float, unit="V", doc="Voltage of the waveform's 0.", settable=True)
    load = required(float, unit="Ohm", doc="Load that voltages refer to.", settable=True)
    skew = required(float, unit="s", doc="Delay of this output.", settable=True)

    def checked_waveform(self, samples: ArrayLike, memory: WaveformMemory) -> NDArray[np.float64]:
        """The samples as an array of shape (n,) if they are what `upload` demands; else its errors."""

        def wrong(problem: str, expected: str) -> InputError:
            return InputError(
                problem,
                source=self.instrument.name,
                key=self.path("samples"),
                expected=expected,
                hint="Nothing was sent",
            )

        found = np.asarray(samples, dtype=np.float64)
        if found.ndim != 1:
            raise wrong(f"the waveform has the shape {found.shape}", "one row of samples")
        count = len(found)
        if not memory.shortest <= count <= memory.longest:
            raise wrong(f"the waveform has {count} samples", f"{memory.shortest} to {memory.longest} samples")
        if count % memory.granularity:
            raise wrong(f"the waveform has {count} samples", f"a multiple of {memory.granularity}")
        low, high = float(found.min()), float(found.max())
        if np.isnan(low):
            raise wrong("a sample is NaN", "numbers from -1 to 1")
        if low < -1 or high > 1:
            limit = Limit(-1.0, 1.0, "the converter's full scale")
            raise LimitError(
                self.path("samples"), low if low < -1 else high, "", limit, instrument=self.instrument.name
            )
        return found

    @abstractmethod
    def upload(self, name: str, samples: NDArray[np.float64], markers: NDArray[np.uint8] | None = None) -> None:
        """Write a waveform into memory.

        Parameters
        ----------
        name:
            Under which it is kept; one of the same name is replaced unless it is playing.
        samples:
            Shape (n,), from -1 to 1; n as `memory` says.
        markers:
            Shape (n,), bit 0 marker 1, bit 1 marker 2; None for none.

        Raises
        ------
        LimitError
            For a sample outside of -1 to 1, before a byte is sent.
        InputError
            For a length that the memory does not take, a name that the instrument does not allow, NaN.
        """

    @abstractmethod
    def select(self, name: str) -> None:
        """Play this waveform from memory on the next start; changes neither output switch nor rate."""


class WaveformGenerator(Instrument):
    """An arbitrary waveform generator.

    An output is off until it is switched on. `arm` makes it wait for its trigger and returns when it does; `trigger`
    starts it by software. `safe_state` switches all outputs off and confirms it.
    """

    safe_order: ClassVar[int] = 40

    sample_rate = required(float, unit="S/s", doc="Samples per second of all outputs.", settable=True)
    reference = required(Reference, doc="Source of the time base.", settable=True)
    reference_locked = required(bool, doc="Whether the time base follows an external reference.")
    trigger_source = required(Trigger, doc="What starts the waveform.", settable=True)

    @property
    @abstractmethod
    def memory(self) -> WaveformMemory:
        """What a waveform may be."""

    @abstractmethod
    def arm(self) -> None:
        """Wait for the trigger; returns when the instrument does."""

    @abstractmethod
    def trigger(self) -> None:
        """Start by software."""

    @abstractmethod
    def stop(self) -> None:
        """Stop playing; outputs stay as they are switched."""
