"""Fault plans, lines, ports and the control channel."""

from __future__ import annotations

import json
import math
import socket
from typing import Any

import numpy as np
import pytest

from labqdl.clock import ManualClock, SystemClock
from labqdl.errors import InputError
from labqdl_sim.bench import Bench
from labqdl_sim.control import Control
from labqdl_sim.faults import EFFECTS, Rule
from labqdl_sim.lines import LineTwin, Refusal, line
from labqdl_sim.ports import Light, LightIn, LightOut, VoltageIn, VoltageOut
from labqdl_sim.serve import serve
from labqdl_sim.twin import Twin
from tests.sim.benches import Talk, make_bench

IDENTITY = "LABQDL,BED,000001,1.0\n"


def reply(effect: str, message: str = "*IDN?", **rule: Any) -> list[bytes]:
    """Replies of a fresh instrument to a message under one fault."""
    _, bed = make_bench()
    bed.loaded = b"abcd"
    bed.faults.add(effect, **rule)
    talk = Talk(bed)
    talk.write(message)
    return [entry.data for entry in talk.session.replies]


class TestEffects:
    @pytest.mark.parametrize(
        ("effect", "rule", "message", "expected"),
        [
            ("ignore", {}, "*IDN?", []),
            ("silent", {}, "*IDN?", []),
            ("close", {}, "*IDN?", []),
            ("reset", {}, "*IDN?", []),
            ("cut", {}, "*IDN?", [b"LABQDL,BED,"]),
            ("flip", {"value": 1}, "*IDN?", [b"L@BQDL,BED,000001,1.0\n"]),
            ("flip-input", {"value": 1}, "*IDN?", []),
            ("truncate", {"value": 3}, "*IDN?", [b"LABQDL,BED,000001,1"]),
            ("truncate", {}, "*IDN?", [b"LABQDL,BED,"]),
            ("duplicate", {}, "FUNC?", [b"SIN\n", b"SIN\n"]),
            ("terminator", {"text": "\r"}, "FUNC?", [b"SIN\r"]),
            ("terminator", {}, "FUNC?", [b"SIN"]),
            ("replace", {"text": "?"}, "FUNC?", [b"?\n"]),
            ("non-ascii", {}, "FUNC?", [b"\xe9\xffN\n"]),
            ("overrange", {}, "SOUR:POW?", [b"9.91E37\n"]),
            ("nan", {}, "SOUR:POW?", [b"NAN\n"]),
            ("inf", {}, "SOUR:POW?", [b"INF\n"]),
            ("block-length", {"value": 2}, "TRAC:DATA?", [b"#16abcd\n"]),
            ("block-length", {"value": -1}, "TRAC:DATA?", [b"#13abcd\n"]),
            ("block-tail", {"value": 3}, "TRAC:DATA?", [b"#14a\n"]),
            ("drip", {}, "FUNC?", [b"S", b"I", b"N", b"\n"]),
            ("opc-never", {}, "*OPC?", []),
            ("error", {"value": -240}, "SYST:ERR?", [b'-240,"Hardware error"\n']),
            ("overflow", {}, "SYST:ERR:COUN?", [b"4\n"]),
        ],
    )  # fmt: skip
    def test_replies(self, effect: str, rule: dict[str, Any], message: str, expected: list[bytes]) -> None:
        assert reply(effect, message, **rule) == expected

    def test_garbled_text_keeps_length_and_terminator_and_repeats_with_the_seed(self) -> None:
        (garbled,) = reply("garble")
        assert len(garbled) == len(IDENTITY)
        assert garbled.endswith(b"\n")
        assert garbled != IDENTITY.encode()
        assert reply("garble") == [garbled]

    def test_every_effect_is_known_to_be_harmless_on_a_session(self) -> None:
        for effect in set(EFFECTS) - {"world"}:  # which needs one
            _, bed = make_bench()
            bed.faults.add(effect, value=1.0)
            try:
                session = bed.connect()
            except ConnectionRefusedError:
                assert effect in ("refuse", "vanish")
                continue
            session.feed(b"*IDN?\n*OPC?\n*STB?\n")
            session.status_byte()
            bed.faults.clear()
            assert not bed.faults.armed

    def test_late_drip_and_behind(self) -> None:
        clock = ManualClock()
        _, bed = make_bench(clock)
        talk = Talk(bed)
        rule = bed.faults.add("late", value=2.0, nth=1)
        talk.write("*IDN?\nFUNC?")
        assert [entry.ready_at for entry in talk.session.replies] == [2.0, 2.0]
        talk.session.discard()
        bed.faults.remove(rule)
        rule = bed.faults.add("drip", value=0.5)
        talk.write("FUNC?")
        assert [entry.ready_at for entry in talk.session.replies] == [0.0, 0.5, 1.0, 1.5]
        talk.session.discard()
        bed.faults.remove(rule)
        bed.faults.add("behind")
        assert [talk.ask(text) for text in ("FUNC?", "*IDN?", "SOUR:POW?")] == ["", "SIN", IDENTITY.strip()]

    def test_states(self) -> None:
        _, bed = make_bench()
        talk = Talk(bed)
        bed.faults.add("stuck", register="STB", value=8)
        bed.faults.add("masked", register="STB", value=4)
        talk.write("NOPE")
        assert talk.ask("*STB?") == "8"
        assert talk.session.status_byte() == 8
        bed.faults.clear()
        bed.faults.add("stuck", register="QUES", value=1)
        assert talk.ask("STAT:QUES:COND?;*CLS") == "1"
        assert (bed.interlocked, bed.locked_out, bed.pending, bed.stays_on) == (False,) * 4
        for effect in ("interlock", "lockout", "busy", "stay-on"):
            bed.faults.add(effect)
        assert (bed.interlocked, bed.locked_out, bed.pending, bed.stays_on) == (True,) * 4
        talk.write("*OPC?")
        assert talk.session.ready_at() == math.inf

    def test_connections(self) -> None:
        _, bed = make_bench()
        bed.faults.add("sessions", value=2)
        first = bed.connect()
        second = bed.connect()
        with pytest.raises(ConnectionRefusedError):
            bed.connect()
        second.close()
        bed.connect()
        dropped: list[bool] = []
        first.dropped = lambda: dropped.append(True)
        bed.faults.add("vanish")
        assert first.lost == "reset"
        assert dropped == [True]


