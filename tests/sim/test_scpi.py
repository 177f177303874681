"""SCPI over IEEE 488.2: tokens, headers, arguments, errors and status of a twin."""

from __future__ import annotations

import math
import random
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labqdl.clock import ManualClock
from labqdl_sim.kinds import Number
from labqdl_sim.scpi import Param, ScpiTwin
from labqdl_sim.tokens import block, divide, find_stop
from labqdl_sim.tree import Tree, expand
from tests.sim.benches import Bed, Talk, make_bench

PLAIN = st.text(st.characters(codec="ascii", exclude_characters="\"'#;\n"), max_size=8).map(str.encode)
QUOTED = st.text(st.characters(codec="ascii"), max_size=8).map(lambda t: b'"' + t.encode().replace(b'"', b'""') + b'"')
SINGLE = st.text(st.characters(codec="ascii"), max_size=8).map(lambda t: b"'" + t.encode().replace(b"'", b"''") + b"'")
BLOCKS = st.binary(max_size=40).map(block).map(lambda b: b" " + b)
PIECES = st.lists(st.one_of(PLAIN, QUOTED, SINGLE, BLOCKS), max_size=6).map(b"".join)


class TestTokens:
    @given(st.lists(PIECES, min_size=1, max_size=5))
    def test_stops_are_found_outside_of_strings_and_blocks_only(self, units: list[bytes]) -> None:
        assert divide(b";".join(units), b";") == units

    @given(st.lists(PIECES, min_size=1, max_size=4), st.randoms(use_true_random=False))
    @settings(max_examples=60)
    def test_messages_do_not_depend_on_how_the_bytes_arrive(self, messages: list[bytes], rng: random.Random) -> None:
        _, bed = make_bench()
        whole = b"".join(message + b"\n" for message in messages)
        session, seen = bed.connect(), []
        position = 0
        while position < len(whole):
            step = rng.randint(1, len(whole) - position)
            session.buffer += whole[position : position + step]
            position += step
            while (message := bed.split(session, False)) is not None:
                seen.append(message)
        assert seen == messages
        assert not session.buffer

    @given(st.binary(max_size=200), st.booleans())
    @settings(max_examples=300)
    def test_any_bytes_are_survived(self, data: bytes, end: bool) -> None:
        _, bed = make_bench()
        session = bed.connect(exchange=True)
        session.feed(data, end)
        session.clear()
        session.feed(b"*CLS;*IDN?\n", True)
        assert session.replies[0].data == b"LABQDL,BED,000001,1.0\n"

    def test_a_block_that_is_still_coming_is_not_scanned_again(self) -> None:
        assert find_stop(b"D #3100" + bytes(10), 0, b"\n") == (-1, 2, 107)

    def test_end_closes_what_is_open(self) -> None:
        _, bed = make_bench()
        session = bed.connect(exchange=True)
        session.feed(b'LAB "open', True)
        session.feed(b"TRAC:DATA 'w',#15abc", True)
        session.feed(b"SYST:ERR?;ERR?", True)
        assert session.replies[0].data == b'-151,"Invalid string data";-161,"Invalid block data"\n'


