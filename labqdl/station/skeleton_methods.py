"""What a skeleton of each class has besides its quantities: methods, with commands that are made up like the rest."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Methods:
    """Text for the bodies of the classes, and what it needs.

    Attributes
    ----------
    driver, channel, twin:
        Members of driver, channel and twin.
    driver_imports, twin_imports:
        Lines.
    instruments, scpi:
        Names from `labqdl.instruments` and `labqdl_sim.scpi`.
    safe:
        Body of `safe_state`, where it is not the switch of each quantity that energises.
    emits:
        Python expression of the twin: whether something comes out; empty where a quantity says it.
    tried:
        Lines of the test that calls the methods of `device`.
    """

    driver: str = ""
    channel: str = ""
    twin: str = ""
    driver_imports: tuple[str, ...] = ()
    twin_imports: tuple[str, ...] = ()
    instruments: tuple[str, ...] = ()
    scpi: tuple[str, ...] = ()
    safe: str = ""
    emits: str = ""
    tried: tuple[str, ...] = ()


def _told(name: str, header: str, words: str) -> str:
    return f'''
    def {name}(self) -> None:
        """{words}"""
        self.tell("{header}")
'''


def _taken(name: str, header: str, words: str) -> str:
    return f'''
    @command("{header}")
    def {name}(self) -> None:
        """{words}"""
'''


NUMPY = "import numpy as np"
ARRAYS = "from numpy.typing import NDArray"

METHODS = {
    "Laser": Methods(
        driver='''
    def is_stable(self) -> bool:
        """Whether no operation is under way."""
        return self.ask("*OPC?") == "1"
''',
        tried=("assert device.is_stable()",),
    ),
    "PowerMeter": Methods(
        driver='''
    def zero(self) -> None:
        """Take the present reading as dark, and wait until that is done."""
        self.tell("ZERO")
        self.wait_complete(5.0)
''',
        twin='''
    @command("ZERO")
    def zero(self) -> None:
        """Takes a second."""
        self.operate(1.0)
''',
        scpi=("command",),
        tried=("device.zero()",),
    ),
    "PhotonCounter": Methods(
        driver=_told("restart", "RESTART", "Begin a new gate now and forget the counts so far."),
        twin=_taken("restart", "RESTART", "A new gate."),
        scpi=("command",),
        tried=("device.restart()",),
    ),
    "PolarizationController": Methods(
        twin=_taken("stop", "STOP", "No paddle moves."),
        scpi=("command",),
        safe='''
        """Stop all movement; it emits nothing."""
        self.force("STOP")
        self.identity()
''',
    ),
    "WaveformGenerator": Methods(
        driver='''
    @property
    def memory(self) -> WaveformMemory:
        """What a waveform may be."""
        return WaveformMemory(8, 65536, bits=16)
'''
        + _told("arm", "ARM", "Wait for the trigger.")
        + _told("trigger", "FIRE", "Start by software.")
        + _told("stop", "STOP", "Stop playing; outputs stay as they are switched."),
        channel='''
    def upload(self, name: str, samples: NDArray[np.float64], markers: NDArray[np.uint8] | None = None) -> None:
        """Write a waveform into memory, as 16-bit codes."""
        device = self.instrument
        assert isinstance(device, CALLED)
        codes = np.round(self.checked_waveform(samples, device.memory) * 32767).astype("<i2")
        with device.exclusive():
            device.transport.write_block(f'CHANNEL{self.number}:DATA "{name}",'.encode(), codes)
            device.check_errors("DATA")

    def select(self, name: str) -> None:
        """Play this waveform on the next start."""
        device = self.instrument
        assert isinstance(device, CALLED)
        device.tell(f'CHANNEL{self.number}:SELECT "{name}"')
''',
        twin='''
    @command("CHANNEL<n>:DATA", takes=(Text(), Block()))
    def store(self, n: int, name: str, codes: bytes) -> None:
        """Keep a waveform."""
        self.waves[n, name] = codes

    @command("CHANNEL<n>:SELECT", takes=(Text(),))
    def select(self, n: int, name: str) -> None:
        """Play a waveform that is there."""
        if (n, name) not in self.waves:
            raise ScpiError(-256)
'''
        + _taken("arm", "ARM", "It waits.")
        + _taken("fire", "FIRE", "It plays.")
        + _taken("stop", "STOP", "It rests."),
        driver_imports=(NUMPY, ARRAYS),
        instruments=("WaveformMemory",),
        scpi=("Block", "ScpiError", "Text", "command"),
        emits="any(CALLEDTwin.output.of(self, n) for n in (1, 2))",
        tried=(
            'device.channels()[1].upload("A", np.linspace(-1, 1, 64))',
            'device.channels()[1].select("A")',
            "device.arm()",
            "device.trigger()",
            "device.stop()",
        ),
    ),
    "Digitizer": Methods(
        driver=_told("arm", "ARM", "Start one acquisition.")
        + _told("force_trigger", "FIRE", "Trigger by software.")
        + '''
    def wait(self, timeout: float) -> None:
        """Return when the record is complete."""
        self.wait_until(lambda: self.ask("READY?") == "1", timeout, "complete its record")

    def fetch(self, channel: int) -> Record:
        """Transfer what a channel recorded."""
        volts = self.transport.query_block(f"CHANNEL{channel}:DATA?".encode(), "<f4").astype(np.float64)
        overload = bool(np.any(np.abs(volts) >= self.channels()[channel].range / 2))
        return Record(volts, -self.pre_trigger, 1.0 / self.sample_rate, overload)
'''
        + _told("stop", "STOP", "Stop acquiring."),
        twin='''
    @query("READY?")
    def ready(self) -> bool:
        """A record is complete at once."""
        return True

    @query("CHANNEL<n>:DATA?")
    def data(self, n: int) -> bytes:
        """Nothing but silence."""
        return block(np.zeros(self.record_length, "<f4").tobytes())
'''
        + _taken("arm", "ARM", "It waits.")
        + _taken("fire", "FIRE", "It records.")
        + _taken("stop", "STOP", "It rests."),
        driver_imports=(NUMPY,),
        twin_imports=(NUMPY,),
        instruments=("Record",),
        scpi=("block", "command", "query"),
        tried=(
            "device.arm()",
            "device.force_trigger()",
            "device.wait(1.0)",
            "assert device.fetch(1).volts.shape == (device.record_length,)",
            "device.stop()",
        ),
    ),
    "PhaseShifterArray": Methods(
        driver='''
    def set_voltages(self, voltages: NDArray[np.float64]) -> None:
        """Set all voltages; every value is checked before the first is sent."""
        found = np.asarray(voltages, dtype=np.float64)
        if found.shape != (self.outputs,):
            raise InputError(f"voltages have the shape {found.shape}", source=self.name, expected=f"({self.outputs},)")
        limit = Limit(0.0, self.voltage_limit)
        for value in found[~((found >= limit.low) & (found <= limit.high))]:
            raise LimitError("voltages", float(value), "V", limit, instrument=self.name)
        if found.any():
            self.energising("voltages")
        self.tell("VOLTAGES " + ",".join(f"{value:.9g}" for value in found))

    def voltages(self) -> NDArray[np.float64]:
        """Voltages as the unit reports them."""
        return np.array([number_in(one) for one in self.ask("VOLTAGES?").split(",")])

    def currents(self) -> NDArray[np.float64]:
        """Measured currents."""
        return np.array([number_in(one) for one in self.ask("CURRENTS?").split(",")])
''',
        twin='''
    @command("VOLTAGES", takes=(Many(Number("", (0.0, 10.0))),), least=4)
    def set_voltages(self, *voltages: float) -> None:
        """One for each output."""
        self.voltages = list(voltages)

    @query("VOLTAGES?")
    def get_voltages(self) -> list[float]:
        """What was set."""
        return self.voltages

    @query("CURRENTS?")
    def get_currents(self) -> list[float]:
        """Through 10 kOhm each."""
        return [one / 1e4 for one in self.voltages]
''',
        driver_imports=(NUMPY, ARRAYS, "from labqdl.driver import number_in", "from labqdl.errors import InputError"),
        instruments=("Limit", "LimitError", "NotConfirmed"),
        scpi=("Many", "command", "query"),
        safe='''
        """All outputs at 0 V, confirmed by reading back."""
        self.force("VOLTAGES 0,0,0,0")
        if self.voltages().any():
            raise NotConfirmed(f"{self.name}: the outputs must be at 0 V and read {self.voltages()}")
''',
        emits="any(self.voltages)",
        tried=(
            "device.set_voltages(np.array([1.0, 2.0, 3.0, 0.0]))",
            "assert device.voltages().tolist() == [1.0, 2.0, 3.0, 0.0]",
            "assert device.currents().shape == (4,)",
            "with pytest.raises(LimitError):",
            "    device.set_voltages(np.full(4, 11.0))",
        ),
    ),
    "InterlockIO": Methods(
        driver='''
    lines = ("1", "2")

    def inputs(self) -> dict[str, bool]:
        """Levels of the input lines."""
        return dict(zip(self.lines, (word == "1" for word in self.ask("INPUTS?").split(",")), strict=True))

    def outputs(self) -> dict[str, bool]:
        """Levels of the output lines."""
        return dict(zip(self.lines, (word == "1" for word in self.ask("OUTPUTS?").split(",")), strict=True))

    def set_output(self, line: str, level: bool) -> None:
        """Set an output line; True energises."""
        if line not in self.lines:
            raise InputError(f"there is no line {line!r}", source=self.name, expected=f"one of {', '.join(self.lines)}")
        if level:
            self.energising(f"output {line}")
        self.tell(f"OUTPUT{line} {level:d}")
''',
        twin='''
    @query("INPUTS?")
    def get_inputs(self) -> list[bool]:
        """Nothing is connected."""
        return [False, False]

    @query("OUTPUTS?")
    def get_outputs(self) -> list[bool]:
        """What was set."""
        return [self.levels[1], self.levels[2]]

    @command("OUTPUT<n>", takes=(Boolean(),))
    def set_output(self, n: int, level: bool) -> None:
        """One line."""
        self.levels[n] = level
''',
        driver_imports=("from labqdl.errors import InputError",),
        instruments=("NotConfirmed",),
        scpi=("Boolean", "command", "query"),
        safe='''
        """Every output off, confirmed by reading back."""
        self.force("OUTPUT1 0")
        self.force("OUTPUT2 0")
        if any(self.outputs().values()):
            raise NotConfirmed(f"{self.name}: all outputs must be off: {self.outputs()}")
''',
        emits="any(self.levels.values())",
        tried=(
            'device.set_output("1", True)',
            'assert device.outputs() == {"1": True, "2": False}',
            "assert not any(device.inputs().values())",
        ),
    ),
}
"""By class; "CALLED" stands for the name of the driver's class."""

STATE = {
    "WaveformGenerator": "self.waves: dict[tuple[int, str], bytes] = {}",
    "PhaseShifterArray": "self.voltages = [0.0] * 4",
    "InterlockIO": "self.levels = {1: False, 2: False}",
}
"""What the twin's `setup` begins with."""
