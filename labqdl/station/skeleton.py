"""A package with a driver, its simulated twin, examples of its sheet and tests that pass: to be filled from a manual.

The commands are made up from the names of the quantities, so that everything runs from the first minute on; replacing
them by those of the manual, in driver, twin and examples, is the work that is left.
"""

from __future__ import annotations

import importlib.util
import keyword
import re
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

import labqdl.instruments as roles
from labqdl.errors import InputError
from labqdl.instruments import Channel, Instrument, Quantity
from labqdl.station.drivers import driver_names
from labqdl.station.skeleton_methods import METHODS, STATE, Methods

_CHANNELS: dict[str, type[Channel]] = {
    "WaveformGenerator": roles.Output,
    "Digitizer": roles.Input,
    "PhotonCounter": roles.CounterInput,
    "PolarizationController": roles.Paddle,
}
ROLES = (
    "Attenuator", "BiasController", "Digitizer", "InterlockIO", "Laser", "OpticalAmplifier", "OpticalSwitch",
    "PhaseServo", "PhaseShifterArray", "PhotonCounter", "PolarizationController", "PowerMeter", "Shutter",
    "TemperatureSensor", "VoltageSource", "WaveformGenerator",
)  # fmt: skip
"""All classes of instruments."""

_SPANS = {
    "W": (0.0, 0.01), "m": (1.5e-6, 1.6e-6), "dB": (0.0, 60.0), "K": (273.15, 343.15), "V": (-10.0, 10.0),
    "A": (0.0, 0.1), "S/s": (1e3, 1e9), "Ohm": (50.0, 1e6), "rad": (0.0, 6.0),
}  # fmt: skip
_OWN_SPANS = {"range": (1e-3, 10.0), "amplitude": (0.0, 5.0), "voltage_limit": (10.0, 10.0)}
_WHOLE = (1, 4)
_COUNT = 2
"""Channels of what has channels."""
_LIGHT = ("Laser", "OpticalAmplifier")
_THROUGH = ("Attenuator", "Shutter")


@dataclass(frozen=True, slots=True)
class _Row:
    """One row of the made-up command table."""

    name: str
    word: str
    quantity: Quantity[Any]
    channel: str = ""

    @property
    def settable(self) -> bool:
        return self.quantity.settable

    @property
    def path(self) -> str:
        """As the suite of the contracts names it, of the first channel."""
        return f"{self.channel} 1.{self.name}" if self.channel else self.name

    def header(self, number: str = "") -> str:
        """Of the command, with this for the channel's number."""
        return f"{self.channel.upper()}{number}:{self.word}" if self.channel else self.word

    @property
    def span(self) -> tuple[float, float]:
        if self.name in _OWN_SPANS:
            return _OWN_SPANS[self.name]
        return _SPANS.get(self.quantity.unit, (0.0, 1.0))

    @property
    def start(self) -> float:
        """Value after switching on."""
        return self.span[0]

    def driver(self) -> str:
        kind, unit = self.quantity.kind, self.quantity.unit
        header = self.header("{n}")
        write = f', "{header} {{}}"' if self.settable else ""
        if kind is bool:
            return f'{self.name} = Bool("{header}?"{write})'
        if issubclass(kind, Enum):
            words = ", ".join(f'{kind.__name__}.{one.name}: "{_word(one)}"' for one in kind)
            if len(words) < 60:
                return f'{self.name} = Choice("{header}?"{write}, words={{{words}}})'
            command = f'\n        "{header} {{}}",' if self.settable else ""
            choices = "".join(f'            {kind.__name__}.{one.name}: "{_word(one)}",\n' for one in kind)
            return (
                f'{self.name} = Choice(\n        "{header}?",{command}\n        words={{\n{choices}        }},\n    )'
            )
        if kind is int:
            limits = f", limits={_WHOLE}" if self.settable else ""
            return f'{self.name} = Integer("{header}?"{write}, unit="{unit}"{limits})'
        limits = f", limits=({self.span[0]!r}, {self.span[1]!r})" if self.settable else ""
        return f'{self.name} = Float("{header}?"{write}, unit="{unit}"{limits})'

    def twin(self) -> str:
        kind, header = self.quantity.kind, self.header("<n>")
        fixed = "" if self.settable else ", settable=False"
        name = f"{self.name} = Param"
        if kind is bool:
            return f'{name}("{header}", Boolean(), False{fixed})'
        if issubclass(kind, Enum):
            words = ", ".join(f'"{_word(one)}"' for one in kind)
            text = f'{name}("{header}", Choice({words}), "{_word(next(iter(kind)))}"{fixed})'
            return text.replace(", Choice(", ",\n        Choice(") if len(text) > 110 else text
        if kind is int:
            start = _WHOLE[1] if self.name == "outputs" else _WHOLE[0]
            return f'{name}("{header}", Integer({_WHOLE}), {start}{fixed})'
        return f'{name}("{header}", Number("", ({self.span[0]!r}, {self.span[1]!r})), {self.start!r}{fixed})'

    def example(self) -> tuple[str, str] | None:
        """Value to set and the same as Python writes it; None where nothing can be set without danger."""
        kind = self.quantity.kind
        if not self.settable or self.quantity.energises:
            return None
        if kind is bool:
            return "1", "True"
        if issubclass(kind, Enum):
            one = list(kind)[-1]
            return _word(one), f"{kind.__name__}.{one.name}"
        if kind is int:
            return "2", "2"
        value = self.span[1] if self.quantity.unit in ("W", "m") else (self.span[0] + self.span[1]) / 2
        return format(value, ".9g"), repr(value)

    @property
    def off(self) -> tuple[str, str]:
        """What switches it off: as the command has it, and as Python writes it."""
        kind = self.quantity.kind
        return ("0", "False") if kind is bool else (_word(kind("off")), f"{kind.__name__}.OFF")

    @property
    def is_on(self) -> str:
        """Expression of the twin."""
        return f"self.{self.name}" if self.quantity.kind is bool else f'self.{self.name} != "{self.off[0]}"'


