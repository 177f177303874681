"""The power meter's twin: what its sheet says and PyMeasure's own driver, unmodified."""

from __future__ import annotations

import warnings
from typing import Any

import pytest

from labqdl.clock import ManualClock, SystemClock
from labqdl_sim.bench import Bench
from labqdl_sim.ports import Light, LightIn
from labqdl_sim.routes.visa import SimVisaLibrary
from labqdl_sim.serve import serve
from tests.sim.benches import Talk

RESOURCE = "USB0::0x1313::0x8078::P0001234::INSTR"


def meter(**options: object) -> tuple[Bench, Talk]:
    bench = Bench(seed=2, clock=ManualClock())
    twin: Any = bench.add("thorlabs-pm100", "meter", routes=("hislip",), **options)
    return bench, Talk(twin)


def shine(bench: Bench, watts: float) -> None:
    port = bench["meter"].ports["input"]
    assert isinstance(port, LightIn)
    port.connect(lambda t: Light(watts, 1550e-9))


class TestSheet:
    def test_identity_and_sensor(self) -> None:
        _, talk = meter()
        assert talk.ask("*IDN?") == "THORLABS,PM100D,P0001234,2.5.0"
        assert talk.ask("SYST:SENS:IDN?") == "S155C,130521104,15-MAY-2013,1,0,33"
        assert talk.ask("SYST:VERS?") == "1999.0"
        assert talk.ask("SYST:ERR?") == '+0,"No error"'

    def test_without_a_head(self) -> None:
        _, talk = meter(sensor="none")
        assert talk.ask("SYST:SENS:IDN?").startswith("no sensor,")
        assert float(talk.ask("MEAS:POW?")) > 1e30

    def test_wavelength_in_nanometres_and_its_limits(self) -> None:
        _, talk = meter()
        assert talk.ask("CORR:WAV?;WAV? MIN;WAV? MAX") == "1.55000000E+03;8.00000000E+02;1.70000000E+03"
        assert talk.ask("SENS:CORR:WAV 1.55E-6;:SYST:ERR?") == '-222,"Data out of range"'
        assert talk.ask("SENSE:CORRECTION:WAVELENGTH 1310NM;:CORR:WAV?") == "1.31000000E+03"

    def test_the_unit_changes_what_is_measured(self) -> None:
        bench, talk = meter()
        shine(bench, 1e-3)
        assert float(talk.ask("MEAS:POW?")) == pytest.approx(1e-3, rel=1e-6)
        assert float(talk.ask("POW:UNIT DBM;:READ?")) == pytest.approx(0.0, abs=1e-5)
        assert float(talk.ask("POW:REF:STAT 1;:READ?")) == pytest.approx(0.0, abs=1e-5)
        assert float(talk.ask("POW:UNIT W;:READ?")) == pytest.approx(0.0, abs=1e-8)
        assert float(talk.ask("POW:REF:STAT 0;:CORR 10;:READ?")) == pytest.approx(1e-2, rel=1e-6)
        assert float(talk.ask("MEAS:CURR?")) == pytest.approx(1e-3, rel=1e-6)
        assert float(talk.ask("MEAS:PDEN?")) == pytest.approx(1e-2 / (3.14159265 * 0.25), rel=1e-6)
        assert float(talk.ask("MEAS:VOLT?")) > 1e30
        assert talk.ask("CONF:POW;:CONF?") == "POW"

    def test_the_next_range_that_fits_and_overload(self) -> None:
        bench, talk = meter()
        shine(bench, 1e-4)
        assert talk.ask("POW:RANG 1E-5;RANG?;RANG:AUTO?") == "5.00000000E-05;0"
        assert float(talk.ask("READ?")) > 1e30
        assert float(talk.ask("POW:RANG:AUTO 1;:READ?")) == pytest.approx(1e-4, rel=1e-5)

    def test_fetch_without_a_value_is_stale(self) -> None:
        _, talk = meter()
        assert talk.ask("FETC?") == ""
        assert talk.ask("SYST:ERR?") == '-230,"Data corrupt or stale"'
        assert talk.ask("INIT;:ABOR;:FETC?") != ""

    def test_averaging_takes_time(self) -> None:
        _, talk = meter()
        talk.write("AVER:COUN 100;:READ?")
        assert talk.session.ready_at() == pytest.approx(0.3)

    def test_zeroing(self) -> None:
        bench, talk = meter(offset=1e-7)
        assert float(talk.ask("READ?")) == pytest.approx(1e-7, rel=0.02)
        talk.write("CORR:COLL:ZERO")
        assert talk.ask("CORR:COLL:ZERO:STAT?") == "1"
        assert isinstance(bench.clock, ManualClock)
        bench.clock.advance(2.1)
        assert talk.ask("CORR:COLL:ZERO:STAT?") == "0"
        assert float(talk.ask("CORR:COLL:ZERO:MAGN?")) == pytest.approx(1e-7, rel=0.02)
        assert float(talk.ask("READ?")) == pytest.approx(0.0, abs=1e-9)
        talk.write("CORR:COLL:ZERO;:CORR:COLL:ZERO:ABOR")
        assert talk.ask("CORR:COLL:ZERO:STAT?;MAGN?") == "0;0.00000000E+00"

    def test_four_registers(self) -> None:
        _, talk = meter()
        for name in ("OPER", "QUES", "MEAS", "AUX"):
            assert talk.ask(f"STAT:{name}:COND?;ENAB 5;ENAB?;PTR?;NTR?;EVEN?") == "0;5;32767;0;0"


def pymeasure_meter(resource: str, **options: Any) -> Any:
    from pymeasure.instruments.thorlabs import ThorlabsPM100USB

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # PyMeasure's own, about its own base class
        return ThorlabsPM100USB(resource, **options)


class TestPymeasure:
    def drive(self, instrument: Any) -> None:
        assert instrument.id == "THORLABS,PM100D,P0001234,2.5.0"
        assert instrument.sensor_name == "S155C"
        assert instrument.is_power_sensor
        instrument.wavelength = 1310
        assert instrument.wavelength == 1310
        assert instrument.power == pytest.approx(2e-3, rel=1e-5)

    def test_in_process(self) -> None:
        bench, _ = meter()
        shine(bench, 2e-3)
        library = SimVisaLibrary.for_bench(bench)
        instrument = pymeasure_meter(RESOURCE, visa_library=library)
        self.drive(instrument)
        instrument.adapter.close()

    def test_over_the_wire(self) -> None:
        bench, _ = meter()
        bench.clock = SystemClock()
        shine(bench, 2e-3)
        with serve(bench) as served:
            instrument = pymeasure_meter(served.resource("meter"), visa_library="@py")
            self.drive(instrument)
            instrument.adapter.close()
