"""What an instrument refuses before a byte is sent."""

from __future__ import annotations

from labqdl.errors import InputError, LabqdlError
from labqdl.instruments.limits import Limit, after_number


class LimitError(InputError):
    """A value outside of the tightest limit; nothing was sent and nothing was clipped."""

    def __init__(self, quantity: str, value: float, unit: str, limit: Limit, *, instrument: str) -> None:
        self.value = value
        self.limit = limit
        super().__init__(
            f"{value:.9g}{after_number(unit)} is outside of the limits",
            source=instrument,
            key=quantity,
            expected=f"{limit.words(unit)} ({limit.reason})",
            hint="Nothing was sent",
        )


class NotACapability(LabqdlError):
    """The instrument's class has this quantity or call, this model has not; the message says why."""

    exit_code = 2

    def __init__(self, instrument: str, what: str, reason: str) -> None:
        self.what = what
        self.reason = reason
        super().__init__(f"{instrument}: has no {what}: {reason}")


class Refused(LabqdlError):
    """An interlock, a missing `--arm` or an unacknowledged UNSAFE file forbids what was asked; nothing was sent."""

    exit_code = 4


class NotConfirmed(LabqdlError):
    """A value was sent and the instrument did not confirm it in time; its state has to be looked at."""

    exit_code = 5


class SettingsChanged(LabqdlError):
    """After a lost connection the instrument is not the same one, or not set as it was: do not carry on."""

    exit_code = 5


class NotAValue(LabqdlError):
    """The instrument answered that there is no valid value: overload, no sensor, no data."""

    exit_code = 5
