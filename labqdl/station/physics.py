"""What physics says about a station file before anything is switched on: coherence, memories, triggers, feasibility.

Rules read data sheets, wiring and subsystems; what they do not find there they do not judge.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

from labqdl.config.station import StationFile
from labqdl.config.subsystems import (
    FEED_FORWARD_TAP,
    HOMODYNE_RECEIVER,
    MZI_INTERFEROMETER,
    TIME_BIN_INTERFEROMETER,
    TRANSMITTER,
    Filling,
    SubsystemEntry,
)
from labqdl.errors import InputError, LabqdlError
from labqdl.facts import LayerFrame, OperatingPoint
from labqdl.facts.frame import Activation
from labqdl.facts.ledger import Ledger
from labqdl.instruments import Instrument, WaveformGenerator
from labqdl.optics.client_law import honest
from labqdl.optics.expectation import signal_to_noise
from labqdl.optics.law import LinkLaw
from labqdl.security.engines import asymptotic_bounds
from labqdl.station.light_path import sheet_ledger, station_tap, usual_point

COHERENCE_SHARE = 0.1
"""Share of an outcome's noise that the laser's phase over a row may add."""
BUDGET = 0.1
"""Bits per weight that a certificate is judged by where nobody agrees on another number."""
ROWS, FEATURES = 32, 64
"""The block that memories are judged by: rows of one layer for one data vector."""


def physics_warnings(file: StationFile, instruments: Mapping[str, Instrument]) -> Iterable[str]:
    """Everything that is not as physics would have it, one sentence each; nothing for a file without a frame."""
    if file.frame is None:
        return
    kinds: dict[str, list[SubsystemEntry]] = {}
    for entry in file.subsystems.values():
        kinds.setdefault(entry.kind, []).append(entry)
    yield from _coherence(file, kinds)
    yield from _memories(file, instruments, kinds)
    yield from _triggers(file, kinds)
    yield from _feasibility(file)


def _name(entry: SubsystemEntry, role: str) -> str | None:
    found = entry.roles.get(role)
    return found.name if isinstance(found, Filling) else None


def row_phase_variance(linewidth: float, n_modes: int, bin_rate: float) -> float:
    """Variance of the phase between the bins of a row and its last one, rad^2, mean over bins.

    A laser of Lorentzian linewidth loses 2 pi times linewidth times time; bin j is (n - 1 - j) bins before the last
    one, in which the interferometer joins them all.

    Parameters
    ----------
    linewidth:
        Full width at half maximum, Hz.
    n_modes, bin_rate:
        Bins of a row, and bins a second, Hz.
    """
    return 2.0 * math.pi * linewidth * 0.5 * (n_modes - 1) / bin_rate


def allowed_linewidth(ledger: Ledger, point: OperatingPoint, n_modes: int, bin_rate: float) -> float:
    """Linewidth in Hz at which the phase over a row adds a tenth to an outcome's noise; infinite for single bins.

    Phase noise of variance v adds 2 mu v to an outcome whose signal is 2 mu, so that v may be a tenth of 1/F^2.
    """
    f2 = signal_to_noise(LinkLaw.from_ledger(ledger, honest(ledger, point.tap)), point.mu)
    one = row_phase_variance(1.0, n_modes, bin_rate)
    return math.inf if one == 0 else COHERENCE_SHARE / f2 / one


def _coherence(file: StationFile, kinds: Mapping[str, list[SubsystemEntry]]) -> Iterable[str]:
    """Linewidth times row time: bins that were emitted at different times interfere."""
    assert file.frame is not None
    frame = file.frame
    for entry in kinds.get(TRANSMITTER, ()):
        laser = _name(entry, "laser")
        if laser is None:
            continue
        sheet = file.components.get(laser, {})
        part = file.parts.get(laser)
        linewidth = sheet.get("linewidth", None if part is None else part.values.get("linewidth"))
        if frame.n_modes == 1:
            continue
        try:
            ledger = sheet_ledger(file)
            allowed = allowed_linewidth(ledger, usual_point(ledger, station_tap(file)), frame.n_modes, frame.bin_rate)
        except InputError:
            continue
        row = frame.n_modes / frame.bin_rate
        if linewidth is not None and float(linewidth) > allowed:
            yield (
                f"{laser} has a linewidth of {float(linewidth):.4g} Hz: over a row of {row * 1e6:.3g} us its phase "
                f"adds more than {COHERENCE_SHARE:.0%} to the outcomes' noise; at most {allowed:.2g} Hz, or shorter "
                "rows"
            )


def _memories(
    file: StationFile, instruments: Mapping[str, Instrument], kinds: Mapping[str, list[SubsystemEntry]]
) -> Iterable[str]:
    """Whether the rows for one data vector fit the generators' memories, as far as a driver says so by itself."""
    assert file.frame is not None
    frame = file.frame
    layout = frame.layout(1, ROWS)
    if layout.duration > frame.shot_time:
        yield (
            f"a shot of {ROWS} rows takes {layout.duration * 1e3:.3g} ms, and frame.shot_time allows "
            f"{frame.shot_time * 1e3:.3g} ms"
        )
    for kind in (TRANSMITTER, TIME_BIN_INTERFEROMETER):
        for entry in kinds.get(kind, ()):
            rate = entry.settings.get("sample_rate")
            if rate is None:
                continue
            samples = math.ceil(layout.duration * float(rate))
            if float(rate) < 2 * frame.bin_rate:
                yield f"{entry.name} plays {float(rate) / frame.bin_rate:.2g} samples a bin; a bin needs 2 and more"
            for name in sorted({filling.name for filling in entry.fillings()}):
                longest = _longest(instruments.get(name))
                if longest is not None and samples > longest:
                    yield (
                        f"{name} holds {longest:,} samples, and {ROWS} rows with their preamble take {samples:,} at "
                        f"{float(rate) / 1e6:g} MS/s: fewer rows a shot, or a slower rate"
                    )
    for entry in kinds.get(HOMODYNE_RECEIVER, ()):
        rate = entry.settings.get("sample_rate")
        if rate is not None and float(rate) < 4 * frame.bin_rate:
            yield f"{entry.name} takes {float(rate) / frame.bin_rate:.2g} samples a bin; timing needs 4 and more"
    for entry in kinds.get(MZI_INTERFEROMETER, ()):
        settle = float(entry.settings.get("settle") or 0.0)
        if settle > layout.duration:
            yield (
                f"{entry.name} takes {settle * 1e3:.3g} ms to be set for each data vector, and the shot that follows "
                f"{layout.duration * 1e3:.2g} ms: setting it rules the time of a run"
            )


