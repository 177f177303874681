"""Experiment and link files as text: what `load_experiment` and `load_link` read back to the very same numbers."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import fields

from labqdl.config.experiment import SCHEMA as EXPERIMENT
from labqdl.facts.ledger import Component, Ledger
from labqdl.facts.operating_point import OperatingPoint, TapKind


def point_values(point: OperatingPoint) -> dict[str, object]:
    """The keys of an operating point, for either file."""
    tap = point.tap
    values: dict[str, object] = {"mu": point.mu}
    if tap.kind is TapKind.AMPLIFIER:
        values["amplifier_gain"] = tap.amplifier_gain
        if tap.tap_transmissivity != 1.0 / tap.amplifier_gain:
            values["tap_transmissivity"] = tap.tap_transmissivity
        return {"mu": point.mu, "tap": tap.kind.value, **values}
    return {**values, "tap": tap.kind.value, "tap_transmissivity": tap.tap_transmissivity}


def experiment_text(values: Mapping[str, object], comments: Iterable[str] = ()) -> str:
    """An experiment file with these keys, each in its section; keys that are None are left out.

    Raises
    ------
    KeyError
        For a key that no experiment file has.
    """
    given = {name: value for name, value in values.items() if value is not None}
    lines = [f"# {comment}" for comment in comments]
    top = [field.name for field in EXPERIMENT.fields]
    lines += [f"{name} = {_value(given.pop(name))}" for name in top if name in given]
    for section in EXPERIMENT.sections:
        inside = [field.name for field in section.fields if field.name in given]
        if inside:
            lines += ["", f"[{section.name}]", *(f"{name} = {_value(given.pop(name))}" for name in inside)]
    if given:
        raise KeyError(f"no experiment file has {', '.join(given)}")
    return "\n".join(lines) + "\n"


def link_text(
    ledger: Ledger, *, name: str, description: str, point: OperatingPoint | None = None, comments: Iterable[str] = ()
) -> str:
    """A link file with every component of a ledger, losses as transmissivities with all their digits."""
    lines = [f"# {comment}" for comment in comments]
    lines += [f"name = {_value(name)}", f"description = {_value(description)}"]
    if point is not None:
        lines += ["", "[operating_point]"]
        lines += [f"{key} = {_value(value)}" for key, value in point_values(point).items()]
    for component in ledger.components:
        lines += ["", "[[component]]", *_component(component)]
    return "\n".join(lines) + "\n"


_UNITS = {"electronic_noise": "SNU", "excess": "SNU", "phase_noise": "rad"}


def _component(component: Component) -> list[str]:
    ideal = Component(component.name, component.place, component.owner)
    lines = []
    for field in fields(component):
        value = getattr(component, field.name)
        if field.name in ("name", "place", "owner", "trusted") or value != getattr(ideal, field.name):
            text = f'"{value!r} {_UNITS[field.name]}"' if field.name in _UNITS else _value(value)
            lines.append(f"{field.name} = {text}")
    return lines


def _value(value: object) -> str:
    """A TOML value; JSON's strings are TOML's."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return repr(value)
    return json.dumps(str(value), ensure_ascii=False)
