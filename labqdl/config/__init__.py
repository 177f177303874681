"""Files that people write: TOML with positions, units in strings, one schema mechanism, and the two schemas on it.

`document` reads a file and knows on which line every key stands; `quantities` turns "0.2 dB/km" into SI;
`schema` declares what a table may hold, checks it and renders its documentation; `experiment` and `link` are the
schemas of the experiment file and of the link file. Every mistake is an `InputError` that names file, line and key.
"""

from __future__ import annotations

from labqdl.config.document import Document, load
from labqdl.config.experiment import ExperimentConfig, load_experiment
from labqdl.config.link import LinkFile, load_link, shipped_links
from labqdl.config.operating_point import resolve_operating_point
from labqdl.config.quantities import Dimension, parse_quantity
from labqdl.config.schema import Field, Kind, Section

__all__ = [
    "Dimension",
    "Document",
    "ExperimentConfig",
    "Field",
    "Kind",
    "LinkFile",
    "Section",
    "load",
    "load_experiment",
    "load_link",
    "parse_quantity",
    "resolve_operating_point",
    "shipped_links",
]
