"""Receivers, taps, gates and roles on the small bench: orders, refusals, and each party's own."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from labqdl.config.document import parse
from labqdl.config.station import read_station_file
from labqdl.errors import InputError
from labqdl.facts import CalibrationSet, TapSetting
from labqdl.facts.ledger import Owner
from labqdl.instruments import Instrument, LockState, NotConfirmed
from labqdl.subsystems import (
    AmplifierTap,
    BenchLink,
    FeedForwardTap,
    Gate,
    HomodyneReceiver,
    ShotInvalid,
    Transmitter,
)
from labqdl.subsystems.roles import Roles
from tests.subsystems.benches import SHIPPED, SMALL, Small, result, small_bench


@pytest.fixture(scope="module")
def small() -> Iterator[Small]:
    with small_bench() as made:
        yield made


def held_by(found: object, seen: set[int]) -> set[str]:
    """Names of the instruments that are reached from an object of this room without going through an instrument."""
    names: set[str] = set()
    if id(found) in seen:
        return names
    seen.add(id(found))
    if isinstance(found, Instrument):
        return {found.name}
    if hasattr(found, "instrument") and isinstance(found.instrument, Instrument):
        names.add(found.instrument.name)
    inside: list[Any] = []
    if isinstance(found, dict):
        inside = list(found.values())
    elif isinstance(found, list | tuple | set | frozenset):
        inside = list(found)
    elif type(found).__module__.startswith("labqdl.subsystems"):
        inside = list(vars(found).values())
    for one in inside:
        names |= held_by(one, seen)
    return names


@pytest.mark.parametrize("station", ["small", *SHIPPED])
def test_no_party_holds_what_is_the_other_s(station: str) -> None:
    text = SHIPPED.get(station) or SMALL.read_text(encoding="utf-8")
    file = read_station_file(parse(text.encode(), source=f"{station}.toml"))
    with small_bench(text, opened=()) as made:
        server, client = held_by(made.server, set()), held_by(made.client, set())
    assert {"laser", "awg_s", "dig_s", "gate_s"} <= server
    assert {"dig_c", "gate_c", "rpc1"} <= client
    assert not server & client
    for owner, held in ((Owner.SERVER, server), (Owner.CLIENT, client)):
        named = {one.name for entry in file.subsystems.values() if entry.owner is owner for one in entry.fillings()}
        assert held == named & set(file.instruments)


def test_each_party_reads_its_own_calibrations_and_the_channel_s(small: Small) -> None:
    known = CalibrationSet(
        [
            result("server.light", "server", a=1.0),
            result("client.tap", "client", a=1.0),
            result("path", "channel", a=1.0),
        ]
    )
    before = small.calibrations
    small.server.use(known)
    small.client.use(known)
    assert sorted(small.server.calibrations) == ["path", "server.light"]
    assert sorted(small.client.tap.calibrations) == ["client.tap", "path"]
    assert sorted(small.server.receiver.calibrations) == ["path", "server.light"]
    with pytest.raises(InputError, match=r"server\.light"):
        small.client.calibrations.result("server.light")
    small.server.use(before)
    small.client.use(before)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('attenuator = "voa"', 'attenuator = "laser"', r"line \d+: .*laser is a Koheras; expected an attenuator"),
        ('i = "awg_s.output 1"', 'i = "awg_s.output 9"', r"awg_s has no channel 9; expected one of 1, 2"),
        ('i = "awg_s.output 1"', 'i = "dig_s.input 1"', "is a ScopeInput; expected an output of a waveform generator"),
        ('q = "awg_s.output 2"', 'q = "awg_b.output 7"', "is the server's already|another generator than i"),
        ('gate = "gate_s"', 'gate = "meter_s"', "meter_s is a .*; expected a switch"),
        ("[frame]\nn_modes = 4", "[frame]\nn_modes = 16", "names 2 outputs; expected 4 outputs for rows of 16 bins"),
        ('kind = "feed-forward-tap"\nowner', 'kind = "amplifier-tap"\nowner', ""),
        ("[subsystems.verifier]", "[subsystems.verifier2]", ""),
    ],
)
def test_instruments_have_to_fit_their_roles(old: str, new: str, words: str) -> None:
    text = SMALL.read_text(encoding="utf-8")
    assert old in text

    def built() -> None:
        with small_bench(text.replace(old, new), opened=()):
            pass

    if words:
        with pytest.raises(InputError, match=words):
            built()
    else:
        built()


def test_a_party_without_its_subsystems_is_told_so() -> None:
    text = SMALL.read_text(encoding="utf-8")
    head, _, tail = text.partition("[subsystems.tree]")
    _, _, rest = tail.partition("[subsystems.")
    with (
        pytest.raises(InputError, match="has no interferometer for rows of 4 bins"),
        small_bench(f"{head}[subsystems.{rest}", opened=()),
    ):
        pass
    with (
        pytest.raises(InputError, match=r"has no transmitter of the server's"),
        small_bench(text[: text.index("[subsystems.sender]")] + text[text.index("[subsystems.verifier]") :], opened=()),
    ):
        pass
    with (
        pytest.raises(InputError, match=r"has no feed-forward-tap of the client's"),
        small_bench(text[: text.index("[subsystems.tap]")], opened=()),
    ):
        pass
    with pytest.raises(InputError, match=r"has no frame"), small_bench(text[: text.index("[frame]")], opened=()):
        pass


# --- receivers ----------------------------------------------------------------------------------------------------


def passes(receiver: HomodyneReceiver) -> bool:
    assert receiver.gate is not None
    return receiver.gate.passing


def test_vacuum_is_taken_behind_the_own_gate_and_the_gate_opens_again(small: Small) -> None:
    receiver = small.client.receiver
    assert receiver.gate is not None
    receiver.gate.open()
    layout = small.client.frame.layout(1, 1)
    found = receiver.vacuum(400 * layout.bin_time)
    assert passes(receiver)
    bins = receiver.dark_bins(found, layout)
    assert 400 <= bins.size <= 410
    assert np.iscomplexobj(bins)
    receiver.gate.block()
    receiver.vacuum(1e-5)
    assert not passes(receiver)
    without = HomodyneReceiver.__new__(HomodyneReceiver)
    without.gate, without.name = None, "bare"
    with pytest.raises(ShotInvalid, match="bare: has no gate of its own"):
        without.vacuum(1e-5)


def test_an_overloaded_record_is_refused(small: Small) -> None:
    receiver = small.server.receiver
    receiver.configure()
    receiver.x.range = 0.005
    try:
        with pytest.raises(ShotInvalid, match=r"dig_s: input 1 is overloaded at 0\.00\d+ V"):
            receiver.record(1e-4)
    finally:
        receiver.configure()


def test_a_trigger_that_does_not_come_is_no_record(small: Small, monkeypatch: pytest.MonkeyPatch) -> None:
    receiver = small.client.receiver
    monkeypatch.setattr("labqdl.subsystems.receiver._PATIENCE", 0.05)
    receiver.arm(1e-5)
    with pytest.raises(ShotInvalid, match="dig_c: was not triggered"):
        receiver.wait(1e-5)


def test_a_record_covers_the_shot_wherever_its_trigger_comes(small: Small) -> None:
    receiver = small.server.receiver
    share = receiver.before_share()
    assert share == pytest.approx(0.5)
    for duration, trigger in ((1e-3, 0.0), (1e-3, 5e-4), (1e-3, 9e-4)):
        receiver.arm(duration, trigger)
        length = receiver.digitizer.record_length / receiver.sample_rate
        assert share * length >= trigger
        assert (1 - share) * length >= duration - trigger
        receiver.digitizer.stop()
    receiver.arm(1e-3, 5e-4)
    assert receiver.digitizer.record_length / receiver.sample_rate < 1.05e-3
    receiver.digitizer.stop()


class Servo:
    """A lock that says what it is told, one state a question."""

    def __init__(self, *states: LockState) -> None:
        self.name, self.states = "servo", list(states)
        self.log: list[tuple[str, Any]] = []
        self.clock: Any = type("Clock", (), {"now": 0.0, "monotonic": lambda c: c.now, "sleep": Servo._sleep})()
        self._engaged = False

    @staticmethod
    def _sleep(clock: Any, seconds: float) -> None:
        clock.now += seconds

    is_open = True
    engaged: Any = property(lambda one: one._engaged, lambda one, on: one._switch(on))
    set_point: Any = property(lambda one: 0.0, lambda one, volts: one.log.append(("set point", volts)))
    state: Any = property(lambda one: one.states.pop(0) if len(one.states) > 1 else one.states[0])

    def _switch(self, on: bool) -> None:
        self._engaged = on
        self.log.append(("engaged", on))


def locked(small: Small, *states: LockState) -> tuple[HomodyneReceiver, Any]:
    entry = small.station.file.subsystems["meter"]
    receiver = HomodyneReceiver(
        Roles(small.station.file, entry, small.station.instruments()), Owner.CLIENT, CalibrationSet()
    )
    servo: Any = Servo(*states)
    receiver.lock = servo
    return receiver, servo


def test_a_lock_is_waited_for_and_asked_again(small: Small) -> None:
    receiver, servo = locked(small, LockState.ACQUIRING, LockState.ACQUIRING, LockState.LOCKED)
    receiver.calibrations = CalibrationSet([result("client.lock", "client", set_point=0.4)])
    receiver.hold()
    assert servo.log == [("set point", 0.4), ("engaged", True)]
    receiver.demand_lock()
    receiver, servo = locked(small, LockState.SLIPPED)
    with pytest.raises(ShotInvalid, match="servo: does not lock, it is slipped"):
        receiver.hold()
    assert servo.clock.now < 20
    with pytest.raises(ShotInvalid, match="servo: is slipped"):
        receiver.demand_lock()
    receiver, servo = locked(small, LockState.SLIPPED, LockState.LOCKED)
    servo._engaged = True
    receiver.hold()
    assert servo.log == [("engaged", False), ("engaged", True)]
    receiver.release()
    assert servo.log[-1] == ("engaged", False)


# --- taps and gates -----------------------------------------------------------------------------------------------


def test_a_feed_forward_tap_works_as_calibrated_and_gives_nothing_back_when_off(small: Small) -> None:
    tap = small.client.tap
    assert isinstance(tap, FeedForwardTap)
    with pytest.raises(InputError, match=r"client\.tap"):
        tap.engage()
    tap.calibrations = CalibrationSet([result("client.tap", "client", gain_voltage=0.7, outcome_gain=0.2)])
    tap.engage()
    assert tap.source.voltage == pytest.approx(0.7)
    assert tap.source.output
    setting = TapSetting.feed_forward(0.9)
    tap.demand(setting)
    assert tap.outcome_scale(setting) == pytest.approx(5.0)
    with pytest.raises(InputError, match="agrees on an amplifier tap, the station has a feed-forward one"):
        tap.demand(TapSetting.amplifier(2.0))
    with pytest.raises(InputError, match=r"a splitter of 0\.95, tap has 0\.9"):
        tap.demand(TapSetting.feed_forward(0.95))
    tap.off()
    assert tap.source.voltage == 0.0
    tap.calibrations = CalibrationSet()


def test_an_amplifier_tap_demands_the_agreed_gain() -> None:
    text = SMALL.read_text(encoding="utf-8").replace(
        'kind = "feed-forward-tap"\nowner', 'kind = "amplifier-tap"\nowner'
    )
    with small_bench(text) as made:
        tap = made.client.tap
        assert isinstance(tap, AmplifierTap)
        figures = {"gain_voltage": 0.5, "amplifier_gain": 2.0, "transmissivity": 0.5}
        tap.calibrations = CalibrationSet([result("client.tap", "client", **figures)])
        tap.demand(TapSetting.amplifier(2.0))
        assert tap.outcome_scale(TapSetting.amplifier(2.0)) == 1.0
        with pytest.raises(InputError, match="an amplifier gain of 3, tap has 2"):
            tap.demand(TapSetting.amplifier(3.0))
        with pytest.raises(InputError, match=r"a tap of 0\.4, tap has 0\.5"):
            tap.demand(TapSetting.amplifier(2.0, 0.4))
        with pytest.raises(InputError, match="no amplifier is named"):
            tap.set_pump(0.1)
        tap.engage()
        assert tap.source is not None
        assert tap.source.voltage == pytest.approx(0.5)
        tap.off()
        assert tap.source.voltage == 0.0


def test_a_gate_lets_light_through_and_blocks_it(small: Small) -> None:
    gate = small.server.transmitter.gate
    assert isinstance(gate, Gate)
    gate.open()
    assert gate.passing
    gate.block()
    assert not gate.passing


# --- transmitter --------------------------------------------------------------------------------------------------


def bright(small: Small, full_scale_photons: float, attenuation: float) -> Transmitter:
    transmitter = small.server.transmitter
    figures = {"v_pi_i": 1.4, "v_pi_q": 1.4, "bias_i": 0.1, "bias_q": 0.2, "bias_p": 0.3}
    transmitter.calibrations = CalibrationSet(
        [
            result("server.modulator", "server", **figures),
            result("server.light", "server", full_scale_photons=full_scale_photons, attenuation_db=attenuation),
            result("server.attenuator", "server", slope=0.98, offset_db=0.1),
        ]
    )
    return transmitter


def test_the_attenuator_makes_room_for_the_largest_bin(small: Small) -> None:
    transmitter = bright(small, 100.0, 20.0)
    plain = transmitter.brightness(9.9)
    assert (plain.amplitude, plain.attenuation) == (10.0, 20.0)
    more = transmitter.brightness(20.0)
    assert more.known == pytest.approx(20.4)
    assert more.amplitude == pytest.approx(20.4)
    assert more.attenuation == pytest.approx(20.0 - 20 * math.log10(2.04) / 0.98)
    with pytest.raises(InputError, match=r"a bin of 1000 .*the attenuator would have to stand at -20"):
        transmitter.brightness(1000.0)
    transmitter.attenuator, kept = None, transmitter.attenuator
    with pytest.raises(InputError, match="there is no attenuator to open further"):
        transmitter.brightness(20.0)
    transmitter.attenuator = kept


def test_rows_that_do_not_fit_say_mu_and_crest_factor(small: Small) -> None:
    transmitter = bright(small, 100.0, 20.0)
    layout = small.server.frame.layout(1, 2)
    data = np.full((1, 2, layout.n_modes), 2.0 + 0j)
    data[0, 0, 0] = 12.0
    symbols = layout.symbols(data, 10.0)
    with pytest.raises(
        InputError, match=r"mu = 21\.5 .*crest factor of 2\.59 need 1\.2 times full scale.*Attenuate 1\.7 dB"
    ):
        transmitter.voltages(symbols, layout, replace(transmitter.brightness()))


def test_both_markers_rise_when_they_should(small: Small) -> None:
    transmitter = bright(small, 100.0, 20.0)
    layout = small.server.frame.layout(1, 2)
    symbols = layout.symbols(np.zeros((1, 2, layout.n_modes), np.complex128), 10.0)
    transmitter.player.ready()
    late = transmitter.load(symbols, layout, transmitter.brightness(), tail=1e-6, recorded=1.0005e-5)
    assert late == pytest.approx(1.0005e-5, abs=4e-9)
    generator: Any = small.bench["awg_s"]
    _, marks = generator.waves["labqdl-i"]
    first, second = (np.flatnonzero(marks & (16 << place)) for place in (0, 1))
    assert (first[0], second[0]) == (0, round(late * 125e6))
    assert first[-1] == second[-1] == round((layout.duration + 1e-6) * 125e6) - 1


# --- shots that are not used --------------------------------------------------------------------------------------


def test_an_instrument_that_fails_leaves_the_bench_dark(small: Small, monkeypatch: pytest.MonkeyPatch) -> None:
    link = BenchLink(small.server, small.client, None)  # type: ignore[arg-type]
    dark: list[str] = []
    monkeypatch.setattr(small.server, "dark", lambda: dark.append("server"))

    def fail() -> None:
        dark.append("client")
        raise NotConfirmed("gate_c: did not move")

    monkeypatch.setattr(small.client, "dark", fail)
    with pytest.raises(NotConfirmed, match="gate_c"):
        link.close()
    assert dark == ["server", "client"]
    with pytest.raises(ValueError, match="at least once"):
        BenchLink(small.server, small.client, None, attempts=0)  # type: ignore[arg-type]
