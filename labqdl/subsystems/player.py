"""Outputs of waveform generators that play one shot together."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import cast

import numpy as np
from numpy.typing import NDArray

from labqdl.dsp import phase_drive
from labqdl.errors import InputError
from labqdl.facts.layout import FrameLayout
from labqdl.instruments import LimitError, NotACapability, Output, Reference, Trigger, WaveformGenerator
from labqdl.instruments.limits import Limit

Real = NDArray[np.float64]
_ROUNDING = 1e-9


class Player:
    """Some outputs, each with its full-scale voltage; their generators may play others, too.

    Parameters
    ----------
    outputs:
        By what they drive.
    amplitudes:
        Peak to peak voltage of each at full scale, V.
    sample_rate:
        Samples a second; None: as the generator is set.
    """

    def __init__(
        self, outputs: Mapping[str, Output], amplitudes: Mapping[str, float], sample_rate: float | None = None
    ) -> None:
        self.outputs = dict(outputs)
        self.amplitudes = dict(amplitudes)
        self._offsets = dict.fromkeys(outputs, 0.0)
        self._rate = sample_rate
        self._ready = False

    @property
    def generators(self) -> tuple[WaveformGenerator, ...]:
        """The generators, each once."""
        found = {id(one.instrument): cast(WaveformGenerator, one.instrument) for one in self.outputs.values()}
        return tuple(found.values())

    @property
    def sample_rate(self) -> float:
        """Samples a second."""
        return self.generators[0].sample_rate if self._rate is None else self._rate

    @property
    def peak(self) -> Mapping[str, float]:
        """Greatest voltage of each output."""
        return {name: volts / 2 for name, volts in self.amplitudes.items()}

    def shift(self, **offsets: float) -> None:
        """Voltages of 0 of these outputs from the next start on, V: what the waveforms are added to."""
        if any(self._offsets[name] != value for name, value in offsets.items()):
            self._offsets |= offsets
            self._ready = False

    def prepare(self, source: Trigger = Trigger.EXTERNAL, rate: float | None = None) -> None:
        """Rate, amplitudes and trigger; outputs stay as they are switched.

        Raises
        ------
        InputError
            Where a generator should follow an external time base and does not.
        """
        for generator in self.generators:
            self.stop(generator)
            wanted = self.sample_rate if rate is None else rate
            if generator.sample_rate != wanted:
                generator.sample_rate = wanted
            _demand_reference(generator)
            generator.trigger_source = source
        for name, output in self.outputs.items():
            output.amplitude = self.amplitudes[name]
            output.offset = self._offsets[name]
        self._ready = source is Trigger.EXTERNAL and rate is None

    @staticmethod
    def stop(generator: WaveformGenerator) -> None:
        """Stop what plays, where the generator can be told to."""
        try:
            generator.stop()
        except NotACapability:
            for one in generator.channels().values():
                assert isinstance(one, Output)
                one.output = False

    def load(
        self,
        volts: Mapping[str, Real],
        markers: Mapping[str, Mapping[int, int]] | None = None,
        *,
        repeated: bool = False,
    ) -> None:
        """Upload waveforms and choose them for the next start; generators must be prepared and stopped.

        Parameters
        ----------
        volts:
            By output, (n,) V; they are played once and followed by 0 V.
        markers:
            By output and number of the marker, the sample from which on it is high until the waveform ends.
        repeated:
            They are played over and over: where the memory wants more samples, the last one is held.

        Raises
        ------
        LimitError
            For a voltage beyond the output's full scale; nothing was uploaded then.
        """
        for name, wave in volts.items():
            peak = self.amplitudes[name] / 2
            worst = float(np.max(np.abs(wave), initial=0.0))
            if not worst <= peak * (1 + _ROUNDING):
                output = self.outputs[name]
                limit = Limit(-peak, peak, f"full scale of what drives {name}")
                raise LimitError(output.path("voltage"), worst, "V", limit, instrument=output.instrument.name)
        for name, wave in volts.items():
            output = self.outputs[name]
            memory = cast(WaveformGenerator, output.instrument).memory
            count = max(wave.size + (not repeated), memory.shortest)
            count += -count % memory.granularity
            if count > memory.longest:
                raise InputError(
                    f"a shot of {count} samples does not fit the memory of {output.instrument.name}",
                    expected=f"at most {memory.longest} samples",
                    hint="A shorter shot_time in [frame], or a lower sample_rate of the subsystem",
                )
            samples = np.zeros(count)
            samples[: wave.size] = np.clip(wave / (self.amplitudes[name] / 2), -1.0, 1.0)
            if repeated:
                samples[wave.size :] = samples[wave.size - 1]
            marks = None
            if markers and name in markers:
                marks = np.zeros(count, np.uint8)
                for number, first in markers[name].items():
                    marks[first : wave.size] |= np.uint8(1 << (number - 1))
                _leave_bits(output, max(markers[name]))
            title = f"labqdl-{name}"
            output.upload(title, samples, marks)
            output.select(title)

    def ready(self) -> None:
        """Prepared for shots, and stopped."""
        if not self._ready:
            self.prepare()
        else:
            for generator in self.generators:
                self.stop(generator)

    def switch(self, on: bool, names: Sequence[str] | None = None) -> None:
        """Switch outputs on or off; energises."""
        for name in self.outputs if names is None else names:
            output = self.outputs[name]
            if output.output != on:
                output.output = on

    def arm(self) -> None:
        """Wait for the trigger; returns when all generators do."""
        for generator in self.generators:
            generator.arm()

    def dark(self) -> None:
        """Stop and switch the outputs off."""
        for generator in self.generators:
            if generator.is_open:
                self.stop(generator)
        for output in self.outputs.values():
            if output.instrument.is_open:
                output.output = False
        self._ready = False


def held(values: Real, layout: FrameLayout, rate: float, start: float) -> Real:
    """Samples of values that each bin holds, (total_rows, n_modes); the first bin begins `start` seconds after the
    first sample, or before it where `start` is negative."""
    if start >= 0:
        return phase_drive(values, layout, rate, start=start)
    early = math.ceil(-start * rate)
    whole = phase_drive(values, layout, rate, start=max(early / rate + start, 0.0))
    return whole[early:]


def _demand_reference(generator: WaveformGenerator) -> None:
    """An external time base that is set must be followed."""
    try:
        external = generator.reference is Reference.EXTERNAL
        locked = generator.reference_locked if external else True
    except NotACapability:
        return
    if not locked:
        raise InputError(
            "does not follow its external time base",
            source=generator.name,
            expected="a locked reference",
            hint="Look at the cable of the 10 MHz reference",
        )


def _leave_bits(output: Output, marker: int) -> None:
    """Markers take bits of some converters: leave them as many as needed."""
    if "resolution" not in output.quantities():
        return
    found = output.quantities()["resolution"]
    limit = found.limits_of(output)
    most = min((int(one.high) for one in limit), default=16)
    if found.fetch(output) > most - marker:
        output.resolution = most - marker  # type: ignore[attr-defined] # of this model's own
