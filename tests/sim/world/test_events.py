"""What happens to parts of the world: told in process, through the control port, and through a socket."""

from __future__ import annotations

import json
import socket
from typing import Any

import numpy as np
import pytest

from labqdl.clock import ManualClock
from labqdl.errors import InputError
from labqdl_sim.bench import Bench
from labqdl_sim.control import Control
from labqdl_sim.faults import happen
from labqdl_sim.ports import Light
from labqdl_sim.serve import serve
from labqdl_sim.twins.thorlabs_osw import ThorlabsOsw
from labqdl_sim.world import World
from labqdl_sim.world.attach import TwinPart, with_ports
from labqdl_sim.world.kinds import kinds, part_class
from labqdl_sim.world.sources import Laser
from tests.sim.world.parts import empty, exact, pulled


def table() -> tuple[Bench, Control]:
    """A laser and a fibre, and the control channel of their bench."""
    bench = Bench(clock=ManualClock())
    bench.world = world = empty()
    exact(world, "laser", power=1e-3, rin=0.0, linewidth=0.0)
    exact(world, "fibre", loss_db=3.0)
    world.link("laser", "fibre")
    return bench, Control(bench)


@pytest.fixture
def told() -> Any:
    """(world, function that sends one request and gives its reply)."""
    bench, control = table()
    assert bench.world is not None
    yield bench.world, control.answer
    control.close()


def test_the_control_channel_names_parts_and_breaks_them(told: Any) -> None:
    _, answer = told
    parts = answer({"do": "world"})["parts"]
    assert parts["fibre"]["kind"] == "fibre"
    assert "broken" in parts["fibre"]["faults"]
    lit = answer({"do": "world", "part": "fibre", "light": "output"})
    assert lit["power"] == pytest.approx(1e-3 * 10**-0.3, rel=1e-9)
    assert lit["wavelength"] == 1550e-9
    assert answer({"do": "world", "part": "fibre", "set": {"broken": 1}}) == {"ok": True}
    assert answer({"do": "world", "part": "fibre", "light": "output"})["power"] == 0.0
    assert answer({"do": "world", "part": "fibre", "mend": "broken"}) == {"ok": True}
    assert answer({"do": "world", "part": "fibre", "light": "output"})["power"] == lit["power"]
    answer({"do": "world", "part": "laser", "set": {"power_drop_db": 10, "mode_hop": 1e9}, "start": -1.0})
    assert answer({"do": "world", "part": "fibre", "light": "output"})["power"] == pytest.approx(lit["power"] / 10)
    answer({"do": "world", "part": "laser", "mend": True})
    assert answer({"do": "world", "part": "fibre", "light": "output"})["power"] == lit["power"]
    answer({"do": "world", "part": "fibre", "set": {"loss_db": 13.0}})
    assert answer({"do": "world", "part": "fibre", "light": "output"})["power"] == pytest.approx(lit["power"] / 10)


def test_what_is_to_happen_soon_happens_at_the_bench_s_time() -> None:
    bench, control = table()
    assert isinstance(bench.clock, ManualClock)
    bench.clock.advance(10.0)
    assert control.answer({"do": "world"})["now"] == bench.clock.monotonic()
    assert control.answer({"do": "world", "part": "fibre", "set": {"broken": 1}, "after": 0.5}) == {"ok": True}
    lit = []
    for _ in range(3):
        lit.append(control.answer({"do": "world", "part": "fibre", "light": "output"})["power"] > 0.0)
        bench.clock.advance(0.3)
    assert lit == [True, True, False]
    control.close()


def test_the_truth_stays_where_it_is(told: Any) -> None:
    world, answer = told
    said = json.dumps(answer({"do": "world"}))
    assert all(str(value) not in said for part in world.truth().values() for value in part.values() if value > 1)


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        ({"part": "fiber", "set": {"broken": 1}}, "Did you mean 'fibre'"),
        ({"part": "fibre", "set": {"brocken": 1}}, "broken"),
        ({"part": "fibre", "set": {"broken": "yes"}}, "finite number"),
        ({"part": "fibre", "set": {"broken": float("nan")}}, "finite number"),
        ({"part": "fibre", "set": {"loss_db": 3.0}, "start": 1.0}, "for a while"),
        ({"part": "fibre"}, "set or mend"),
        ({"part": "fibre", "set": {"broken": 1}, "mend": True}, "set or mend"),
        ({"part": "fibre", "sett": {"broken": 1}}, "sett"),
        ({"part": "fibre", "light": "input"}, "output"),
    ],
)
def test_what_cannot_happen_is_refused(told: Any, request_: dict[str, Any], words: str) -> None:
    world, answer = told
    before = pulled(world, "fibre").envelope
    reply = answer({"do": "world", **request_})
    assert not reply["ok"]
    assert words in reply["error"]
    np.testing.assert_array_equal(pulled(world, "fibre").envelope, before)


def test_nothing_happens_when_a_part_of_it_cannot() -> None:
    world = empty()
    laser = exact(world, "laser")
    with pytest.raises(InputError, match="broken"):
        happen(world, {"part": "laser", "set": {"off": 1, "broken": 1}})
    assert laser.struck("off", 0.0) == 0.0


def test_a_bench_without_wiring_has_no_world() -> None:
    control = Control(Bench(clock=ManualClock()))
    assert "no optical world" in control.answer({"do": "world"})["error"]
    control.close()