class TestTriggers:
    def fired(self, count: int = 6, **rule: Any) -> str:
        clock = ManualClock()
        _, bed = make_bench(clock)
        bed.faults.add("silent", **rule)
        talk = Talk(bed)
        seen = ""
        for index in range(count):
            seen += "-" if talk.ask("FUNC?" if index % 2 else "*IDN?") else "x"
            clock.advance(1.0)
        return seen

    @pytest.mark.parametrize(
        ("rule", "expected"),
        [
            ({}, "xxxxxx"), ({"nth": 3}, "--x---"), ({"every": 2}, "-x-x-x"), ({"command": "func"}, "-x-x-x"),
            ({"command": "FUNC", "nth": 2}, "---x--"), ({"start": 1.5, "stop": 4.0}, "--xx--"),
            ({"times": 2}, "xx----"), ({"manual": True}, "------"), ({"rate": 1.0}, "xxxxxx"),
            ({"manual": True, "on": True, "times": 1}, "x-----"), ({"rate": 0.0}, "------"),
        ],
    )  # fmt: skip
    def test_when(self, rule: dict[str, Any], expected: str) -> None:
        assert self.fired(**rule) == expected

    def test_a_rate_draws_from_its_own_stream(self) -> None:
        assert self.fired(40, rate=0.5) == self.fired(40, rate=0.5)
        assert 8 < self.fired(40, rate=0.5).count("x") < 32

    @pytest.mark.parametrize(
        "table",
        [{}, {"effect": "lat"}, {"effect": "late", "nht": 1}, {"effect": "late", "nth": 0},
         {"effect": "late", "command": "("}],
    )  # fmt: skip
    def test_mistakes(self, table: dict[str, Any]) -> None:
        with pytest.raises(InputError):
            Rule.from_table(table)


class Box(LineTwin):
    """A dialect with manual keywords, answers to sets, an error text."""

    model = "BOX"
    keywords = True
    terminators = b"\n"
    reply_terminator = b"\r"
    accepted = "1"
    unknown = "Err: Undefined header"

    def reset(self) -> None:
        self.level = 0.0

    @line("VOA:ATTen: {level:float}")
    def set_level(self, level: float) -> None:
        if not 1 <= level <= 20:
            raise Refusal("Err: Data out of range")
        self.level = level

    @line("VOA:ATTen?")
    def get_level(self) -> float:
        return self.level

    @line("REG {n:hex},{text:text}")
    def register(self, n: int, text: str) -> str:
        return f"{n}={text}"

    @line("MUTE")
    def mute(self) -> None:
        raise Refusal(None)


class TestLines:
    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("VOA:ATTen: 5.0", "1\r"), ("voa:att:5", "1\r"), ("VOA:ATTEN: 25", "Err: Data out of range\r"),
            ("VOA:ATT?", "0.000000e+00\r"), ("VOA:ATTE?", "Err: Undefined header\r"), ("REG 1f,a b", "31=a b\r"),
            ("MUTE", ""), ("", ""),
        ],
    )  # fmt: skip
    def test_dialect(self, text: str, expected: str) -> None:
        session = Bench(clock=ManualClock()).add(Box, "box").connect()
        session.feed(text.encode() + b"\n")
        assert b"".join(entry.data for entry in session.replies).decode() == expected

    def test_echo_and_prompt(self) -> None:
        class Chatty(Box):
            echo = True
            prompt = b"> "

        session = Bench(clock=ManualClock()).add(Chatty, "box").connect()
        session.feed(b"VOA:ATT")
        session.feed(b"?\nMUTE\n")
        assert b"".join(entry.data for entry in session.replies) == b"VOA:ATT?\n0.000000e+00\r> MUTE\n> "


