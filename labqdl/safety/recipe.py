"""How to make an instrument's driver once more: in another process, or over a fresh connection."""

from __future__ import annotations

import importlib
import inspect
import json
from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, field, fields
from importlib.metadata import entry_points
from typing import Any

from labqdl.errors import InputError, LabqdlError
from labqdl.instruments import Instrument
from labqdl.safety.reach import resource_of
from labqdl.transport import RoadOptions, Transport

GROUP = "labqdl.drivers"
"""Group of the entry points of drivers."""

_GIVEN = ("self", "resource", "name", "clock", "options")


class NotRemakeable(LabqdlError):
    """The driver object cannot be made again from a text; says why."""

    exit_code = 2


@dataclass(frozen=True, slots=True)
class Recipe:
    """Everything that it takes to make a driver object again; all of it can be written as JSON.

    Attributes
    ----------
    driver:
        `module:Class`, or the name of an entry point.
    resource, name:
        As in the first place.
    options:
        `RoadOptions` that differ from their defaults; None for those of the class.
    arguments:
        Further keyword arguments of the class.
    attributes:
        Attributes named `safe_...` that were set on the object (a switch's `safe_port`).
    """

    driver: str
    resource: str
    name: str
    options: Mapping[str, Any] | None = None
    arguments: Mapping[str, Any] = field(default_factory=dict)
    attributes: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """As a JSON object."""
        return asdict(self)

    @staticmethod
    def from_json(data: Mapping[str, Any]) -> Recipe:
        """From the JSON object; TypeError or ValueError for another one."""
        recipe = Recipe(**data)
        texts = all(isinstance(getattr(recipe, key), str) for key in ("driver", "resource", "name"))
        if not texts or not isinstance(recipe.arguments, dict) or not isinstance(recipe.attributes, dict):
            raise ValueError("not a recipe")
        return recipe

    def load(self) -> type[Instrument]:
        """The class; LabqdlError where it is not to be found."""
        module, separator, name = self.driver.partition(":")
        try:
            if separator:
                found: Any = importlib.import_module(module)
                for part in name.split("."):
                    found = getattr(found, part)
            else:
                (entry,) = entry_points(group=GROUP, name=self.driver)
                found = entry.load()
        except (ImportError, AttributeError, ValueError) as error:
            raise NotRemakeable(f"{self.name}: the driver {self.driver} cannot be loaded: {error}") from error
        if not (isinstance(found, type) and issubclass(found, Instrument)):
            raise NotRemakeable(f"{self.name}: {self.driver} is no instrument")
        return found

    def make(self) -> Instrument:
        """A new driver object without connection and without guard."""
        kind: Any = self.load()
        options = None if self.options is None else RoadOptions(**self.options)
        made: Instrument = kind(self.resource, name=self.name, options=options, **self.arguments)
        made.guard = None
        for key, value in self.attributes.items():
            setattr(made, key, value)
        return made


def recipe_of(instrument: Instrument) -> Recipe:
    """The recipe of an instrument that is made from a resource name.

    Constructor arguments besides resource, name, clock and options are taken from attributes of the same name, with or
    without an underscore before it. An instrument may also bring a method `recipe()`.

    Raises
    ------
    NotRemakeable
        With the reason.
    """
    own = getattr(instrument, "recipe", None)
    if callable(own):
        given = own()
        assert isinstance(given, Recipe)
        return given
    kind = type(instrument)

    def cannot(reason: str) -> NotRemakeable:
        return NotRemakeable(f"{instrument.name}: {reason}")

    resource = resource_of(instrument)
    if not resource or not isinstance(getattr(instrument, "transport", None), Transport):
        raise cannot("it has no resource name from which it could be made again")
    if kind.__module__ == "__main__" or "<locals>" in kind.__qualname__:
        raise cannot(f"another process cannot import {kind.__qualname__}: put the class into a module of its own")
    options = getattr(instrument, "road_options", None)
    recipe = Recipe(
        driver=f"{kind.__module__}:{kind.__qualname__}",
        resource=resource,
        name=instrument.name,
        options=None if options is None else _different(options),
        arguments={name: _argument(instrument, name, cannot) for name in driver_options(kind)},
        attributes={key: value for key, value in vars(instrument).items() if key.startswith("safe_")},
    )
    try:
        json.dumps(recipe.to_json(), allow_nan=False)
    except (TypeError, ValueError) as error:
        raise cannot(f"what it was made with cannot be written down: {error}") from error
    return recipe


def _different(options: RoadOptions) -> dict[str, Any]:
    return {
        entry.name: getattr(options, entry.name)
        for entry in fields(options)
        if entry.default is MISSING or getattr(options, entry.name) != entry.default
    }


def driver_options(kind: type[Instrument]) -> tuple[str, ...]:
    """Names of the keyword arguments that a driver takes besides resource, name, clock and options."""
    found: list[str] = []
    for base in kind.__mro__:
        constructor = vars(base).get("__init__")
        if base is Instrument or constructor is None or not inspect.isfunction(constructor):
            continue
        for name, parameter in inspect.signature(constructor).parameters.items():
            variadic = parameter.kind in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL)
            if name not in _GIVEN and not variadic and name not in found:
                found.append(name)
    return tuple(found)


def _argument(instrument: Instrument, name: str, cannot: Any) -> Any:
    own = vars(instrument)
    for key in (name, f"_{name}"):
        if key in own:
            return own[key]
    raise cannot(f"its argument {name} is not kept in an attribute of that name")


def check_recipe(data: Mapping[str, Any], source: str) -> Recipe:
    """A recipe from a file; InputError where it is none."""
    try:
        return Recipe.from_json(data)
    except (TypeError, ValueError) as error:
        raise InputError(f"a recipe of an instrument is damaged: {error}", source=source) from error
