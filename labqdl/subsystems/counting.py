"""The server's counting receiver: a photon counter behind a displacement that nulls the expected light."""

from __future__ import annotations

from typing import cast

from labqdl.errors import InputError
from labqdl.facts.calibration import CalibrationSet
from labqdl.instruments import Attenuator, CounterInput, PhotonCounter
from labqdl.subsystems.gate import Gate
from labqdl.subsystems.roles import Roles


class CountingReceiver:
    """Counts photons in gates of a counter.

    A counter with long gates counts all bins of a gate together. It can tell dark counts, transmission and what is
    left of light that is nulled by a constant displacement; rows that are nulled bin by bin need a modulator in the
    displacing arm, which no station that ships has.
    """

    def __init__(self, roles: Roles, calibrations: CalibrationSet) -> None:
        self.name = roles.name
        self.calibrations = calibrations
        self.input = roles.channel("counter", CounterInput)
        self.counter = cast(PhotonCounter, self.input.instrument)
        self.gate = Gate.of(roles)
        self.displacement = roles.optional("displacement", Attenuator)

    @property
    def can_null(self) -> bool:
        """Whether it can null the light of single bins."""
        return False

    def demand_nulling(self) -> None:
        """InputError: rows cannot be displaced and counted."""
        raise InputError(
            "rows cannot be displaced and counted on this station",
            source=self.name,
            expected="counting_fraction = 0",
            hint="Homodyned rows alone certify as well; it takes more of them",
        )

    def count(self, duration: float) -> int:
        """Events in one gate of so many seconds, with its light as the gate lets it through."""
        if self.counter.gate_time != duration:
            self.counter.gate_time = duration
        self.input.enabled = True
        self.counter.restart()
        self.counter.clock.sleep(duration)
        return self.input.counts

    def dark_rate(self, duration: float) -> float:
        """Events a second with the own gate closed."""
        if self.gate is None:
            raise InputError("there is no gate to measure dark counts with", source=self.name, expected="a role gate")
        was_open = self.gate.passing
        self.gate.block()
        try:
            return self.count(duration) / duration
        finally:
            if was_open:
                self.gate.open()
