"""The stack inside of one process: what goes on it, in which order it goes dark, what is refused."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labqdl.instruments import NotConfirmed, Refused
from labqdl.safety import Arming, DarkCheck, LightPath, SafeStack, Unsafe, UnsafeFile, process_guard
from labqdl.safety.darkening import Job, Way, darken
from labqdl.safety.stack import safe_sequence
from labqdl.transport import Line, RoadOptions, Transport, road_for
from tests.safety.bench.fake_drivers import Laser
from tests.safety.lamps import Lamp, RealLamp, guarded, refuse


@given(
    st.lists(st.tuples(st.sampled_from([10, 20, 30, 40, 50, 60, 70]), st.integers(0, 99)), unique_by=lambda one: one[1])
)
def test_order_is_safe_order_then_last_energised_first(pairs: list[tuple[int, int]]) -> None:
    found = [pairs[index] for index in safe_sequence(pairs)]
    assert sorted(found) == sorted(pairs)
    for before, after in itertools.pairwise(found):
        assert before[0] < after[0] or (before[0] == after[0] and before[1] > after[1])


@settings(max_examples=30)
@given(st.lists(st.sampled_from([10, 30, 60]), min_size=1, max_size=6), st.data())
def test_whatever_fails_all_are_tried_in_order(orders: list[int], data: st.DataObject) -> None:
    log: list[str] = []
    lamps = [Lamp(f"{index}", order, log) for index, order in enumerate(orders)]
    failing = data.draw(st.sets(st.integers(0, len(orders) - 1)))
    for index in failing:
        lamps[index].trouble = refuse
    stack = guarded(*lamps, effort=0.0)
    switched = data.draw(st.permutations(lamps))
    for lamp in switched:
        lamp.on()
    expected = [switched[index] for index in safe_sequence((lamp.safe_order, n) for n, lamp in enumerate(switched))]
    assert list(stack.energised) == expected
    outcomes = stack.make_safe()
    assert [one.name for one in outcomes] == [lamp.name for lamp in expected]
    assert list(dict.fromkeys(log)) == [lamp.name for lamp in expected]
    assert {one.name for one in outcomes if not one.safe} == {f"{index}" for index in failing}
    assert {lamp.name for lamp in lamps if lamp.lit} == {f"{index}" for index in failing}
    assert set(stack.energised) == {lamps[index] for index in failing}


def test_only_what_was_energised_is_touched_and_only_once() -> None:
    one, other = Lamp("one"), Lamp("other")
    stack = guarded(one, other)
    one.on()
    one.on()
    assert stack.energised == (one,)
    assert [str(outcome).split(":")[0] for outcome in stack.make_safe()] == ["one"]
    assert not one.energised
    assert stack.make_safe() == ()
    one.on()
    assert one.lit
    stack.leave_on(one)
    assert stack.finish() == ()
    assert one.lit


def test_one_that_hangs_is_given_up_and_the_next_does_not_wait_for_it() -> None:
    release = threading.Event()
    hanging, laser = Lamp("hanging", 10), Lamp("laser", 60)
    hanging.trouble = lambda: release.wait(60)
    stack = guarded(hanging, laser)
    hanging.on()
    laser.on()
    start = time.monotonic()
    first, second = stack.make_safe()
    release.set()
    assert not first.safe
    assert "hung for more than 0.2 s" in first.problem
    assert second.safe
    assert second.seconds < 3 * 0.05
    assert time.monotonic() - start < 3 * (0.2 + 0.2 + 0.1)


def wait(event: threading.Event) -> None:
    event.wait(60)


def test_way_without_a_sign_is_given_up_before_the_deadline() -> None:
    """A dead connection must not cost the whole deadline: the fresh one comes after the way's own patience."""
    release = threading.Event()
    ways = (Way("present", lambda: wait(release), patience=0.1), Way("fresh", lambda: None))
    (outcome,) = darken([Job("one", "", ways, deadline=30.0)])
    release.set()
    assert (outcome.safe, outcome.way) == (True, "fresh")
    assert 0.1 <= outcome.seconds < 3.0