class TestHeaders:
    def test_spellings(self) -> None:
        spelled = {":".join(word.long for word in words) for words in expand("[SENSe:]POWer[:DC][:UPPer]")}
        assert len(spelled) == 8
        assert {"SENSE:POWER", "POWER:DC:UPPER", "POWER"} <= spelled

    @pytest.mark.parametrize("pattern", ["A[B", "A]", "A:?B", "lower"])
    def test_wrong_patterns(self, pattern: str) -> None:
        with pytest.raises(ValueError, match=re.escape(pattern)):
            Tree().add(pattern, 1)

    @pytest.mark.parametrize("header", ["SOUR:POW", "sour1:power:level", ":SOURCE1:POW:LEV:IMM", "Sour01:pow:imm"])
    def test_short_and_long_forms_in_any_case(self, header: str) -> None:
        _, bed = make_bench()
        assert Talk(bed).ask(f"{header} 3;:SOUR:POW?") == "3.00000000E+00"

    @pytest.mark.parametrize(
        ("text", "code"),
        [
            ("SOURC:POW?", -113), ("SOUR3:POW?", -114), ("SO!:X", -102), ("SOUR:POW", -109), ("SOUR:POW 1,2", -108),
            ("SOUR:POW 99", -222), ("SOUR:POW abc", -104), ("SOUR:POW 1.2.3", -120), ("SOUR:POW 1V", -131),
            ("TRAC:POIN 5S", -138), ("SOUR:POW 1E99999", -123), ("FUNC TRI", -224), ('FUNC "SIN"', -104),
            ("LAB none", -104), ("CONF", -221), ("TRAC:COD 1,99", -222), ("TRAC:COD 1,,2", -109), ("SWE 1", -108),
            ("TRAC:DATA 'x',5", -104), ("MATH:SUM?", -109), ("OUTP 2X", -224), ("SOUR:POW?MAX", -102), ("*FOO", -113),
        ],
    )  # fmt: skip
    def test_errors(self, text: str, code: int) -> None:
        _, bed = make_bench()
        talk = Talk(bed)
        assert talk.ask(text) == ""
        assert talk.error() == code
        assert talk.error() == 0

    def test_compound_paths(self) -> None:
        _, bed = make_bench()
        talk = Talk(bed)
        assert talk.ask("SOUR2:POW 4;*CLS;WAV 1560NM;POW?;:SOUR:POW?") == "4.00000000E+00;0.00000000E+00"
        assert talk.ask("SOUR2:WAV?") == "1.56000000E-06"
        assert talk.ask("SOUR:POW:LEV 1;IMM 2;LEV?") == "2.00000000E+00"

    def test_after_a_command_error_the_rest_is_dropped_and_after_an_execution_error_not(self) -> None:
        _, bed = make_bench()
        talk = Talk(bed)
        assert talk.ask("SOUR:POW 1;NOPE;POW 2;POW?") == ""
        assert talk.ask("SOUR:POW?") == "1.00000000E+00"
        assert talk.ask("SOUR:POW 99;POW?") == "1.00000000E+00"

    def test_prefixes_between_short_and_long(self) -> None:
        tree = Tree(prefixes=True)
        tree.add("DEVIce:CONFigure<n>:LOAD", "hit")
        assert all(tree.find(f"{h}:LOAD") for h in ("DEVI:CONF", "devic:confi", "DEVICE:CONFIGURE", "DEVI:CONFIG3"))
        assert not any(tree.find(f"{h}:LOAD") for h in ("DEV:CONF", "DEVICES:CONF", "DEVI:CON"))

    def test_a_subclass_replaces_adds_and_removes(self) -> None:
        class Other(Bed):
            without = ("SYSTem:ERRor",)
            level = Param("SOURce<ch>:POWer[:LEVel]", Number("W", (0.0, 1.0)), 0.5)

        bench, _ = make_bench()
        talk = Talk(bench.add(Other, "other"))
        assert talk.ask("SOUR:POW 10MW;POW?") == "1.00000000E-02"
        assert talk.ask("SYST:ERR?") == ""
        assert talk.ask("*ESR?") == str(128 | 32)