def test_over_the_wire() -> None:
    bench, control = table()
    control.close()
    with serve(bench, control=0) as served:
        assert served.control is not None
        with socket.create_connection(("127.0.0.1", served.control.port), timeout=5) as line:
            line.sendall(b'{"do": "world", "part": "fibre", "set": {"broken": 1}, "start": 2.5}\n')
            assert json.loads(line.makefile().readline()) == {"ok": True}
    assert isinstance(bench.world, World)
    assert pulled(bench.world, "fibre", start=2.0).flux > 0.0
    assert pulled(bench.world, "fibre", start=2.5).flux == 0.0


def test_windows_and_which_of_two_counts() -> None:
    world = empty()
    laser = exact(world, "laser")
    laser.strike("power_drop_db", 3.0, start=1.0, stop=2.0)
    laser.strike("power_drop_db", 6.0, start=1.5, stop=3.0)
    times = np.array([0.0, 1.0, 1.49, 1.5, 2.5, 3.0])
    np.testing.assert_array_equal(laser.struck_at("power_drop_db", times), [0.0, 3.0, 3.0, 6.0, 6.0, 0.0])
    assert [laser.struck("power_drop_db", float(t)) for t in times] == [0.0, 3.0, 3.0, 6.0, 6.0, 0.0]


def test_every_kind_says_what_its_numbers_mean() -> None:
    for kind in kinds():
        part = part_class(kind)
        for name, parameter in part.parameters.items():
            assert parameter.doc, (kind, name)
            assert not parameter.low > parameter.default
            assert not parameter.high < parameter.default
        assert not set(part.faults) & set(part.parameters), kind
        assert all(part.faults.values()), kind


def test_a_message_to_an_instrument_can_set_it_off() -> None:
    """The third time somebody asks the laser who it is, the fibre breaks: for tests that must know when."""
    bench = Bench.from_file("loop-32")
    assert bench.world is not None
    laser = bench.world.part("laser")
    assert isinstance(laser, Laser)
    laser.follow(lambda t: Light(10e-3, 1550e-9))
    control = Control(bench)
    rule = {"do": "fault", "target": "meter_s", "effect": "world", "command": "IDN", "nth": 3}
    assert control.answer({**rule, "part": "iq", "set": {"blocked": 1}})["ok"]
    session = bench["meter_s"].connect()
    lit = []
    for _ in range(4):
        session.feed(b"*IDN?\n")
        now = bench.clock.monotonic() + 1.0
        lit.append(pulled(bench.world, "iq", start=now).flux > 0.0)
    assert lit == [True, True, False, False]
    assert len(session.replies) == 4
    for wrong in ({"part": "iqq", "set": {"blocked": 1}}, {"part": "iq", "set": {"broken": 1}}, {"part": "iq"}):
        assert not control.answer({**rule, **wrong})["ok"]
    control.close()
    alone = Bench(clock=ManualClock())
    with pytest.raises(InputError, match="no optical world"):
        alone.add("thorlabs-pm100", "meter").faults.add("world", part="iq", set={"blocked": 1})


def test_a_stuck_shutter_passes_what_it_is_told_to_block() -> None:
    bench = Bench(clock=ManualClock())
    twin = bench.add("thorlabs-osw", "gate")
    assert isinstance(twin, ThorlabsOsw)
    world = empty()
    exact(world, "laser", rin=0.0, linewidth=0.0)
    gate = world.add(with_ports(TwinPart, twin), "gate")
    gate.couple(twin)
    world.link("laser", "gate", port_in=gate.light_inputs[0])
    passed, entering = 10**-0.07, pulled(world, "laser").flux
    assert pulled(world, "gate", "output1", start=1.0).flux == pytest.approx(passed * entering)
    twin.choose(2)
    world.changed()
    assert pulled(world, "gate", "output1", start=1.0).flux < 1e-5 * entering
    happen(world, {"part": "gate", "set": {"stuck": 0.8}, "start": 1.0})
    assert pulled(world, "gate", "output1", start=2.0).flux == pytest.approx(0.8 * entering)
    assert pulled(world, "gate", "output1", start=0.5).flux < 1e-5 * entering
    happen(world, {"part": "gate", "set": {"blocked": 1}})
    assert pulled(world, "gate", "output1", start=2.0).flux == 0.0


def test_everything_can_happen_to_every_part_of_a_table_and_is_over_when_it_is_mended() -> None:
    world = Bench.from_file("loop-32").world
    assert world is not None
    laser = world.part("laser")
    assert isinstance(laser, Laser)
    laser.follow(lambda t: Light(10e-3, 1550e-9))
    seen = 0
    for name, part in world.parts.items():
        if not part.light_outputs:
            continue
        before = pulled(world, name, part.light_outputs[0], start=0.01, count=64)
        for fault in part.faults:
            happen(world, {"part": name, "set": {fault: 0.5}, "start": 0.005})
            during = pulled(world, name, part.light_outputs[0], start=0.01, count=64)
            assert np.all(np.isfinite(during.envelope)), (name, fault)
            if np.any(before.envelope):
                seen += 1
                turned = not np.allclose(np.abs(before.jones), np.abs(during.jones))
                assert turned or not np.allclose(before.envelope, during.envelope, rtol=1e-3), (name, fault)
            happen(world, {"part": name, "mend": fault})
        after = pulled(world, name, part.light_outputs[0], start=0.01, count=64)
        np.testing.assert_array_equal(before.envelope, after.envelope)
    assert seen > 10