def _longest(instrument: Instrument | None) -> int | None:
    """Longest waveform that a generator's driver states without asking the instrument."""
    if not isinstance(instrument, WaveformGenerator) or instrument.is_open:
        return None
    try:
        return instrument.memory.longest
    except LabqdlError:
        return None


def _triggers(file: StationFile, kinds: Mapping[str, list[SubsystemEntry]]) -> Iterable[str]:
    """Whether a marker of the sender reaches everybody who has to start with it."""
    if not any(wire.kind == "electric" for wire in file.wiring):
        return
    reached: set[str] = set()
    for entry in kinds.get(TRANSMITTER, ()):
        generator = _name(entry, "i")
        if generator is None:
            continue
        starts = {generator}
        grown = True
        while grown:
            grown = False
            for wire in file.wiring:
                name, port = wire.source
                begins = name == generator and port.startswith("marker")
                passes = name in reached and name in file.components
                if wire.kind == "electric" and (begins or passes) and wire.target[0] not in reached | starts:
                    reached.add(wire.target[0])
                    grown = True
        reached |= starts
    followers: dict[str, str] = {}
    for kind, roles in ((HOMODYNE_RECEIVER, ("x", "p", "lo_phase")), (TIME_BIN_INTERFEROMETER, ())):
        for entry in kinds.get(kind, ()):
            chosen = [entry.roles.get(role) for role in roles] if roles else list(entry.fillings())
            for filling in chosen:
                if isinstance(filling, Filling) and filling.name in file.instruments:
                    followers[filling.name] = entry.name
    for name, subsystem in followers.items():
        if reached and name not in reached:
            yield f"no trigger cable leads from the sender's marker to {name}, which {subsystem} needs to start with it"


def _feasibility(file: StationFile) -> Iterable[str]:
    """Whether the certificate can be reached at all, and which part stands in the way most."""
    assert file.frame is not None
    try:
        ledger, setting = sheet_ledger(file), station_tap(file)
        point = usual_point(ledger, setting)
    except InputError as error:
        yield f"what its light path leaks cannot be told: {error.problem}"
        return
    modes = file.frame.n_modes

    def leak(path: Ledger) -> float:
        layer = LayerFrame(ROWS, FEATURES, False, point.mu, None, Activation(), tile=modes)
        found = asymptotic_bounds((layer,), point.tap, path)
        return next(bound.bits for bound in found if bound.engine == "labqdl")

    bits = leak(ledger)
    if bits <= BUDGET:
        return
    best = {part.name: leak(ledger.without(part.name)) for part in ledger.components}
    culprit = min(best, key=best.__getitem__)
    light = f"at mu = {point.mu:.3g} (F^2 of {10 * math.log10(_f2(ledger, point)):.2g} dB)"
    words = f"{culprit} stands in the way most: without its loss and noise {best[culprit]:.2g}"
    if any(entry.kind == FEED_FORWARD_TAP for entry in file.subsystems.values()):
        words += "; less light, or a splitter that takes less, leaks less"
    yield f"{light} {bits:.2g} bit per weight may leak, more than {BUDGET:g}: runs end undecided. {words}"


def _f2(ledger: Ledger, point: OperatingPoint) -> float:
    return signal_to_noise(LinkLaw.from_ledger(ledger, honest(ledger, point.tap)), point.mu)