class TestArguments:
    @pytest.mark.parametrize(
        ("text", "value"),
        [
            ("1", 1.0), ("+1.5E0", 1.5), (".5", 0.5), ("1 DBM", 1.0), ("1DBM", 1.0), ("2mW", 3.0102999566),
            ("MAX", 13.0), ("MINimum", -10.0), ("DEF", 0.0), ("#HA", 10.0), ("#B11", 3.0), ("1000uW", 0.0),
        ],
    )  # fmt: skip
    def test_numbers(self, text: str, value: float) -> None:
        _, bed = make_bench()
        assert Talk(bed).ask(f"SOUR:POW 5;POW {text};:SYST:ERR?") == '+0,"No error"'
        assert bed.level == pytest.approx(value)

    @pytest.mark.parametrize(
        ("unit", "text", "value"),
        [
            ("NM", "1550", 1550.0), ("NM", "1.55UM", 1550.0), ("M", "1550NM", 1.55e-6), ("HZ", "10MHZ", 1e7),
            ("OHM", "1MOHM", 1e6), ("S", "2MS", 2e-3), ("W", "0DBM", 1e-3), ("MW", "3DBM", 1.99526231497),
            ("A", "5MA", 5e-3),
        ],
    )  # fmt: skip
    def test_units(self, unit: str, text: str, value: float) -> None:
        _, bed = make_bench()
        read = Number(unit).parse(bed, text.encode())
        assert read == pytest.approx(value, rel=1e-9)

    def test_limits_on_request(self) -> None:
        _, bed = make_bench()
        talk = Talk(bed)
        assert talk.ask("SOUR:POW? MIN;POW? MAX;POW? DEF;:TRAC:POIN? MAX") == (
            "-1.00000000E+01;1.30000000E+01;0.00000000E+00;100"
        )

    def test_words_strings_lists_and_optional_arguments(self) -> None:
        _, bed = make_bench()
        talk = Talk(bed)
        assert talk.ask("FUNC SQUARE;FUNC?;:OUTP ON;OUTP?;OUTP 0;OUTP?") == "SQU;1;0"
        assert talk.ask('LAB "a;""b""";LAB?') == '"a;""b"""'
        assert talk.ask("TRAC:COD 1,-2, 3;COD?") == "1,-2,3"
        assert talk.ask("MATH:SUM? 4;SUM? 4,5") == "5;9"
        talk.write("ANY 12.5E3V")
        assert bed.loaded == b"12.5E3V"

    @given(st.binary(max_size=300))
    def test_blocks_come_back_as_they_went(self, data: bytes) -> None:
        _, bed = make_bench()
        talk = Talk(bed)
        talk.session.feed(b"TRAC:DATA 'x'," + block(data) + b";DATA?\n")
        assert talk.session.replies[0].data == block(data) + b"\n"