def test_safe_state_that_is_confirmed_late_counts() -> None:
    late = Lamp("late")
    entered = threading.Event()

    def trouble() -> None:
        if not entered.is_set():
            entered.set()
            threading.Event().wait(0.3)
        else:
            refuse()

    late.trouble = trouble
    stack = guarded(late, deadline=0.1, effort=1.0)
    late.on()
    (outcome,) = stack.make_safe()
    assert outcome.safe


def test_no_thread_can_be_started_is_an_outcome(monkeypatch: pytest.MonkeyPatch) -> None:
    class NoWorkers:
        def run(self, call: object) -> None:
            raise RuntimeError("can't create new thread at interpreter shutdown")

    (outcome,) = darken([Job("one", "", (Way("way", refuse),))], workers=NoWorkers())  # type: ignore[arg-type]
    assert "can't create new thread" in outcome.problem


def test_leaving_the_block_goes_dark_and_tells_what_did_not(tmp_path: Path) -> None:
    good, bad = Lamp("good", 60), Lamp("bad", 10)
    bad.trouble = refuse
    path = tmp_path / "state" / "UNSAFE"

    def script() -> None:
        with guarded(good, bad, unsafe=path):
            good.on()
            bad.on()
            raise KeyError("mistake")

    with pytest.raises(Unsafe, match=r"bad: NOT confirmed safe.*it still shines.*acknowledge") as caught:
        script()
    assert caught.value.exit_code == 70
    assert isinstance(caught.value.__context__, KeyError)
    assert not good.lit
    (entry,) = UnsafeFile(path).entries()
    assert (entry.name, entry.recipe) == ("bad", None)
    assert "it still shines" in entry.why
    later = Lamp("later")
    guarded(later, unsafe=path)
    with pytest.raises(Refused, match="bad could not be made safe before"):
        later.on()
    assert not later.lit
    assert UnsafeFile(path).acknowledge()
    later.on()


def test_full_disk_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    bad = Lamp("bad")
    bad.trouble = refuse
    stack = guarded(bad, unsafe=tmp_path / "file" / "UNSAFE")
    bad.on()
    with pytest.raises(Unsafe, match="could not be written"):
        stack.finish()


def test_real_instruments_need_arming_and_simulated_ones_do_not() -> None:
    real, simulated = RealLamp("real"), Lamp("simulated")
    guarded(real, simulated, arming=Arming(False, "nobody gave --arm"))
    with pytest.raises(Refused, match=r"real instrument \(TCPIP0::10.*nobody gave --arm.*may be there$"):
        real.on()
    assert not real.energised
    simulated.on()


def test_a_loopback_address_needs_arming_unless_it_is_declared_simulated() -> None:
    """It may be the end of a tunnel to a laser."""
    tunnel, declared = RealLamp("tunnel"), RealLamp("declared")
    tunnel.resource = declared.resource = "TCPIP0::127.0.0.1::5025::SOCKET"
    guarded(tunnel, declared, arming=Arming(False, "nobody gave --arm"), simulated=[declared])
    with pytest.raises(Refused, match=r"nobody gave --arm.*'simulated = true'"):
        tunnel.on()
    declared.on()
    assert (tunnel.lit, declared.lit) == (False, True)


def test_what_the_watchdog_could_not_make_safe_is_not_switched_on() -> None:
    real = RealLamp("real")
    guarded(real, watchdog=True)
    with pytest.raises(Refused, match="nobody could make it safe after a crash"):
        real.on()


def test_nothing_is_switched_on_after_the_end_nor_while_it_goes_dark() -> None:
    one, two = Lamp("one"), Lamp("two")
    stack = guarded(one, two)
    refused: list[str] = []

    def try_again() -> None:
        try:
            two.on()
        except Refused as error:
            refused.append(str(error))

    one.trouble = try_again
    one.on()
    stack.finish()
    assert "while everything is made safe" in refused[0]
    with pytest.raises(Refused, match="has finished"):
        one.on()
    assert not one.is_open


