"""The light path of a station as a ledger: from its calibrations, or from what its file says.

What a calibration measured comes from that calibration, with its name and age; what nobody measures comes from the
file's table `[[ledger]]`, with the words of the file. Plain ownership decides: what the server owns it trusts.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from labqdl.config.station import StationFile
from labqdl.config.subsystems import AMPLIFIER_TAP, FEED_FORWARD_TAP, HOMODYNE_RECEIVER, TRANSMITTER, Filling
from labqdl.errors import InputError
from labqdl.facts.calibration import CalibrationResult, CalibrationSet, duration
from labqdl.facts.ledger import RECEIVERS, Component, Ledger, Owner, Place
from labqdl.facts.operating_point import OperatingPoint, TapKind, TapSetting
from labqdl.optics.client_law import honest
from labqdl.optics.expectation import signal_to_noise
from labqdl.optics.law import LinkLaw
from labqdl.units import from_db

FORWARD, RETURN, TAP = "path.forward", "path.return", "client.tap"
USUAL_F2_DB = 6.0
"""F^2 of the light that a run takes where nobody names any, dB."""
TREE = "time-bin-tree"
ASSUMED_NOISE = 0.1
"""Electronic noise of a receiver that nobody has measured, SNU: 10 dB of clearance."""
ASSUMED = "10 dB of clearance assumed"
SHEET = "data sheets of the station file"
"""Where the figures of a light path come from that nobody calibrated."""
PHASE_NOISE = "phase of the "
"""Beginning of the name of a component that stands for what a lock leaves."""


def calibrated_ledger(file: StationFile, calibrations: CalibrationSet, now: float, marks: Iterable[str] = ()) -> Ledger:
    """The light path as calibrations know it.

    Parameters
    ----------
    file:
        The station; its `[[ledger]]` says what no calibration measures: noise of the path, dark counts.
    calibrations:
        Both parties' and the channel's.
    now:
        Wall time, for the ages.
    marks:
        Why a figure that rests on these calibrations is not certified; they stand with every component, and so with
        every bound.

    Raises
    ------
    InputError
        For a calibration that is missing: the one of either path, efficiency or shot noise.
    """
    reason = f"; UNCERTIFIED: {'; '.join(marks)}" if (marks := tuple(marks)) else ""

    def words(*names: str) -> str:
        found = [f"{name}, {duration(max(calibrations.result(name).age(now), 0.0))} old" for name in names]
        return " and ".join(found) + reason

    def transmissivity(name: str) -> float:
        return min(max(calibrations.value(name, "transmissivity"), 1e-12), 1.0)

    setting = station_tap(file, calibrations)
    written = [] if file.ledger is None else list(file.ledger.components)
    parts = [
        Component(
            "way to the client",
            Place.FORWARD,
            Owner.CHANNEL,
            transmissivity=transmissivity(FORWARD),
            calibration=words(FORWARD),
        ),
        _client_receiver(calibrations, setting, words),
        Component(
            "way back",
            Place.RETURN,
            Owner.CHANNEL,
            transmissivity=transmissivity(RETURN),
            calibration=words(RETURN),
        ),
        Component(
            "server's receiver",
            Place.SERVER_RECEIVER,
            Owner.SERVER,
            transmissivity=min(calibrations.value("server.efficiency", "efficiency"), 1.0),
            electronic_noise=max(calibrations.value("server.shot-noise", "noise"), 0.0),
            calibration=words("server.efficiency", "server.shot-noise"),
        ),
    ]
    for owner, place in ((Owner.CLIENT, Place.CLIENT_RECEIVER), (Owner.SERVER, Place.SERVER_RECEIVER)):
        name = f"{owner.value}.lock"
        if name in calibrations and "residual" in calibrations[name].values:
            parts.append(
                Component(
                    f"{PHASE_NOISE}{owner.value}'s lock",
                    place,
                    owner,
                    phase_noise=max(calibrations.value(name, "residual"), 0.0),
                    calibration=words(name),
                )
            )
    for component in written:
        # What is measured comes from the calibrations; what is left is the noise that the file knows.
        if component.place is Place.SERVER_COUNTER or component.excess or component.n_sp != 1.0:
            parts.append(_noise_of(component, reason))
    return _ordered(file.name, parts)


def _client_receiver(calibrations: CalibrationSet, setting: TapSetting, words: object) -> Component:
    """The receiver at the tap. In a feed-forward tap it is part of the loop: `client.tap` has measured it there."""
    assert callable(words)
    noise = max(calibrations.value("client.shot-noise", "noise"), 0.0)
    names = ["client.shot-noise"]
    if setting.kind is TapKind.FEED_FORWARD and TAP in calibrations and "outcome_gain" in calibrations[TAP].values:
        # Meter per X at the stage's input: sqrt(e (1 - t) / 2), a heterodyne of what the splitter takes.
        picked = calibrations.value(TAP, "outcome_gain")
        efficiency = 2.0 * picked**2 / (1.0 - setting.tap_transmissivity)
        names.insert(0, TAP)
    else:
        efficiency = calibrations.value("client.efficiency", "efficiency")
        names.insert(0, "client.efficiency")
    return Component(
        "client's receiver",
        Place.CLIENT_RECEIVER,
        Owner.CLIENT,
        transmissivity=min(max(efficiency, 1e-6), 1.0),
        electronic_noise=noise,
        calibration=words(*names),
    )


def _noise_of(component: Component, reason: str) -> Component:
    kept = component.transmissivity if component.place in RECEIVERS else 1.0
    return Component(
        component.name,
        component.place,
        component.owner,
        trusted=component.trusted,
        transmissivity=kept,
        excess=component.excess,
        n_sp=component.n_sp,
        dark_counts=component.dark_counts,
        extinction=component.extinction,
        calibration=component.calibration + reason,
    )


IMPERFECT = "imperfect interferometer, modulator and net gain"
"""Name of the component that stands for their noise."""
COVERAGE = 4.0
"""Standard deviations of a calibration that a tolerance covers."""
DRIFT, TURN, LEAST_NOISE = 0.01, 0.01, 0.02
"""What attenuator and polarisation may drift in amplitude, the locks in rad, and the electronics in SNU."""
ROOM = 0.6
"""Share of the brightest possible light that a run plans with: phases are not reached alike by all of it."""
MOST = 0.45
"""Largest tolerance that says anything."""


def with_imperfections(ledger: Ledger, excess: float) -> Ledger:
    """The ledger with the noise at the server's input that imperfect parts add to bright light, SNU."""
    if not excess > 0:
        return ledger
    part = Component(
        IMPERFECT,
        Place.RETURN,
        Owner.CHANNEL,
        excess=excess,
        calibration=f"error budget of the calibrations; {_ages(ledger)}",
    )
    return _ordered(ledger.name, (*ledger.components, part))


