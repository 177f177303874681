"""A package with a driver, its simulated twin, examples of its sheet and tests that pass: to be filled from a manual.

The commands are made up from the names of the quantities, so that everything runs from the first minute on; replacing
them by those of the manual, in driver, twin and examples, is the work that is left.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

import labqdl.instruments as roles
from labqdl.errors import InputError
from labqdl.instruments import Instrument, Quantity

ROLES = (
    "Attenuator", "BiasController", "Laser", "OpticalAmplifier", "OpticalSwitch", "PowerMeter", "Shutter",
    "TemperatureSensor", "VoltageSource",
)  # fmt: skip
"""Classes without channels and records; for the others begin with a driver that ships."""

_SPANS = {"W": (0.0, 0.01), "m": (1.5e-6, 1.6e-6), "dB": (0.0, 60.0), "K": (273.15, 343.15), "V": (-10.0, 10.0)}


@dataclass(frozen=True, slots=True)
class _Row:
    """One row of the made-up command table."""

    name: str
    header: str
    quantity: Quantity[Any]
    settable: bool

    @property
    def span(self) -> tuple[float, float]:
        return _SPANS.get(self.quantity.unit, (0.0, 1.0))

    @property
    def start(self) -> float:
        """Value after switching on."""
        return self.span[0]

    def driver(self) -> str:
        kind, unit = self.quantity.kind, self.quantity.unit
        write = f', "{self.header} {{}}"' if self.settable else ""
        if kind is bool:
            return f'{self.name} = Bool("{self.header}?"{write})'
        if issubclass(kind, Enum):
            words = "".join(f'\n            {kind.__name__}.{one.name}: "{_word(one)}",' for one in kind)
            return (
                f'{self.name} = Choice(\n        "{self.header}?"{write},\n        words={{{words}\n        }},\n    )'
            )
        limits = f", limits=({self.span[0]!r}, {self.span[1]!r})" if self.settable else ""
        if kind is int:
            return f'{self.name} = Integer("{self.header}?"{write}, unit="{unit}", limits=(1, 4))'
        return f'{self.name} = Float("{self.header}?"{write}, unit="{unit}"{limits})'

    def twin(self) -> str:
        kind = self.quantity.kind
        fixed = "" if self.settable else ", settable=False"
        if kind is bool:
            return f'{self.name} = Param("{self.header}", Boolean(), False{fixed})'
        if issubclass(kind, Enum):
            words = ", ".join(f'"{_word(one)}"' for one in kind)
            return f'{self.name} = Param("{self.header}", Choice({words}), "{_word(next(iter(kind)))}"{fixed})'
        if kind is int:
            return f'{self.name} = Param("{self.header}", Integer((1, 4)), 1{fixed})'
        number = f'Number("", ({self.span[0]!r}, {self.span[1]!r}))'
        return f'{self.name} = Param("{self.header}", {number}, {self.start!r}{fixed})'

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


def _word(one: Enum) -> str:
    return re.sub(r"[^A-Z0-9]", "", one.name.upper())[:12]


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
        For another role, and for what is no name.
    """
    if not re.fullmatch(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", name):
        raise InputError(f"{name!r} is no name for a driver", expected="small letters and digits, with - between words")
    known = {one.lower(): one for one in ROLES}
    if role.lower() not in known:
        raise InputError(f"there is no skeleton for {role!r}", expected=f"one of {', '.join(ROLES)}")
    kind: type[Instrument] = getattr(roles, known[role.lower()])
    module = name.replace("-", "_")
    called = "".join(part.capitalize() for part in name.split("-"))
    rows = [
        _Row(one, one.replace("_", "").upper()[:12], quantity, quantity.settable)
        for one, quantity in kind.quantities().items()
    ]
    return {
        "pyproject.toml": _project(name, module, called),
        f"{module}/__init__.py": f'"""Driver of {name}, and its simulated twin."""\n',
        f"{module}/driver.py": _driver(name, called, kind, rows),
        f"{module}/twin.py": _twin(name, called, rows),
        "tests/sheet.toml": _sheet(name, called, rows),
        f"tests/test_{module}.py": _tests(name, module, called, kind, rows),
    }


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


def _driver(name: str, called: str, kind: type[Instrument], rows: list[_Row]) -> str:
    used = {"ScpiInstrument"} | {_declaration(row) for row in rows}
    enums = {row.quantity.kind.__name__ for row in rows if issubclass(row.quantity.kind, Enum)}
    methods = [one for one in sorted(getattr(kind, "__abstractmethods__", ())) if callable(getattr(kind, one, None))]
    inherited = {"open", "close", "identity", "complete_part", "safe_state"}
    own = [one for one in methods if one not in inherited and one not in {row.name for row in rows}]
    from_instruments = {kind.__name__, *enums} | ({"NotACapability"} if own else set())
    lines = [
        f'"""Driver of {name}: replace every command by that of the manual."""',
        "",
        "from __future__ import annotations",
        "",
        f"from labqdl.driver import {', '.join(sorted(used))}",
        f"from labqdl.instruments import {', '.join(sorted(from_instruments))}",
        "",
        "",
        f"class {called}(ScpiInstrument, {kind.__name__}):",
        f'    """{name}; say here what a user must know, and what the manual leaves open."""',
        "",
        '    maker = "Example"',
        f'    models = ("{called}",)',
        '    sheet = "tests/sheet.toml"',
        f'    identity_pattern = "Example {called}"',
        "",
        *(f"    {row.driver()}" for row in rows),
    ]
    for one in own:
        lines += [
            "",
            f"    def {one}(self, *arguments: object) -> bool:",
            f'        """{(getattr(kind, one).__doc__ or "To be written.").strip().splitlines()[0]}"""',
            f'        raise NotACapability(self.name, "{one}", "it is not written yet")',
        ]
    dangerous = [row for row in rows if row.quantity.energises]
    if dangerous:
        off = {row.name: "0" if row.quantity.kind is bool else _word(row.quantity.kind("off")) for row in dangerous}
        value = {
            row.name: "False" if row.quantity.kind is bool else f"{row.quantity.kind.__name__}.OFF" for row in dangerous
        }
        lines += [
            "",
            "    def safe_state(self) -> None:",
            '        """Off, confirmed by reading back."""',
        ]
        for row in dangerous:
            lines.append(f'        self.force("{row.header} {off[row.name]}")')
            lines.append(f'        self.confirm(self, "{row.name}", {value[row.name]})')
    return "\n".join(lines) + "\n"


def _declaration(row: _Row) -> str:
    kind = row.quantity.kind
    return "Bool" if kind is bool else "Choice" if issubclass(kind, Enum) else "Integer" if kind is int else "Float"


def _twin(name: str, called: str, rows: list[_Row]) -> str:
    kinds = {"Param", "ScpiTwin"} | {
        {"Bool": "Boolean", "Float": "Number"}.get(_declaration(row), _declaration(row)) for row in rows
    }
    lines = [
        f'"""{name}, simulated: write it from the manual, without a look at the driver."""',
        "",
        "from __future__ import annotations",
        "",
        f"from labqdl_sim.scpi import {', '.join(sorted(kinds))}",
        "",
        "",
        f"class {called}Twin(ScpiTwin):",
        f'    """{name} as its manual describes it."""',
        "",
        f'    maker, model, serial, firmware = "Example", "{called}", "0001", "1.0"',
        "",
        *(f"    {row.twin()}" for row in rows),
    ]
    return "\n".join(lines) + "\n"


def _sheet(name: str, called: str, rows: list[_Row]) -> str:
    lines = [f"# Worked examples of the manual of {name}: driver and twin are both tested with them, to the byte.", ""]

    def add(title: str, *exchanges: tuple[str, str | None]) -> None:
        lines.extend(["[[example]]", f'title = "{title}"'])
        for send, reply in exchanges:
            lines.extend(["[[example.exchange]]", f'send = "{send}\\n"'])
            if reply is not None:
                lines.append(f'reply = "{reply}\\n"')
        lines.append("")

    add("identity", ("*IDN?", f"Example,{called},0001,1.0"))
    for row in rows:
        example = row.example()
        if example is not None and row.quantity.kind is not float:
            add(f"set {row.name}", (f"{row.header} {example[0]}", None), (f"{row.header}?", example[0]))
        elif row.quantity.kind is bool:
            add(f"read {row.name}", (f"{row.header}?", "0"))
    return "\n".join(lines)


def _tests(name: str, module: str, called: str, kind: type[Instrument], rows: list[_Row]) -> str:
    sets = [(row, row.example()) for row in rows]
    enums = sorted({row.quantity.kind.__name__ for row in rows if issubclass(row.quantity.kind, Enum)})
    imports = f"from labqdl.instruments import {', '.join([*enums, 'LimitError'])}\n"
    steps = "".join(
        f"        device.{row.name} = {example[1]}\n"
        + (
            f"        assert device.{row.name} == pytest.approx({example[1]})\n"
            if row.quantity.kind is float
            else f"        assert device.{row.name} == {example[1]}\n"
        )
        for row, example in sets
        if example is not None
    )
    floats = [row for row in rows if row.settable and row.quantity.kind is float]
    limits = "".join(
        f"        with pytest.raises(LimitError):\n            device.{row.name} = {2 * row.span[1] + 1!r}\n"
        for row in floats[:1]
    )
    if not floats:
        imports = f"from labqdl.instruments import {', '.join(enums)}\n" if enums else ""
    return f'''\
"""Driver and twin of {name}: each against the examples of the sheet, and both against each other."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from {module}.driver import {called}
from {module}.twin import {called}Twin
from labqdl.clock import ManualClock
{imports}from labqdl.testing import declared_problems
from labqdl.transport import RoadOptions
from labqdl_sim.bench import Bench
from labqdl_sim.routes.visa import SimVisaLibrary

EXAMPLES = tomllib.loads((Path(__file__).parent / "sheet.toml").read_text(encoding="utf-8"))["example"]
RESOURCE = "TCPIP0::it::inst0::INSTR"


@pytest.fixture
def bench():
    bench = Bench(seed=1, clock=ManualClock())
    bench.add({called}Twin, "it")
    yield bench
    SimVisaLibrary.forget(bench)


@pytest.fixture
def driver(bench):
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


def test_the_driver_on_the_twin(driver):
    with driver as device:
        assert device.identity().model == "{called}"
{steps}{limits}        device.safe_state()
        assert not [path for path, one in device.snapshot().items() if one.problem]
'''