def _word(one: Enum) -> str:
    return re.sub(r"[^A-Z0-9]", "", one.name.upper())[:12]


@dataclass(frozen=True, slots=True)
class _Plan:
    """All that the files are made of."""

    name: str
    module: str
    called: str
    kind: type[Instrument]
    own: list[_Row]
    channel: type[Channel] | None
    ports: list[_Row]
    methods: Methods

    @property
    def rows(self) -> list[_Row]:
        return [*self.own, *self.ports]

    @property
    def enums(self) -> set[str]:
        return {row.quantity.kind.__name__ for row in self.rows if issubclass(row.quantity.kind, Enum)}

    @property
    def emits(self) -> str:
        """Expression of the twin: whether something comes out; empty where nothing can."""
        dangerous = [row for row in self.own if row.quantity.energises]
        return self.methods.emits.replace("CALLED", self.called) or (dangerous[0].is_on if dangerous else "")

    def text(self, words: str) -> list[str]:
        """Members of a class, as lines."""
        return words.replace("CALLED", self.called).rstrip("\n").split("\n") if words else []


def skeleton(name: str, role: str = "Attenuator") -> dict[str, str]:
    """Contents of the files of the package, by path inside its folder.

    Parameters
    ----------
    name:
        Name of the driver, as station files will use it: "example-voa".
    role:
        One of `ROLES`.

    Raises
    ------
    InputError
        For another role, for what is no name, and for a name that something else has.
    """
    module = name.replace("-", "_")
    if not re.fullmatch(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", name) or keyword.iskeyword(module):
        raise InputError(f"{name!r} is no name for a driver", expected="small letters and digits, with - between words")
    known = {one.lower(): one for one in ROLES}
    if role.lower() not in known:
        raise InputError(f"there is no skeleton for {role!r}", expected=f"one of {', '.join(ROLES)}")
    if name in driver_names():
        raise InputError(f"there is a driver {name!r} already", expected="another name")
    if module == "tests" or importlib.util.find_spec(module) is not None:
        raise InputError(f"there is a Python package {module!r} already", expected="another name, such as my-" + name)
    kind: type[Instrument] = getattr(roles, known[role.lower()])
    channel = _CHANNELS.get(kind.__name__)
    plan = _Plan(
        name,
        module,
        "".join(part.capitalize() for part in name.split("-")),
        kind,
        [_Row(one, _short(one), quantity) for one, quantity in kind.quantities().items()],
        channel,
        []
        if channel is None
        else [_Row(one, _short(one), quantity, channel.kind) for one, quantity in channel.quantities().items()],
        METHODS.get(kind.__name__, Methods()),
    )
    return {
        "README.md": _readme(plan),
        "pyproject.toml": _project(name, module, plan.called),
        f"{module}/__init__.py": f'"""Driver of {name}, and its simulated twin."""\n',
        f"{module}/driver.py": _driver(plan),
        f"{module}/twin.py": _twin(plan),
        "tests/sheet.toml": _sheet(plan),
        f"tests/test_{module}.py": _tests(plan),
    }


def _short(name: str) -> str:
    return name.replace("_", "").upper()[:12]


def write_skeleton(name: str, role: str = "Attenuator", *, folder: str | Path | None = None) -> Path:
    """Write the package into a folder that does not exist yet (default: of the driver's name); gives the folder.

    Raises
    ------
    InputError
        As `skeleton`, for a folder that is there already, and where nothing can be written.
    """
    contents = skeleton(name, role)
    target = Path(name if folder is None else folder)
    try:
        target.mkdir(parents=True)
        for path, text in contents.items():
            file = target / path
            file.parent.mkdir(exist_ok=True)
            file.write_text(text, encoding="utf-8", newline="\n")
    except FileExistsError:
        raise InputError("there is such a folder already", source=target) from None
    except OSError as error:
        raise InputError(f"cannot be written ({error.strerror})", source=target) from None
    return target


def _project(name: str, module: str, called: str) -> str:
    return f"""\
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"

[project]
name = "labqdl-{name}"
version = "0.1.0"
dependencies = ["labqdl"]

# Once this package is installed, station files know the driver as "{name}".
[project.entry-points."labqdl.drivers"]
{name} = "{module}.driver:{called}"

[tool.hatch.build.targets.wheel]
packages = ["{module}"]
"""


def _readme(plan: _Plan) -> str:
    return f"""\
# {plan.name}

A driver of labqdl for an instrument that is a {plan.kind.__name__}, its simulated twin, and their tests.

    pip install -e . pytest hypothesis
    pytest

Every command in it is made up. Put in those of the manual: its worked examples into `tests/sheet.toml`, its command
table into `{plan.module}/driver.py`, and (best by somebody else, from the manual alone) into `{plan.module}/twin.py`.
Installed, the driver is known to station files as `driver = "{plan.name}"`.
"""


def _imported(module: str, names: set[str]) -> str:
    line = f"from {module} import {', '.join(sorted(names))}"
    if len(line) <= 100:
        return line
    return f"from {module} import (\n" + "".join(f"    {one},\n" for one in sorted(names)) + ")"


def _driver(plan: _Plan) -> str:
    used = {"ScpiInstrument"} | {_declaration(row) for row in plan.rows} | ({"TextChannel"} if plan.channel else set())
    named = {plan.kind.__name__, *plan.enums, *plan.methods.instruments}
    typing = ["from collections.abc import Mapping"] if plan.channel else []
    if plan.channel is not None:
        named.add(plan.channel.__name__)
    numpy = [one for one in plan.methods.driver_imports if "numpy" in one]
    more = [one for one in plan.methods.driver_imports if "labqdl" in one]
    if "from labqdl.driver import number_in" in more:
        more.remove("from labqdl.driver import number_in")
        used.add("number_in")
    lines = [
        f'"""Driver of {plan.name}: replace every command by that of the manual."""',
        "",
        "from __future__ import annotations",
        "",
        *([*typing, ""] if typing else []),
        *([*numpy, ""] if numpy else []),
        _imported("labqdl.driver", used),
        *more,
        _imported("labqdl.instruments", named),
        "",
        "",
    ]
    if plan.channel is not None:
        lines += [
            f"class {plan.called}{plan.channel.__name__}(TextChannel, {plan.channel.__name__}):",
            f'    """A {plan.channel.kind}."""',
            "",
            *(f"    {row.driver()}" for row in plan.ports),
            *plan.text(plan.methods.channel),
            "",
            "",
        ]
    lines += [
        f"class {plan.called}(ScpiInstrument, {plan.kind.__name__}):",
        f'    """{plan.name}; say here what a user must know, and what the manual leaves open."""',
        "",
        '    maker = "Example"',
        f'    models = ("{plan.called}",)',
        '    sheet = "tests/sheet.toml"',
        f'    identity_pattern = "Example {plan.called}"',
        *(["", *(f"    {row.driver()}" for row in plan.own)] if plan.own else []),
    ]
    if plan.channel is not None:
        lines += [
            "",
            f"    channel_class = {plan.called}{plan.channel.__name__}",
            "",
            f"    def channels(self) -> Mapping[int, {plan.called}{plan.channel.__name__}]:",
            f'        """The {plan.channel.kind}s by number."""',
            f"        return {{n: self.channel_class(self, n) for n in range(1, {_COUNT + 1})}}",
        ]
    lines += plan.text(plan.methods.driver)
    lines += _safe_state(plan)
    return "\n".join(lines) + "\n"


def _safe_state(plan: _Plan) -> list[str]:
    begin = ["", "    def safe_state(self) -> None:"]
    if plan.methods.safe:
        return [*begin, *plan.text(plan.methods.safe.lstrip("\n"))]
    dangerous = [row for row in plan.rows if row.quantity.energises]
    if not dangerous:
        return []
    lines = [*begin, '        """Off, confirmed by reading back."""']
    if plan.channel is None:
        for row in dangerous:
            lines.append(f'        self.force("{row.header()} {row.off[0]}")')
            lines.append(f'        self.confirm(self, "{row.name}", {row.off[1]})')
        return lines
    lines.append("        for n in self.channels():")
    lines += [f'            self.force(f"{row.header("{n}")} {row.off[0]}")' for row in dangerous]
    lines.append("        for channel in self.channels().values():")
    lines += [f'            self.confirm(channel, "{row.name}", {row.off[1]})' for row in dangerous]
    return lines


def _declaration(row: _Row) -> str:
    kind = row.quantity.kind
    return "Bool" if kind is bool else "Choice" if issubclass(kind, Enum) else "Integer" if kind is int else "Float"


def _twin(plan: _Plan) -> str:
    kinds = {"ScpiTwin", *plan.methods.scpi} | ({"Param"} if plan.rows else set())
    kinds |= {{"Bool": "Boolean", "Float": "Number"}.get(_declaration(row), _declaration(row)) for row in plan.rows}
    if "Many" in kinds:
        kinds.add("Number")
    role = plan.kind.__name__
    light = role in _LIGHT or role in _THROUGH
    numpy = {*plan.methods.twin_imports, *(["import numpy as np"] if plan.emits and not light else [])}
    if plan.emits and not light:
        numpy.add("from numpy.typing import NDArray")
    lines = [
        f'"""{plan.name}, simulated: write it from the manual, without a look at the driver."""',
        "",
        "from __future__ import annotations",
        "",
        *([*sorted(numpy, key=lambda one: one.startswith("from")), ""] if numpy else []),
        *(["from labqdl_sim.ports import DARK, Light"] if plan.emits and light else []),
        _imported("labqdl_sim.scpi", kinds),
        "",
        "",
        f"class {plan.called}Twin(ScpiTwin):",
        f'    """{plan.name} as its manual describes it."""',
        "",
        f'    maker, model, serial, firmware = "Example", "{plan.called}", "0001", "1.0"',
        *([f'    suffixes = {{"n": (1, {_COUNT})}}'] if plan.channel is not None or "<n>" in plan.methods.twin else []),
        *(["", *(f"    {row.twin()}" for row in plan.rows)] if plan.rows else []),
        *_world(plan, light),
        *plan.text(plan.methods.twin),
    ]
    return "\n".join(lines) + "\n"


def _world(plan: _Plan, light: bool) -> list[str]:
    """How the twin touches the world: the tests ask it whether something comes out."""
    state = STATE.get(plan.kind.__name__)
    if not plan.emits and state is None:
        return []
    begin = ["", "    def setup(self) -> None:", '        """What it begins with, and its plugs."""']
    if state is not None:
        begin.append(f"        {state}")
    if light:
        shines = "Light(1e-3, 1550e-9)"
        if plan.kind.__name__ in _THROUGH:
            begin.append('        self.input = self.light_in("input")')
            shines = "self.input.at(time)"
        return [
            *begin,
            '        self.light_out("output", self.shining)',
            "",
            "    def shining(self, time: float) -> Light:",
            '        """What comes out."""',
            f"        return {shines} if {plan.emits} else DARK",
        ]
    if not plan.emits:
        return begin
    return [
        *begin,
        '        self.voltage_out("connector", self.driving)',
        "",
        "    def driving(self, instants: NDArray[np.float64]) -> NDArray[np.float64]:",
        '        """What comes out."""',
        f"        return np.full(instants.shape, 1.0 if {plan.emits} else 0.0)",
    ]


def _sheet(plan: _Plan) -> str:
    lines = [
        f"# Worked examples of the manual of {plan.name}: driver and twin are both tested with them, to the byte.",
        "",
    ]

    def add(title: str, *exchanges: tuple[str, str | None]) -> None:
        lines.extend(["[[example]]", f'title = "{title}"'])
        for send, reply in exchanges:
            lines.extend(["[[example.exchange]]", f'send = "{send}\\n"'])
            if reply is not None:
                lines.append(f'reply = "{reply}\\n"')
        lines.append("")

    add("identity", ("*IDN?", f"Example,{plan.called},0001,1.0"))
    for row in plan.rows:
        example, header = row.example(), row.header("1")
        if example is not None and row.quantity.kind is not float:
            add(f"set {row.path}", (f"{header} {example[0]}", None), (f"{header}?", example[0]))
        elif row.quantity.kind is bool:
            add(f"read {row.path}", (f"{header}?", "0"))
    return "\n".join(lines)


def _tests(plan: _Plan) -> str:
    called, module = plan.called, plan.module
    steps, limits = "", ""
    for row in plan.rows:
        example = row.example()
        if example is None:
            continue
        where = f"device.channels()[1].{row.name}" if row.channel else f"device.{row.name}"
        steps += f"        {where} = {example[1]}\n"
        found = f"pytest.approx({example[1]})" if row.quantity.kind is float else example[1]
        steps += f"        assert {where} == {found}\n"
        if row.quantity.kind is float and not limits:
            limits = f"        with pytest.raises(LimitError):\n            {where} = {2 * row.span[1] + 1!r}\n"
    named = plan.enums & {one.rpartition(".")[0] for row in plan.rows if (one := (row.example() or ("", ""))[1])}
    tried = "".join(f"        {line}\n" for line in plan.methods.tried)
    named |= {"LimitError"} if "LimitError" in limits + tried else set()
    through = plan.kind.__name__ in _THROUGH
    port = '"output"' if plan.kind.__name__ in (*_LIGHT, *_THROUGH) else '"connector"'
    emits = ""
    if plan.emits:
        asked = f"not twin.ports[{port}].dark(now())" if "output" in port else f"twin.ports[{port}].at(now()) != 0"
        emits = f"        emits=lambda: {asked},\n"
    imports = [
        "from labqdl.clock import ManualClock",
        *([_imported("labqdl.instruments", named)] if named else []),
        "from labqdl.testing import Subject, declared_problems, machine",
        "from labqdl.transport import Direction, RoadOptions",
        "from labqdl_sim.bench import Bench",
        *(["from labqdl_sim.ports import Light"] if through else []),
        "from labqdl_sim.routes.visa import SimVisaLibrary",
    ]
    return f'''\
"""Driver and twin of {plan.name}: against the sheet, each other and their class."""

from __future__ import annotations

import tomllib
from pathlib import Path

{"import numpy as np" + chr(10) if "np." in tried else ""}import pytest
from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test

{chr(10).join(imports)}
from {module}.driver import {called}
from {module}.twin import {called}Twin

EXAMPLES = tomllib.loads((Path(__file__).parent / "sheet.toml").read_text(encoding="utf-8"))["example"]
RESOURCE = "TCPIP0::it::inst0::INSTR"


@pytest.fixture
def bench():
    bench = Bench(seed=1, clock=ManualClock())
    bench.add({called}Twin, "it")
    yield bench
    SimVisaLibrary.forget(bench)


def driver_on(bench):
    options = RoadOptions(visa_library=SimVisaLibrary.for_bench(bench))
    return {called}(RESOURCE, name="it", clock=bench.clock, options=options)


def test_every_quantity_is_declared():
    assert declared_problems({called}) == []


@pytest.mark.parametrize("example", EXAMPLES, ids=[one["title"] for one in EXAMPLES])
def test_the_twin_answers_as_the_sheet_says(bench, example):
    session = bench["it"].connect()
    for exchange in example["exchange"]:
        session.feed(exchange["send"].encode())
        if "reply" in exchange:
            assert bytes(session.read(1000)[0]).decode() == exchange["reply"]


def test_the_driver_on_the_twin(bench):
    with driver_on(bench) as device:
        assert device.identity().model == "{called}"
{steps}{limits}{tried}        device.safe_state()
        assert not [path for path, one in device.snapshot().items() if one.problem]


def subject():
    """A new instrument on a new bench; whether something comes out is asked of the twin, not of the driver."""
    bench = Bench(seed=1, clock=ManualClock())
    twin = bench.add({called}Twin, "it")
    now = bench.clock.monotonic
{"    twin.input.connect(lambda time: Light(1e-3, 1550e-9))" + chr(10) if through else ""}    device = driver_on(bench)
    return Subject(
        device,
        sent=lambda: sum(one.size for one in device.transport.traffic if one.direction is Direction.SENT),
{emits}        close=lambda: SimVisaLibrary.forget(bench),
    )


def test_the_promises_of_the_class():
    few = settings(max_examples=10, stateful_step_count=15, deadline=None)
    run_state_machine_as_test(machine(subject), settings=few)
'''