def _ages(ledger: Ledger) -> str:
    return next((part.calibration for part in ledger.components if part.name == "way back"), "")


def brightest_bin(calibrations: CalibrationSet) -> float:
    """Photons of the brightest bin that the server can send with its attenuator open, with some room; infinite where
    nobody has calibrated its light."""
    light = calibrations.get("server.light")
    if light is None or light.failures or "full_scale_photons" not in light.values:
        return math.inf
    slope = calibrations["server.attenuator"].values.get("slope", 1.0) if "server.attenuator" in calibrations else 1.0
    less = slope * light.values.get("attenuation_db", 0.0)
    return ROOM * light.values["full_scale_photons"] * 10 ** (less / 10)


def tolerances(
    calibrations: CalibrationSet, ledger: Ledger, excess: float, error: float, mu: float
) -> tuple[float, float, float]:
    """By how much amplitude (relative), phase (rad) and noise (SNU) of honest returned light may be off the ledger.

    Amplitude: four standard deviations of the slope that `path.return` found, less what its photons are uncertain by,
    which the light of a run shares; phase: those of the phase at which the server's lock holds. Noise: as much as the
    imperfections are expected to add, and four standard deviations of it.

    What imperfect parts leave is no noise but a share of the light itself: it is the larger where the light is, so that
    the tests along the strongest directions see it first, and it repeats at every use. So amplitude and phase also get
    its root mean square each, sqrt(s/2) of s = (excess + deviations)/(2 mu T), whose length is at least that of the
    whole (`HonestLayer.tolerated`).

    mu: photons a mode at which the excess was found.
    """
    known = calibrations.result(RETURN)
    amplitude = 0.0
    if {"slope", "photons"} <= known.values.keys():
        slope, photons = known.estimate("slope"), known.estimate("photons")
        own = (slope.deviation / slope.value) ** 2 - 0.25 * (photons.deviation / photons.value) ** 2
        amplitude = math.sqrt(max(own, 0.0))
    angle = 0.0
    lock = calibrations.get("server.lock")
    if lock is not None and "angle" in lock.values:
        angle = held_phase(lock)
    noise = ledger.server_efficiency * (excess + COVERAGE * error) + LEAST_NOISE
    left = math.sqrt(max(excess + COVERAGE * error, 0.0) / (4.0 * mu * ledger.total))
    gain, phase = COVERAGE * amplitude + DRIFT + left, COVERAGE * angle + TURN + left
    return min(gain, MOST), min(phase, MOST), min(noise, MOST)


