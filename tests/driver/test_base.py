"""What all drivers share: how completion is known, who is asked before light, what a reopened connection must be."""

from __future__ import annotations

import pytest

from labqdl.errors import InputError
from labqdl.instruments import NotACapability, NotConfirmed, Refused, SettingsChanged
from labqdl.transport import InstrumentError, TransportTimeout
from tests.driver.toys import IDN, Toy, Watchman, opened


def test_settling_is_waited_for_on_the_clock() -> None:
    toy, transport = opened((b"RES 1\n", None))
    toy.rested = 1.0
    assert toy.clock.monotonic() == pytest.approx(0.7)
    transport.finish()


def test_reading_back_within_a_tolerance() -> None:
    toy, transport = opened((b"HEL 1\n", None), (b"HEL?\n", b"0.5\n"), (b"HEL?\n", b"0.98\n"), (b"HEL?\n", b"0.995\n"))
    toy.held = 1.0
    assert toy.clock.monotonic() == pytest.approx(0.2)
    transport.finish()
    toy, _ = opened((b"HEL 1\n", None), also={b"HEL?\n": b"0.5\n"})
    with pytest.raises(NotConfirmed, match=r"toy: held was set to 1 V and reads 0\.5 V after 1 s"):
        toy.held = 1.0
    assert toy.clock.monotonic() == pytest.approx(1.0, abs=0.11)


def test_waiting_for_a_condition() -> None:
    toy, _ = opened(*[(b"PLA?\n", b"1\n")] * 3, (b"PLA?\n", b"2\n"))
    toy.wait_until(lambda: toy.plain == 2.0, 5.0, "reach 2 V", interval=0.5)
    assert toy.clock.monotonic() == pytest.approx(1.5)
    with pytest.raises(NotConfirmed, match="toy: it was expected to freeze within 2 s and did not"):
        toy.wait_until(lambda: False, 2.0, "freeze")


def test_the_guard_is_asked_before_a_byte_and_only_for_light() -> None:
    toy, transport = opened((b"OUTP 0\n", None))
    toy.guard = guard = Watchman(refuses=True)
    before = transport.traffic
    with pytest.raises(Refused):
        toy.light = True
    assert transport.traffic == before
    assert not toy.energised
    with pytest.raises(InputError):
        toy.light = 1  # type: ignore[assignment] # a wrong value asks nobody
    toy.light = False
    assert guard.asked == ["toy.light"]
    transport.finish()


def test_an_error_in_a_with_block_darkens_what_was_energised() -> None:
    off = ((b"OUTP 0\n", None), (b"OUTP?\n", b"0\n"))
    toy, transport = opened((b"OUTP 1\n", None), *off)

    def fail() -> None:
        with toy:
            toy.light = True
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    transport.finish()
    toy, transport = opened((b"OUTP 1\n", None))
    with toy:
        toy.light = True
    transport.finish()


def lose(toy: Toy) -> None:
    with pytest.raises(TransportTimeout):
        _ = toy.both


SILENCE = (b"PLA?\n", None)


def test_a_reopened_connection_is_looked_at_before_it_is_used() -> None:
    toy, transport = opened(
        (b"PLA 3\n", None),
        (b"OUTP 1\n", None),
        SILENCE,
        IDN,
        (b"PLA?\n", b"3.0000001\n"),
        (b"OUTP?\n", b"1\n"),
        (b"COUN?\n", b"2\n"),
    )
    toy.plain = 3.0
    toy.light = True
    lose(toy)
    assert toy.count == 2
    transport.finish()


def test_another_box_behind_the_same_name_is_not_carried_on_with() -> None:
    toy, transport = opened(SILENCE, (b"*IDN?\n", b"Acme,Toy 1,008,1.0\n"), (b"*IDN?\n", b"Acme,Toy 1,008,1.0\n"))
    lose(toy)
    for _ in range(2):
        with pytest.raises(SettingsChanged, match="another instrument answers now"):
            _ = toy.count
    assert transport.is_dirty
    transport.finish()


def test_a_box_that_was_switched_off_and_on_is_not_carried_on_with() -> None:
    toy, transport = opened((b"PLA 3\n", None), SILENCE, IDN, (b"PLA?\n", b"0\n"))
    toy.plain = 3.0
    lose(toy)
    with pytest.raises(SettingsChanged, match="after the connection was lost plain is 0 and not 3 V"):
        _ = toy.count
    transport.finish()


def test_a_switch_that_differs_is_told_without_a_unit() -> None:
    toy, transport = opened((b"OUTP 1\n", None), SILENCE, IDN, (b"OUTP?\n", b"0\n"))
    toy.light = True
    lose(toy)
    with pytest.raises(SettingsChanged, match=r"light is False and not True\. Look at the instrument"):
        _ = toy.count
    transport.finish()


def test_what_is_compared_is_what_the_digits_on_the_wire_said() -> None:
    toy, transport = opened((b"WAV 1550.1235\n", None), SILENCE, IDN, (b"WAV?\n", b"1550.1235\n"), (b"COUN?\n", b"2\n"))
    toy.wavelength = 1550.12346789e-9
    lose(toy)
    assert toy.count == 2
    transport.finish()


def test_a_safe_state_does_not_ask_whether_it_is_the_same() -> None:
    toy, transport = opened(
        (b"OUTP 1\n", None),
        SILENCE,
        (b"OUTP 0\n", None),
        (b"OUTP?\n", b"0\n"),
        SILENCE,
        IDN,
        (b"OUTP?\n", b"0\n"),
        (b"COUN?\n", b"2\n"),
    )
    toy.light = True
    lose(toy)
    toy.safe_state()
    lose(toy)
    assert toy.count == 2, "dark is what it was left as"
    transport.finish()


def test_all_steps_of_a_safe_state_are_taken() -> None:
    toy, transport = opened((b"BEEP\n", None))
    done = []

    def fail() -> None:
        raise NotConfirmed("first")

    def worse() -> None:
        raise InstrumentError("second")

    with pytest.raises(NotConfirmed, match="first"):
        toy.try_all(fail, toy.beep, worse, lambda: done.append("last"))
    assert done == ["last"]
    transport.finish()


def test_a_snapshot_reads_all_and_names_what_failed() -> None:
    queries = ("PLA", "POW", "COUN", "REV", "WAI", "HEL", "RES", "TWI", "FIX", "CH1:LEV", "CH2:LEV")
    answers = {f"{query}?\n".encode(): b"1\n" for query in queries}
    answers |= {
        b"WAV?\n": b"1550\n",
        b"TEMP?\n": b"20 C\n",
        b"PAIR?\n": b"1,2\n",
        b"UNIT?\n": b"0\n",
        b"EIT?\n": b"0\n",
    }
    answers |= {
        b"OUTP?\n": b"1\n",
        b"COL?\n": b"RED\n",
        b"LAB?\n": b'"a"\n',
        b"POW?\n": b"9.91E37\n",
        b"IMP?\n": b"50\n",
    }
    toy, _ = opened(also=answers)
    toy.lacking = "not bought"
    toy.clock.sleep(5.0)
    found = toy.snapshot()
    assert found["channel 2.level"].value == 1.0
    assert found["channel 2.level"].unit == "V"
    assert found["plain"].time == 5.0
    assert found["power"].value is None
    assert "has no value now" in str(found["power"].problem)
    assert "option" not in found
    assert [name for name, one in found.items() if one.problem] == ["power"]
    with pytest.raises(NotACapability):
        _ = toy.option