def test_barriers_close_with_their_source_and_the_meter_has_the_last_word(tmp_path: Path) -> None:
    laser, shutter = Lamp("laser", 60), Lamp("shutter", 20)
    readings = [1.0, 1e-3, 1e-9]

    class Meter(Lamp):
        @property
        def power(self) -> float:
            return readings.pop(0) if len(readings) > 1 else readings[0]

    check = DarkCheck("probe", Meter("meter"), "power", 1e-6)
    stack = guarded(laser, paths=[LightPath("probe", laser, (shutter,), (check,))], effort=2.0, unsafe=tmp_path / "U")
    laser.on()
    assert stack.energised == (shutter, laser)
    assert [(one.name, one.safe) for one in stack.make_safe()] == [
        ("shutter", True),
        ("laser", True),
        ("light path probe", True),
    ]
    readings[:] = [1e-3]
    laser.on()
    stack._effort = 0.1
    with pytest.raises(Unsafe, match=r"light path probe: NOT confirmed safe.*still reads power = 0\.001"):
        stack.finish()


def test_meter_without_a_number_sees_no_darkness() -> None:
    class Meter(Lamp):
        power = float("nan")

    with pytest.raises(NotConfirmed, match="still reads power = nan"):
        DarkCheck("probe", Meter("meter"), "power", 1e-6).confirm()
    with pytest.raises(NotConfirmed, match="no part 'channel 3'"):
        DarkCheck("probe", Meter("meter"), "channel 3.power", 1e-6).confirm()


def test_second_request_while_it_goes_dark_does_not_interrupt(tmp_path: Path) -> None:
    """The signal comes in the middle; KeyboardInterrupt comes afterwards, when all is dark."""
    lamp = Lamp("lamp")
    said: list[str] = []
    stack = guarded(lamp, handlers=True, notify=said.append)
    lamp.trouble = lambda: os.kill(os.getpid(), signal.SIGINT)
    before = signal.getsignal(signal.SIGINT)

    def script() -> None:
        with stack:
            lamp.on()
            assert signal.getsignal(signal.SIGINT) != before

    with pytest.raises(KeyboardInterrupt):
        script()
    assert not lamp.lit
    assert signal.getsignal(signal.SIGINT) == before
    assert any("not interrupted" in words for words in said)


def test_foreign_handlers_are_asked_and_given_back() -> None:
    lamp, asked = Lamp("lamp"), []
    before = signal.signal(signal.SIGTERM, lambda number, frame: asked.append(number))
    try:
        mine = signal.getsignal(signal.SIGTERM)
        with guarded(lamp, handlers=True) as stack:
            lamp.on()
            os.kill(os.getpid(), signal.SIGTERM)
            assert asked == [signal.SIGTERM]
            with pytest.raises(Refused, match="a stop was requested"):
                lamp.energising("output")
            stack.allow_again()
            lamp.energising("output")
        assert signal.getsignal(signal.SIGTERM) == mine
    finally:
        signal.signal(signal.SIGTERM, before)


def test_handlers_are_left_alone_outside_of_the_main_thread() -> None:
    lamp = Lamp("lamp")
    before = signal.getsignal(signal.SIGINT)
    stack = guarded(lamp, handlers=True)
    thread = threading.Thread(target=lamp.on)
    thread.start()
    thread.join()
    assert lamp.lit
    assert signal.getsignal(signal.SIGINT) == before
    stack.finish()


def test_guard_costs_nothing_before_something_shines() -> None:
    before, threads = signal.getsignal(signal.SIGINT), threading.active_count()
    stack = SafeStack()
    Laser("TCPIP0::10.0.0.5::5025::SOCKET").guard = stack
    assert stack.watchdog_pid is None
    assert signal.getsignal(signal.SIGINT) == before
    assert threading.active_count() == threads


def test_drivers_of_scripts_have_the_guard_of_the_process() -> None:
    code = (
        "from labqdl.safety import process_guard; from tests.safety.bench.fake_drivers import Laser\n"
        "laser = Laser('TCPIP0::10.0.0.5::5025::SOCKET'); assert laser.guard is process_guard() is not None\n"
        "laser.guard = None; assert laser.guard is None"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[2], timeout=60)
    assert process_guard() is None, "tests of drivers switch it off"


def test_process_guard_leaves_alone_what_dies_with_the_process() -> None:
    options = RoadOptions()
    transport = Transport(road_for("loop://", options), Line(), name="loop", resource="loop://")
    laser = Laser(transport)
    stack = SafeStack(only_outside=True)
    stack.energising(laser, "output")
    assert stack.energised == ()