def held_phase(lock: CalibrationResult) -> float:
    """Standard deviation of the phase at which a lock holds, rad.

    The set point lies where the fitted phase is 0, often outside of the points of the fit: it is less known than the
    phase at a set point of 0 (`angle`).
    """
    deviation = lock.estimate("angle").deviation
    if {"set_point", "angle_per_volt"} <= lock.values.keys():
        deviation = max(deviation, lock.estimate("set_point").deviation * abs(lock.value("angle_per_volt")))
    return deviation


def sheet_ledger(file: StationFile) -> Ledger:
    """The light path as the station file has it: its `[[ledger]]`, or the data sheets of the parts on the light's way.

    Without a written ledger the wires are followed, from the server's gate to the client's tap and from there to the
    server's receiver. A fibre belongs to the channel; what stands before the first one and behind the last one is the
    server's, what stands between them the client's.

    Raises
    ------
    InputError
        Where there is no such way.
    """
    if file.ledger is not None:
        return file.ledger
    tap, detector, start = _landmarks(file)
    out = _way(file, start, tap)
    home = _way(file, tap, detector)
    parts: list[Component] = []
    first = next((index for index, name in enumerate(out) if _is_fibre(file, name)), 0)
    for index, name in enumerate(out):
        client = index > first and not _is_fibre(file, name)
        owner = Owner.CHANNEL if _is_fibre(file, name) else Owner.CLIENT if client else Owner.SERVER
        parts += _passive(file, name, Place.CLIENT_IN if client else Place.FORWARD, owner)
    last = max((index for index, name in enumerate(home) if _is_fibre(file, name)), default=len(home))
    for index, name in enumerate(home):
        client = index < last and not _is_fibre(file, name)
        owner = Owner.CHANNEL if _is_fibre(file, name) else Owner.CLIENT if client else Owner.SERVER
        parts += _passive(file, name, Place.CLIENT_OUT if client else Place.RETURN, owner)
    sheet = file.components[tap]
    parts.append(
        Component(
            tap,
            Place.CLIENT_RECEIVER,
            Owner.CLIENT,
            transmissivity=float(sheet.get("efficiency") or 1.0),
            electronic_noise=ASSUMED_NOISE,
            calibration=f"{SHEET}; {ASSUMED}",
        )
    )
    sheet = file.components.get(detector, {})
    parts.append(
        Component(
            detector,
            Place.SERVER_RECEIVER,
            Owner.SERVER,
            transmissivity=float(sheet.get("efficiency") or 1.0) * float(sheet.get("visibility") or 1.0) ** 2,
            electronic_noise=ASSUMED_NOISE,
            calibration=f"{SHEET}; {ASSUMED}",
        )
    )
    return _ordered(file.name, parts)


def _ordered(name: str, parts: Iterable[Component]) -> Ledger:
    order = {place: index for index, place in enumerate(Place)}
    return Ledger(name, tuple(sorted(parts, key=lambda part: order[part.place])))


def _landmarks(file: StationFile) -> tuple[str, str, str]:
    """Tap, server's detector, and the last part of the transmitter."""
    tap = detector = start = None
    for entry in file.subsystems.values():
        roles = {role: filling.name for role, filling in entry.roles.items() if isinstance(filling, Filling)}
        if entry.kind in (FEED_FORWARD_TAP, AMPLIFIER_TAP):
            tap = roles.get("tap")
        elif entry.kind == HOMODYNE_RECEIVER and entry.owner is Owner.SERVER:
            detector = roles.get("detector")
        elif entry.kind == TRANSMITTER:
            start = roles.get("gate") or roles.get("attenuator") or roles.get("pad") or roles.get("modulator")
    if tap is None or detector is None or start is None:
        missing = "gain-and-tap stage" if tap is None else "detector of the server" if detector is None else "sender"
        raise InputError(
            f"the station has no {missing} and no ledger",
            source=file.source,
            expected="[[ledger]] tables, or the subsystems of both parties",
        )
    return tap, detector, start