class TestStatus:
    def test_common_commands(self) -> None:
        _, bed = make_bench()
        talk = Talk(bed)
        assert talk.ask("*ESR?;*ESR?") == "128;0"
        assert talk.ask("*ESE 60;*ESE?;*SRE 255;*SRE?;*TST?;*OPC?") == "60;191;0;1"
        assert talk.ask("NOPE") == ""
        assert talk.ask("*STB?") == str(4 | 32 | 64)
        assert talk.ask("*CLS;*STB?;SYST:ERR:COUN?;:SYST:VERS?") == "0;0;1999.0"

    def test_queue_overflows_at_its_end(self) -> None:
        _, bed = make_bench()
        talk = Talk(bed)
        for _ in range(6):
            talk.write("CONF")
        assert talk.ask("SYST:ERR:COUN?") == "4"
        assert [talk.error() for _ in range(5)] == [-221, -221, -221, -350, 0]

    def test_reset_spares_status_and_what_is_kept(self) -> None:
        _, bed = make_bench()
        talk = Talk(bed)
        talk.write("SOUR2:POW 5;:LAB 'mine';NOPE;")
        assert talk.ask("*RST;:SOUR2:POW?;:LAB?;:SYST:ERR?") == '0.00000000E+00;"mine";-113,"Undefined header"'

    def test_registers_latch_transitions(self) -> None:
        class Lit(Bed):
            bits = 0

            def condition(self, register: str) -> int:
                return self.bits if register == "QUEStionable" else 0

        bench, _ = make_bench()
        bed = bench.add(Lit, "lit")
        assert isinstance(bed, Lit)
        talk = Talk(bed)
        talk.write("STAT:QUES:ENAB 2;:STAT:QUES:NTR 4")
        bed.bits = 6
        assert talk.ask("*STB?;:STAT:QUES:COND?;:STAT:QUES?;:STAT:QUES?") == "8;6;6;0"
        bed.bits = 0
        assert talk.ask("STAT:QUES:EVEN?;:STAT:PRES;:STAT:QUES:ENAB?;NTR?;PTR?") == "4;0;0;32767"

    def test_overlapped_operations(self) -> None:
        clock = ManualClock()
        _, bed = make_bench(clock)
        talk = Talk(bed)
        talk.write("*CLS;SWE;*OPC")
        assert talk.ask("*ESR?") == "0"
        clock.advance(3.0)
        assert talk.ask("*ESR?") == "1"
        talk.write("SWE:FAST;*WAI;:FUNC?")
        assert talk.session.ready_at() == pytest.approx(4.0)
        talk.session.discard()
        talk.write("SOUR:WAV 1.56E-6;*OPC?")
        assert talk.session.ready_at() == pytest.approx(4.5)

    def test_settling_is_a_function_of_time(self) -> None:
        clock = ManualClock()
        _, bed = make_bench(clock)
        talk = Talk(bed)
        talk.write("SOUR:POW 10")
        assert [Bed.level.actual(bed, t, 1) for t in (0.0, 0.2, 9.0)] == pytest.approx(
            [0.0, 10 * (1 - math.exp(-1)), 10]
        )
        clock.advance(0.2)
        assert talk.ask("READ:POW?;:SOUR:POW?") == "6.32120559E+00;1.00000000E+01"
        talk.write("SOUR:POW -5")  # on its way: it turns round where it is
        assert bed.level == -5.0
        assert Bed.level.actual(bed, 0.2, 1) == pytest.approx(10 * (1 - math.exp(-1)))

    def test_message_exchange_errors(self) -> None:
        _, bed = make_bench()
        talk = Talk(bed, exchange=True)
        talk.write("*IDN?")
        assert talk.ask("FUNC?;:SYST:ERR?") == 'SIN;-410,"Query INTERRUPTED"'
        talk.session.unanswered()
        assert talk.error() == -420
        bed.output_limit = 20
        assert talk.ask("*IDN?;*IDN?") == ""
        assert talk.error() == -430

    def test_a_blocked_parser_is_freed_by_device_clear(self) -> None:
        _, bed = make_bench()
        talk = Talk(bed)
        talk.write("ACQ:BLOC;*IDN?")
        talk.write("*IDN?")
        assert talk.session.ready_at() == math.inf
        talk.session.clear()
        talk.write("*OPC?")
        assert talk.session.ready_at() == 0.0

    def test_the_sheet_decides_on_codes_and_texts(self) -> None:
        class Odd(ScpiTwin):
            error_codes = {-113: 113}  # noqa: RUF012
            error_texts = {113: "What?", 0: "All is well"}  # noqa: RUF012
            error_format = "{code},'{text}'"

            def number(self, value: float) -> str:
                return f"{value:+.3E}"

        bench, _ = make_bench()
        talk = Talk(bench.add(Odd, "odd", model="ODD"))
        assert talk.ask("SYST:ERR?;:NOPE") == "0,'All is well'"
        assert talk.ask("SYST:ERR?") == "113,'What?'"

    def test_replies_with_headers(self) -> None:
        _, bed = make_bench()
        bed.headers = True
        talk = Talk(bed)
        for _ in range(3):
            assert talk.ask("SOUR2:POW?") == ":SOURCE2:POWER 0.00000000E+00"
        assert talk.ask("FUNC?;:OUTP?") == ":FUNCTION SIN;:OUTPUT 0"

    def test_announcements_are_overtaken_by_replies(self) -> None:
        clock = ManualClock()
        _, bed = make_bench(clock)
        session = bed.connect()
        session.announce(b"moved", 2.0)
        session.feed(b"FUNC?\n")
        assert [(reply.data, reply.ready_at) for reply in session.replies] == [(b"SIN\n", 0.0), (b"moved", 2.0)]
        assert bytes(session.read(1)[0]) == b"S"
        clock.advance(1.0)
        session.feed(b"FUNC?\n")
        assert [reply.data for reply in session.replies] == [b"SIN\n", b"SIN\n", b"moved"]
