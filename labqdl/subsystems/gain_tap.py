"""The client's gain-and-tap stage: how strongly it reads the addressed mode, and what it gives back."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod

from labqdl.errors import InputError
from labqdl.facts.calibration import CalibrationSet
from labqdl.facts.operating_point import TapKind, TapSetting
from labqdl.instruments import OpticalAmplifier, VoltageSource
from labqdl.subsystems.roles import Roles

TAP = "client.tap"
_AGREES = 0.02
"""Relative difference of 1 - t, or of G - 1, from what was agreed on that a calibration explains."""


class GainTap(ABC):
    """A gain-and-tap stage."""

    kind: TapKind

    def __init__(self, roles: Roles, calibrations: CalibrationSet) -> None:
        self.name = roles.name
        self.calibrations = calibrations
        self.sheet = roles.component("tap")
        self.part = roles.part("tap")
        self.settle = float(roles.setting("settle"))

    @abstractmethod
    def demand(self, setting: TapSetting) -> None:
        """InputError where the stage does not do what was agreed on."""

    @abstractmethod
    def engage(self) -> None:
        """Work as calibrated: the net gain of the addressed mode is 1."""

    @abstractmethod
    def off(self) -> None:
        """Give nothing back: no displacement, no pump."""

    def outcome_scale(self, setting: TapSetting) -> float:
        """What makes of the receiver's quadrature in SNU the outcome whose slope the protocol expects."""
        return 1.0

    def _demand_kind(self, setting: TapSetting) -> None:
        if setting.kind is not self.kind:
            raise InputError(
                f"the frame agrees on {_article(setting.kind)} tap, the station has {_article(self.kind)} one",
                source=self.name,
                expected=f"tap = {self.kind.value}",
            )

    def _calibrated(self, key: str, sheet: str) -> float | None:
        """A figure as calibrated, or as the data sheet says."""
        if TAP in self.calibrations and key in self.calibrations[TAP].values:
            return self.calibrations.value(TAP, key)
        value = self.sheet.get(sheet)
        return None if value is None else float(value)


class FeedForwardTap(GainTap):
    """Splitter, heterodyne of the split-off light, displacement of the rest.

    The voltage of `gain` is the electronics' gain; the calibration "client.tap" says at which one the net gain is 1,
    and by `outcome_gain` how many square roots of SNU the meter shows for an X of 1 at the stage's input.
    """

    kind = TapKind.FEED_FORWARD

    def __init__(self, roles: Roles, calibrations: CalibrationSet) -> None:
        super().__init__(roles, calibrations)
        self.source = roles.instrument("gain", VoltageSource)

    def set_gain(self, volts: float) -> None:
        """Set the electronics' gain; needs no calibration."""
        self.source.voltage = volts
        self.source.output = True
        self.source.clock.sleep(self.settle)

    def demand(self, setting: TapSetting) -> None:
        """The splitter is what it is: the frame has to agree."""
        self._demand_kind(setting)
        found = self._calibrated("transmissivity", "t")
        if found is None:
            return
        if abs(found - setting.tap_transmissivity) > _AGREES * (1.0 - setting.tap_transmissivity):
            raise InputError(
                f"the frame agrees on a splitter of {setting.tap_transmissivity:g}, {self.part} has {found:.6g}",
                source=self.name,
                expected=f"tap_transmissivity = {found:.6g}",
            )

    def engage(self) -> None:
        """Set the calibrated gain."""
        self.set_gain(self.calibrations.value(TAP, "gain_voltage"))

    def off(self) -> None:
        """No displacement."""
        if self.source.is_open:
            self.source.voltage = 0.0
            self.source.output = False

    def outcome_scale(self, setting: TapSetting) -> float:
        """1 / outcome_gain: the outcome is the meter referred to the stage's input."""
        return 1.0 / self.calibrations.value(TAP, "outcome_gain")


class AmplifierTap(GainTap):
    """Phase-insensitive amplifier, then a splitter with a receiver at its tap.

    Set by a pump current (`pump_current` of the calibration) of an optical amplifier, or by a voltage
    (`gain_voltage`); its gain is the calibration's `amplifier_gain`.
    """

    kind = TapKind.AMPLIFIER

    def __init__(self, roles: Roles, calibrations: CalibrationSet) -> None:
        super().__init__(roles, calibrations)
        self.amplifier = roles.optional("amplifier", OpticalAmplifier)
        self.source = roles.optional("gain", VoltageSource)

    def set_gain(self, volts: float) -> None:
        """Set the voltage that drives the gain; needs no calibration."""
        if self.source is None:
            raise InputError("no voltage sets the gain", source=self.name, expected="a role gain")
        self.source.voltage = volts
        self.source.output = True
        self.source.clock.sleep(self.settle)

    def set_pump(self, amperes: float) -> None:
        """Set the pump current and switch the pump on; needs no calibration."""
        if self.amplifier is None:
            raise InputError("no amplifier is named", source=self.name, expected="a role amplifier")
        self.amplifier.current_set_point = amperes
        if not self.amplifier.pump:
            self.amplifier.pump = True
        self.amplifier.clock.sleep(self.settle)

    def demand(self, setting: TapSetting) -> None:
        """Gain and splitter have to be those of the frame."""
        self._demand_kind(setting)
        gain = self._calibrated("amplifier_gain", "gain")
        if gain is not None and abs(gain - setting.amplifier_gain) > _AGREES * (setting.amplifier_gain - 1.0):
            raise InputError(
                f"the frame agrees on an amplifier gain of {setting.amplifier_gain:g}, {self.part} has {gain:.6g}",
                source=self.name,
                expected=f"amplifier_gain = {gain:.6g}",
            )
        kept = self._calibrated("transmissivity", "tau")
        if kept is None or math.isnan(kept):
            return
        if abs(kept - setting.tap_transmissivity) > _AGREES * (1.0 - setting.tap_transmissivity):
            raise InputError(
                f"the frame agrees on a tap of {setting.tap_transmissivity:g}, {self.part} has {kept:.6g}",
                source=self.name,
                expected=f"tap_transmissivity = {kept:.6g}",
            )

    def engage(self) -> None:
        """Set the calibrated pump current or voltage; nothing where the stage has neither."""
        if self.amplifier is not None:
            self.set_pump(self.calibrations.value(TAP, "pump_current"))
        if self.source is not None:
            self.set_gain(self.calibrations.value(TAP, "gain_voltage"))

    def off(self) -> None:
        """Pump off, voltage 0."""
        if self.amplifier is not None and self.amplifier.is_open:
            self.amplifier.pump = False
        if self.source is not None and self.source.is_open:
            self.source.voltage = 0.0
            self.source.output = False


def _article(kind: TapKind) -> str:
    return "an amplifier" if kind is TapKind.AMPLIFIER else "a feed-forward"
