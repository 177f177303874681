"""Amonics AEDFA erbium-doped fibre amplifier (sheet edfa_amonics_aedfa.md).

Lines of text; what sets is not answered, what is not understood is not answered either. Light enters port "input" and
leaves port "output".

What the sheet leaves open, and what stands here:

- Optics: nothing leaves without pump. Pumped by the share x of its range above threshold (50 mA), the amplifier has a
  small-signal gain of x times `gain` dB and gives at most x times its rated power; between them it saturates smoothly.
  Its own noise (as if -28 dBm entered) leaves even without a seed. The set point acts with a time constant of 0.1 s.
- APC holds the output power as far as the pump reaches; the current is what that takes.
- A set point out of range, a mode that is not there, a channel that is not there, a switch of mode while the channel
  is on, and a state in another mode than the chosen one are ignored. Set points are rounded to their step; values below
  LO_MARGIN are taken.
- A channel is BUSY for `soft_start` s, the master for `activation` s. MCTRL 1 while the channel is busy is ignored;
  while it is off it trips the channel into LOCK, until STAT 0 or UNLOCK 1.
- An open interlock (the "interlock" fault) locks channel and master, and stays until UNLOCK 1 with the loop closed.
- Reading the latched copy of an alarm clears it. Loss of input is below the level of THRES:POW:IN:LEV:SET1 (-30 dBm at
  first), too much is above +10 dBm. With THRES:POW:IN:STAT:SET1 on, the output is dark while the input is lost.
- The other thresholds are kept and nothing ever trips them; temperatures and supply stand still.
- The pace of 50 ms between commands is not enforced, unless option `pace` says so: a line that comes earlier is lost.
  A first state command that is ignored is a fault ("ignore", nth=1).

Not simulated: AGC (the sheet has no details; READ:MODE:NAMES does not offer it).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

from labqdl.units import from_db, from_dbm
from labqdl_sim.lines import LineTwin, line
from labqdl_sim.ports import DARK, Light

_OFF, _ON, _BUSY, _LOCK = 0, 1, 2, 4
_MODES = ("ACC", "APC")
_THRESHOLD = 50.0  # mA
_NOISE = from_dbm(-28.0)  # W at the input
_RESPONSE = 0.1  # s
_MARGIN = 100
_SETTINGS: dict[str, tuple[float, float, float]] = {  # lowest, highest, at power-on
    "POW:IN:STAT:SET1": (0, 1, 0), "POW:IN:LEV:SET1": (-60.0, 20.0, -30.0), "POW:OUT:STAT:SET1": (0, 1, 0),
    "POW:OUT:RANGE:SET1": (0.0, 100.0, 10.0), "POW:OUT:RANGE_MIN:SET1": (0.0, 100.0, 1.0),
    "POW:OUT:RANGE_MAX:SET1": (0.0, 100.0, 50.0), "POW:OUT:TIME": (0.0, 3600.0, 0.0), "CUR:OVER:STAT": (0, 1, 0),
    "CUR:OVER:LEV:SET1": (0.0, 2000.0, 450.0), "OBR:OVER:STAT": (0, 1, 0), "OBR:OVER:LEV:SET1": (-60.0, 30.0, 0.0),
    "TEMP:BOX:STAT": (0, 1, 1), "TEMP:BOX:MIN": (-20.0, 100.0, 0.0), "TEMP:BOX:MAX": (-20.0, 100.0, 60.0),
    "TEMP:FC:STAT": (0, 1, 1), "TEMP:FC:MAX": (-20.0, 100.0, 70.0), "VOLT:PS:STAT": (0, 1, 1),
}  # fmt: skip
_COUNTS = {"CUR": 1, "POW:IN": 1, "POW:OUT": 1, "POW:PD": 1, "TEMP:BOX": 1, "TEMP:FC": 1, "TEMP:TEC": 1, "VOLT:PS": 1}


@dataclass
class _Channel:
    """One pump."""

    mode: str = "ACC"
    set_points: dict[str, float] = field(default_factory=lambda: {"ACC": 0.0, "APC": 0.0})
    armed_at: float | None = None
    tripped: bool = False
    course: tuple[float, float] = (0.0, -math.inf)  # value of the acting set point at a time


class AmonicsEdfa(LineTwin):
    """An AEDFA-PA-30-B-FA of 27 dBm.

    Options: `saturation` (rated output in dBm), `gain` (small-signal gain in dB), `current` (largest pump current in
    mA), `channels`, `input_monitor` (False: the unit measures no input), `soft_start`, `activation`, `pace` (s).
    """

    maker = "Amonics"
    model = "AEDFA-PA-30-B-FA"
    serial = "21020811"
    resources = ("ASRL{name}::INSTR", "ASRL{serial}::INSTR")
    baud = 19200

    def setup(self) -> None:
        """Read the options, open the fibres."""
        self.rated = from_dbm(self.option("saturation", 27.0))
        self.gain = self.option("gain", 35.0)
        self.largest = self.option("current", 400)
        self.count = self.option("channels", 1)
        self.input_monitor = self.option("input_monitor", True)
        self.soft_start = self.option("soft_start", 1.5)
        self.activation = self.option("activation", 0.5)
        self.pace = self.option("pace", 0.0)
        self.input = self.light_in("input")
        self.light_out("output", self.light)
        self.emitted: Callable[[float], float] | None = None
        """W that leave at a time, where somebody else amplifies: the optical world."""

    def reset(self) -> None:
        """Power-on: dark, master off."""
        self.channels = {n: _Channel() for n in range(1, self.count + 1)}
        self.master_at: float | None = None
        self.locked = False
        self.latched: set[str] = set()
        self.settings = {name: default for name, (_, _, default) in _SETTINGS.items()}
        self.last_line = -math.inf

    # The amplifier

    def guard(self) -> None:
        """An open interlock takes everything off."""
        if self.interlocked and not self.stays_on:
            self.locked = True
            self.master_at = None
            for channel in self.channels.values():
                channel.armed_at = None

    def state(self, n: int, mode: str) -> int:
        """State of a channel in a mode."""
        channel = self.channels[n]
        if self.locked or channel.tripped:
            return _LOCK
        if channel.armed_at is None or channel.mode != mode:
            return _OFF
        return _BUSY if self.now < channel.armed_at + self.soft_start else _ON

    def master(self) -> int:
        """State of the master switch."""
        if self.master_at is None:
            return _OFF
        return _BUSY if self.now < self.master_at + self.activation else _ON

    def pumped(self, n: int, t: float) -> float:
        """The set point that acts at time t: mA or mW, 0 unless channel and master are on."""
        channel = self.channels[n]
        if self.master_at is None or channel.armed_at is None:
            return 0.0
        start, since = channel.course
        target = channel.set_points[channel.mode]
        return target + (start - target) * math.exp(-max(t - since, 0.0) / _RESPONSE)

    def amplified(self, share: float, t: float) -> float:
        """Output power in W with that share of the pump."""
        if share <= 0:
            return 0.0
        strong = (self.input.power(t) + _NOISE) * from_db(self.gain * share)
        return strong / (1 + strong / (self.rated * share))

    def share(self, t: float) -> float:
        """Share of the pump's range above threshold, all channels together."""
        total = 0.0
        for n, channel in self.channels.items():
            value = self.pumped(n, t)
            if channel.mode == "ACC":
                total += max(value - _THRESHOLD, 0.0) / (self.largest - _THRESHOLD)
            elif value > 0:
                total += self._share_for(value * 1e-3, t)
        return min(total / self.count, 1.0)

    def _share_for(self, watts: float, t: float) -> float:
        low, high = 0.0, 1.0
        if self.amplified(1.0, t) <= watts:
            return 1.0
        for _ in range(50):
            middle = (low + high) / 2
            low, high = (middle, high) if self.amplified(middle, t) < watts else (low, middle)
        return low

    def light(self, t: float) -> Light:
        """What leaves the fibre."""
        self.guard()
        if self.settings["POW:IN:STAT:SET1"] and self.lost(t):
            return DARK
        power = self.amplified(self.share(t), t)
        return Light(power, self.input.at(t).wavelength) if power > 0 else DARK

    def leaving(self, t: float) -> float:
        """Output power in W, as its monitor shows it."""
        return self.light(t).power if self.emitted is None else self.emitted(t)

    def pump(self, t: float) -> float:
        """Share of the pump for who amplifies in its place: 0 while the output is dark. All of it in APC."""
        self.guard()
        if self.settings["POW:IN:STAT:SET1"] and self.lost(t):
            return 0.0
        return 1.0 if self.held(t) is not None else self.share(t)

    def held(self, t: float) -> float | None:
        """Output power in W that is held, all channels together; None without a channel that is on in APC."""
        set_points = [self.pumped(n, t) for n, channel in self.channels.items() if channel.mode == "APC"]
        total = math.fsum(set_points) * 1e-3
        return total if total > 0.0 else None

    def lost(self, t: float) -> bool:
        """Whether the seed is too weak."""
        return self.input.power(t) < from_dbm(self.settings["POW:IN:LEV:SET1"])

    def current(self, n: int) -> float:
        """Pump current in mA."""
        value = self.pumped(n, self.now)
        if self.channels[n].mode == "ACC" or value <= 0:
            return value
        return _THRESHOLD + self._share_for(value * 1e-3, self.now) * (self.largest - _THRESHOLD)

    def alarms(self) -> dict[str, int]:
        """All alarms now."""
        now = self.now
        over = self.settings["CUR:OVER:STAT"] and any(
            self.current(n) > self.settings["CUR:OVER:LEV:SET1"] for n in self.channels
        )
        found = {
            "CUR:OVER": int(over),
            "TEMP:BOX": 0,
            "TEMP:FC": 0,
            "TEMP:TEC:WARN": 0,
            "TEMP:TEC:OVER": 0,
            "VOLT:PS": 0,
        }
        for n in self.channels:
            found[f"POW:IN:LOS:CH{n}"] = int(self.lost(now))
            found[f"POW:IN:OVER:CH{n}"] = int(self.input.power(now) > 10e-3)
        return found

    # Lines

    def number(self, value: float) -> str:
        """`3.500000e+02`."""
        return f"{value:.6e}"

    def answer(self, text: str) -> bytes | None:
        """One line."""
        now = self.now
        early = now < self.last_line + self.pace - 1e-9
        self.last_line = now
        if early:
            return None
        self.guard()
        self.latched |= {name for name, raised in self.alarms().items() if raised}
        if self.locked_out and "?" not in text:
            return None
        return super().answer(text)

    def channel(self, n: int) -> _Channel | None:
        """A channel, None if the unit does not have it."""
        return self.channels.get(n)

    def limit(self, mode: str) -> int:
        """Highest set point."""
        return self.largest if mode == "ACC" else int(self.rated * 1e3)

    @line(":CAL:SYS:MODEL?")
    def get_model(self) -> str:
        """Model."""
        return self.model

    @line(":CAL:SYS:SERIAL?")
    def get_serial(self) -> str:
        """Serial number."""
        return self.serial

    @line(":READ:MODE:NAMES?")
    def modes(self) -> str:
        """Modes."""
        return " ".join(_MODES)

    @line(":READ:CH:DRIV:{mode}?")
    def drives(self, mode: str) -> str | None:
        """Number of drive channels."""
        return str(self.count) if mode.upper() in _MODES else None

    @line(":READ:CH:{what}?")
    def counts(self, what: str) -> str | None:
        """Number of monitors."""
        what = what.upper()
        if what in ("CUR", "TEMP:TEC"):
            return str(self.count)
        if what == "POW:IN" and not self.input_monitor:
            return "0"
        return str(_COUNTS[what]) if what in _COUNTS else None

    @line(":READ:DRIV:{what}:{mode}:CH{n:int}?")
    def drive_limits(self, what: str, mode: str, n: int) -> str | None:
        """Limits of a set point and its unit."""
        mode = mode.upper()
        if self.channel(n) is None or mode not in _MODES:
            return None
        found = {
            "MIN": "0", "MAX": str(self.limit(mode)), "STEP": "1", "LO_MARGIN": str(_MARGIN if mode == "ACC" else 0),
            "UNIT": "mA" if mode == "ACC" else "mW",
        }  # fmt: skip
        return found.get(what.upper())

    @line(":MODE:SW:CH{n:int} {mode}")
    def set_mode(self, n: int, mode: str) -> None:
        """Choose the mode."""
        channel = self.channel(n)
        if channel is not None and mode.upper() in _MODES and channel.armed_at is None:
            channel.mode = mode.upper()

    @line(":MODE:SW:CH{n:int}?")
    def get_mode(self, n: int) -> str | None:
        """The mode."""
        channel = self.channel(n)
        return None if channel is None else channel.mode

    @line(":DRIV:{mode}:CUR:CH{n:int} {x:float}")
    def set_drive(self, mode: str, n: int, x: float) -> None:
        """Set point."""
        channel, mode = self.channel(n), mode.upper()
        if channel is None or mode not in _MODES or not 0 <= x <= self.limit(mode):
            return
        channel.course = (self.pumped(n, self.now), self.now)
        channel.set_points[mode] = float(round(x))

    @line(":DRIV:{mode}:CUR:CH{n:int}?")
    def get_drive(self, mode: str, n: int) -> float | None:
        """Set point."""
        channel = self.channel(n)
        return None if channel is None else channel.set_points.get(mode.upper())

    @line(":DRIV:{mode}:STAT:CH{n:int} {x:int}")
    def set_state(self, mode: str, n: int, x: int) -> None:
        """Arm a channel, or switch it off."""
        channel = self.channel(n)
        if channel is None or mode.upper() != channel.mode or x not in (0, 1):
            return
        if x == 0:
            if not self.stays_on:
                channel.armed_at, channel.tripped, self.master_at = None, False, None
        elif channel.armed_at is None and not self.locked and not channel.tripped:
            channel.armed_at = self.now
            channel.course = (0.0, self.now)

    @line(":DRIV:{mode}:STAT:CH{n:int}?")
    def get_state(self, mode: str, n: int) -> str | None:
        """0 off, 1 on, 2 busy, 4 locked."""
        return str(self.state(n, mode.upper())) if self.channel(n) is not None and mode.upper() in _MODES else None

    @line(":DRIV:MCTRL {x:int}")
    def set_master(self, x: int) -> None:
        """The master switch."""
        if x == 0:
            if not self.stays_on:
                self.master_at = None
            return
        if x != 1 or self.master_at is not None or self.locked:
            return
        states = [self.state(n, channel.mode) for n, channel in self.channels.items()]
        if _ON in states:
            self.master_at = self.now
            for channel in self.channels.values():
                channel.course = (0.0, self.now)
        elif _BUSY not in states:
            for channel in self.channels.values():
                channel.tripped = True

    @line(":DRIV:MCTRL?")
    def get_master(self) -> str:
        """0 off, 1 on, 2 busy."""
        return str(self.master())

    @line(":DRIV:INTERLOCK?")
    def interlock(self) -> str:
        """1 while lasers are locked."""
        return str(int(self.locked or self.interlocked))

    @line(":DRIV:SEED_ST?")
    def seed(self) -> str:
        """1 while the seed stabilises: it never has to."""
        return "0"

    @line(":SENS:THRES:ALARM:{what}?")
    def alarm(self, what: str) -> str | None:
        """An alarm, or its latched copy."""
        name = what.upper()
        found = self.alarms()
        if name in found:
            return str(found[name])
        name = name.removesuffix(":LATCH")
        if name not in found or name == "TEMP:FC":
            return None
        raised = name in self.latched
        self.latched.discard(name)
        return str(int(raised))

    @line(":SENS:{what}:CH{n:int}?")
    def sense_channel(self, what: str, n: int) -> float | None:
        """A monitor of a channel."""
        what = what.upper()
        if self.channel(n) is None or (n > 1 and what.startswith("POW")):
            return None
        if what == "POW:IN":
            return self.input.power(self.now) * 1e3 if self.input_monitor else None
        if what == "CUR":
            return self.current(n)
        watts = self.leaving(self.now)
        return {"POW:OUT": watts * 1e3, "POW:PD": watts * 10, "TEMP:TEC": 25.0}.get(what)

    @line(":SENS:TEMP:BOX?")
    def case_temperature(self) -> float:
        """Case, degC."""
        return 30.0

    @line(":SENS:TEMP:FC?")
    def chamber_temperature(self) -> float:
        """Fibre chamber, degC."""
        return 32.0

    @line(":SENS:VOLT:PS?")
    def supply(self) -> float:
        """Supply, V."""
        return 5.0

    @line(":THRES:{what} {x:float}")
    def set_threshold(self, what: str, x: float) -> None:
        """A threshold, or an unlocking."""
        what = what.upper()
        if what == "INTERLOCK:UNLOCK" and x == 1 and not self.interlocked:
            self.locked = False
            for channel in self.channels.values():
                channel.tripped = False
        elif what in _SETTINGS:
            low, high, _ = _SETTINGS[what]
            if low <= x <= high and (x in (0, 1) or not _switch(what)):
                self.settings[what] = x

    @line(":THRES:{what}?")
    def get_threshold(self, what: str) -> str | float | None:
        """A threshold, or whether something can be unlocked."""
        what = what.upper()
        if what == "INTERLOCK:UNLOCK":
            return str(int(not self.interlocked))
        if what == "TEMP:TEC:OVER:UNLOCK":
            return "0"
        if what == "POW:OUT:REF:SET1":
            return self.leaving(self.now) * 1e3
        if what.startswith("POW:IN:ACT:CH") and what[13:].isdigit() and self.channel(int(what[13:])) is not None:
            return str(int(not self.lost(self.now)))
        if what not in _SETTINGS:
            return None
        return str(int(self.settings[what])) if _switch(what) else self.settings[what]


def _switch(setting: str) -> bool:
    """Whether a setting is 0 or 1."""
    return ":STAT" in setting


TWIN = AmonicsEdfa