class TestPorts:
    def test_light_is_pulled(self) -> None:
        out = LightOut(lambda t: Light(t * 1e-3, 1550e-9))
        seen = LightIn()
        assert seen.power(5.0) == 0.0
        assert out.dark(0.0)
        seen.connect(out)
        assert seen.power(5.0) == 5e-3
        seen.connect(None)
        assert seen.at(5.0).dark

    def test_voltages_are_vectors(self) -> None:
        out, seen = VoltageOut(lambda t: 2.0 * t), VoltageIn()
        np.testing.assert_array_equal(seen.samples(0.0, 10.0, 3), 0.0)
        seen.connect(out)
        np.testing.assert_allclose(seen.samples(1.0, 10.0, 3), [2.0, 2.2, 2.4])
        assert out.at(3.0) == seen.at(3.0) == 6.0
        np.testing.assert_allclose(out.samples(0.0, 1.0, 2), [0.0, 2.0])

    def test_the_power_meter_sees_its_input(self) -> None:
        bench = Bench(clock=ManualClock())
        meter = bench.add("thorlabs-pm100", "meter")
        source = meter.ports["input"]
        assert isinstance(source, LightIn)
        source.connect(lambda t: Light(1e-3, 1550e-9))
        assert float(Talk(meter).ask("MEAS:POW?")) == pytest.approx(1e-3, rel=1e-6)
        source.connect(lambda t: Light(1.0, 1550e-9))
        assert float(Talk(meter).ask("READ?")) > 1e30


class Lamp(Twin):
    """Light that is always there."""

    model = "LAMP"

    def setup(self) -> None:
        self.light_out("out", lambda t: Light(1e-3, 1.3e-6))


class TestControl:
    def test_requests(self) -> None:
        bench, bed = make_bench()
        bench.add(Lamp, "lamp")
        control = Control(bench)
        try:
            made = control.answer({"do": "fault", "target": "bed", "effect": "silent", "manual": True})
            assert made == {"ok": True, "id": 1}
            talk = Talk(bed)
            assert talk.ask("FUNC?") == "SIN"
            assert control.answer({"do": "switch", "id": 1}) == {"ok": True}
            assert talk.ask("FUNC?") == ""
            listed = control.answer({"do": "list"})
            assert listed["instruments"] == ["bed", "lamp"]
            assert listed["faults"] == [{"id": 1, "target": "bed", "effect": "silent", "matches": 1, "fired": 1}]
            assert control.answer({"do": "remove", "id": 1})["ok"]
            assert talk.ask("FUNC?") == "SIN"
            assert control.answer({"do": "advance", "seconds": 2.5}) == {"ok": True, "now": 2.5}
            assert control.answer({"do": "light", "target": "lamp"}) == {
                "ok": True, "dark": False, "outputs": {"out": {"power": 1e-3, "wavelength": 1.3e-6}},
            }  # fmt: skip
            bias = bench.add("thorlabs-mbx", "bias")
            volts = control.answer({"do": "voltage", "target": "bias"})["outputs"]
            assert volts == {"bias": {"lowest": 0.0, "highest": 0.0}}
            shine = {"do": "shine", "target": "bias", "power": 2e-3}
            assert control.answer(shine) == {"ok": True, "inputs": ["input"]}
            assert not bias.ports["output"].dark(0.0)  # type: ignore[union-attr]
            assert control.answer({"do": "fault", "target": "bed", "effect": "ignore"})["ok"]
            assert control.answer({"do": "clear"})["ok"]
            assert not bed.faults.armed
            for wrong in ({}, {"do": "x"}, {"do": "fault"}, {"do": "remove", "id": 9}, {"do": "light", "target": "no"}):
                assert not control.answer(wrong)["ok"]
            assert not control.answer_line(b"}{")["ok"]
            assert not control.answer_line(b"[]")["ok"]
        finally:
            control.close()

    def test_over_the_wire(self) -> None:
        bench, bed = make_bench(SystemClock())
        bench.routes["bed"] = ("socket",)
        with serve(bench, control=0) as served:
            address = ("127.0.0.1", served.summary()["control"])
            with socket.create_connection(address, timeout=3.0) as control, control.makefile("rb") as lines:
                control.sendall(b'{"do": "fault", "target": "bed", "effect": "close"}\n{"do": "advance"}\n')
                assert json.loads(lines.readline())["ok"]
                assert not json.loads(lines.readline())["ok"]
        assert bed.faults.armed
