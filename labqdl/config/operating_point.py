"""An operating point out of what a file or a command line gives, on top of a link's own point."""

from __future__ import annotations

from labqdl.config.quantities import RATIO
from labqdl.config.schema import Field, Kind
from labqdl.errors import InputError
from labqdl.facts.operating_point import OperatingPoint, TapKind, TapSetting

MU = Field(
    "mu", Kind.NUMBER, "Mean photons per mode at the server's output, averaged over a layer", above=0.0, maximum=1e12
)
AMPLIFIER_GAIN = Field(
    "amplifier_gain",
    RATIO,
    "Power gain G of the client's amplifier, for the amplifier tap only",
    above=1.0,
    maximum=1e6,
)
TAP = Field(
    "tap",
    Kind.TEXT,
    "Build of the client's gain-and-tap stage",
    choices=tuple(kind.value for kind in TapKind),
)
TAP_TRANSMISSIVITY = Field(
    "tap_transmissivity",
    RATIO,
    "Power transmissivity of the tap: behind the amplifier (1/G where not given), or t of the feed-forward tap",
    above=0.0,
    below=1.0,
)
FIELDS = (MU, AMPLIFIER_GAIN, TAP, TAP_TRANSMISSIVITY)
"""The four keys, for every file and command that names an operating point."""


def resolve_operating_point(
    default: OperatingPoint | None,
    *,
    mu: float | None = None,
    amplifier_gain: float | None = None,
    tap: str | None = None,
    tap_transmissivity: float | None = None,
    source: str | None = None,
    line: int | None = None,
) -> OperatingPoint:
    """The point that the given values mean, with the rest from `default` (the link's own point).

    A gain that is given without a tap transmissivity balances the amplifier tap to unit net gain, tau = 1/G. A tap of
    another build than the default's takes nothing from it but mu.

    Raises
    ------
    InputError
        Where a value is missing that no default supplies, one is given that this tap does not have, or one is of a
        wrong type, not finite or out of range.
    """
    mu, amplifier_gain, tap, tap_transmissivity = (
        None if value is None else field.check(value, source=source, line=line)
        for field, value in zip(FIELDS, (mu, amplifier_gain, tap, tap_transmissivity), strict=True)
    )
    kind = TapKind(tap) if tap is not None else default.tap.kind if default is not None else TapKind.AMPLIFIER
    inherited = default.tap if default is not None and default.tap.kind is kind else None
    if mu is None:
        if default is None:
            raise InputError("is missing", source=source, key="mu", line=line, expected=MU.expected)
        mu = default.mu
    if kind is TapKind.FEED_FORWARD:
        if amplifier_gain is not None:
            raise InputError(
                f"{amplifier_gain!r} is given, but a feed-forward tap has no amplifier",
                source=source,
                key="amplifier_gain",
                line=line,
                hint="Leave it out, or take tap = 'amplifier'",
            )
        if tap_transmissivity is None:
            if inherited is None:
                raise InputError(
                    "is missing for the feed-forward tap",
                    source=source,
                    key="tap_transmissivity",
                    line=line,
                    expected=TAP_TRANSMISSIVITY.expected,
                )
            tap_transmissivity = inherited.tap_transmissivity
        return OperatingPoint(mu, TapSetting.feed_forward(tap_transmissivity))
    if amplifier_gain is None:
        if inherited is None:
            raise InputError(
                "is missing for the amplifier tap",
                source=source,
                key="amplifier_gain",
                line=line,
                expected=AMPLIFIER_GAIN.expected,
            )
        amplifier_gain = inherited.amplifier_gain
        if tap_transmissivity is None:
            tap_transmissivity = inherited.tap_transmissivity
    return OperatingPoint(mu, TapSetting.amplifier(amplifier_gain, tap_transmissivity))
