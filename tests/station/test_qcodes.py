"""An instrument of QCoDeS, served as one of ours through a mapping in the station file; where QCoDeS is installed."""

from __future__ import annotations

from typing import Any

import pytest

from labqdl.clock import ManualClock
from labqdl.errors import InputError
from labqdl.instruments import NotACapability, NotConfirmed
from labqdl.transport import RoadOptions
from labqdl_drivers.adapters.qcodes_instrument import QCoDeSInstrument
from labqdl_sim.bench import Bench
from labqdl_sim.routes.visa import SimVisaLibrary

RESOURCE = "TCPIP0::awg::inst0::INSTR"
ARGUMENTS: dict[str, Any] = {
    "instrument": "qcodes.instrument_drivers.Keysight:Keysight33512B",
    "role": "WaveformGenerator",
    "mapping": {
        "channel 1.output": {"property": "ch1.output", "on": "ON", "off": "OFF"},
        "channel 1.amplitude": {"property": "ch1.amplitude", "unit": "V"},
    },
    "safe": ['ch1.output = "OFF"', 'ch2.output = "OFF"'],
}


def generator(bench: Bench, **changed: Any) -> Any:
    options = RoadOptions(visa_library=SimVisaLibrary.for_bench(bench))
    made = QCoDeSInstrument(RESOURCE, name="awg", clock=bench.clock, options=options, **{**ARGUMENTS, **changed})
    made.guard = None
    return made


@pytest.fixture
def bench() -> Any:
    bench = Bench(seed=1, clock=ManualClock())
    bench.add("keysight-33500", "awg", routes=(f"visa:{RESOURCE}",), model="33512B")
    yield bench
    SimVisaLibrary.forget(bench)


def test_without_qcodes_the_key_and_the_package_are_named(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "qcodes.instrument_drivers.Keysight", None)
    with pytest.raises(
        InputError, match=r"instruments\.awg\.options\.instrument.*cannot be loaded.*pip install qcodes"
    ):
        generator(bench).open()


@pytest.mark.soak
@pytest.mark.filterwarnings("ignore")
def test_a_generator_of_qcodes(bench: Bench) -> None:
    pytest.importorskip("qcodes")
    with generator(bench) as awg:
        assert awg.identity().model == "33512B"
        output = awg.channels()[1]
        output.amplitude = 0.5
        output.output = True
        assert output.output is True
        assert output.amplitude == pytest.approx(0.5)
        with pytest.raises(NotACapability, match="not mapped"):
            _ = output.skew
        with pytest.raises(NotConfirmed, match="QCoDeS or the instrument has changed it"):
            output.amplitude = 100.0
        awg.safe_state()
        assert output.output is False


@pytest.mark.soak
@pytest.mark.filterwarnings("ignore")
def test_a_parameter_that_qcodes_does_not_have(bench: Bench) -> None:
    pytest.importorskip("qcodes")
    mapping = {"channel 1.output": {"property": "ch1.outputs"}}
    with pytest.raises(InputError, match=r"mapping\.channel 1\.output\.property.*has no 'ch1\.outputs'"):
        generator(bench, mapping=mapping).open()