def _way(file: StationFile, start: str, end: str) -> list[str]:
    """Parts between two, along the fibres; InputError where there is none."""
    following: dict[str, list[str]] = {}
    for wire in file.wiring:
        if wire.kind == "light" and wire.target[1] != "lo":
            following.setdefault(wire.source[0], []).append(wire.target[0])
    paths = [[start]]
    seen = {start}
    while paths:
        path = paths.pop(0)
        if path[-1] == end:
            return path[1:-1]
        for name in following.get(path[-1], ()):
            if name not in seen:
                seen.add(name)
                paths.append([*path, name])
    raise InputError(
        f"no fibre leads from {start} to {end}", source=file.source, key="wiring", expected="the way of the light"
    )


def _is_fibre(file: StationFile, name: str) -> bool:
    return file.components.get(name, {}).get("kind") == "fibre"


def _passive(file: StationFile, name: str, place: Place, owner: Owner) -> list[Component]:
    """One part on the way, by its sheet; instruments say nothing about their loss."""
    sheet = file.components.get(name)
    if sheet is None:
        return []
    loss = float(sheet.get("loss") or sheet.get("loss_db") or 0.0)
    if sheet["kind"] in (TREE, f"{TREE}-inverse"):
        loss *= math.ceil(math.log2(max(int(sheet.get("n_modes") or 1), 2)))
    kept = 1.0 - float(sheet.get("ratio") or 0.0) if sheet["kind"] in ("power-tap", "splitter") else 1.0
    return [Component(name, place, owner, transmissivity=from_db(-loss) * kept, calibration=SHEET)]


def station_tap(file: StationFile, calibrations: CalibrationSet | None = None) -> TapSetting:
    """The setting of the station's gain-and-tap stage, as calibrated or as its data sheet says.

    Raises
    ------
    InputError
        For a station without such a stage, or one of which neither says enough.
    """
    known = {} if calibrations is None or TAP not in calibrations else calibrations.result(TAP).values
    for entry in file.subsystems.values():
        part = entry.roles.get("tap")
        if entry.kind not in (FEED_FORWARD_TAP, AMPLIFIER_TAP) or not isinstance(part, Filling):
            continue
        sheet = file.components.get(part.name, {})

        def figure(key: str, name: str, default: float | None = None) -> float:
            value = known.get(key, sheet.get(name, default))  # noqa: B023 - called before the next turn
            if value is None:
                raise InputError(
                    f"the data sheet of {part} does not say {name}",  # noqa: B023
                    source=file.source,
                    key=f"components.{part}",  # noqa: B023
                    expected=f"{name} = NUMBER",
                )
            return float(value)

        try:
            if entry.kind == FEED_FORWARD_TAP:
                return TapSetting.feed_forward(figure("transmissivity", "t"))
            gain = figure("amplifier_gain", "gain", 10 ** (float(sheet.get("gain_db", 0.0)) / 10) or None)
            return TapSetting.amplifier(gain, figure("transmissivity", "tau", 1.0 / gain))
        except ValueError as error:
            raise InputError(str(error), source=file.source, key=f"components.{part}") from None
    raise InputError(
        "the station has no gain-and-tap stage",
        source=file.source,
        expected=f"[subsystems.NAME] of kind {FEED_FORWARD_TAP} or {AMPLIFIER_TAP}",
    )


def usual_point(ledger: Ledger, setting: TapSetting) -> OperatingPoint:
    """The light that gives outcomes an F^2 of 6 dB, or half of what phase noise allows at most."""
    law = LinkLaw.from_ledger(ledger, honest(ledger, setting))
    wanted = from_db(USUAL_F2_DB)
    most = signal_to_noise(law, 1e12)
    wanted = min(wanted, most / 2) if math.isfinite(most) else wanted
    low, high = 1e-9, 1e12
    for _ in range(200):
        middle = math.sqrt(low * high)
        low, high = (middle, high) if signal_to_noise(law, middle) < wanted else (low, middle)
    return OperatingPoint(float(f"{high:.4g}"), setting)
