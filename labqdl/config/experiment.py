"""The experiment file: what to run, at which point, how to verify, within which budgets."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from labqdl.config.document import Document, load
from labqdl.config.operating_point import FIELDS as OPERATING_POINT_FIELDS
from labqdl.config.schema import Field, Kind, Section
from labqdl.facts.frame import ShotNoise

# The emulation's own words (labqdl.link.behaviours, floors above); a test holds the two lists together.
CLIENTS = (
    "honest",
    "intercept-resend",
    "intercept-resend-mmse",
    "cloner",
    "substitution",
    "estimate",
    "over-amplification",
    "passive-tap",
    "coherent",
    "spiking",
)
"""Clients that can be emulated: the honest one and those that try to learn the weights."""
SERVERS = ("honest", "bright-probe", "two-mode-squeezed", "x-dependent")
"""Servers that can be emulated: the honest one and those that try to learn the data."""
CHANNELS = ("honest", "outside-tap", "lossless")
"""Channels that can be emulated: the honest one, an outsider who splits off light, and a client's better fibre."""
DEPTHS = ("outcomes", "statistics", "residuals")
"""How much of the returned light is sampled: none, its sufficient statistics, every residual."""

SHOT_NOISE = tuple(kind.value for kind in ShotNoise)
"""Where the server's shot-noise unit can come from."""

SCHEMA = Section(
    "",
    "Every key may be left out; what a command line names wins over the file",
    fields=(
        Field("model", Kind.TEXT, "Name of a shipped model, or path of a model's description"),
        Field("data", Kind.TEXT, "Name of a shipped data set, or path of an IDX or npz file"),
        Field("labels", Kind.TEXT, "Path of an IDX file with the labels, where the data's file has none"),
        Field("images", Kind.INTEGER, "How many data vectors to take, from the first on; else all", minimum=1),
        Field(
            "link",
            Kind.TEXT,
            "Name of a shipped link, path of a link file, or `station:NAME` for the symbol-level twin of a station",
        ),
        Field("station", Kind.TEXT, "Name of a shipped station, or path of a station file; instead of a link"),
        Field("profile", Kind.TEXT, "Profile of the station file: bench, sim, or one that it declares"),
        *OPERATING_POINT_FIELDS,
        Field(
            "last_layer_db",
            Kind.NUMBER,
            "Light of the last layer in dB on top of its share in the model; few rows, so that it costs little",
            minimum=-40.0,
            maximum=40.0,
        ),
        Field("client", Kind.TEXT, "The client that is emulated", choices=CLIENTS, numbered=True),
        Field("server", Kind.TEXT, "The server that is emulated", choices=SERVERS, numbered=True),
        Field("channel", Kind.TEXT, "The channel that is emulated", choices=CHANNELS, numbered=True),
        Field("seed", Kind.INTEGER, "Seed of all random numbers, for simulations only", minimum=0, maximum=2**63 - 1),
        Field("out", Kind.TEXT, "Folder in which the run's folder is made"),
        Field(
            "accounts",
            Kind.TEXT,
            "Folder of the accounts, which follow weights and data over runs and refuse what a cumulative budget does "
            "not allow; by default 'accounts' beside the run where such a budget is set, else none",
        ),
        Field(
            "tile",
            Kind.INTEGER,
            "Modes that the client's interferometer takes at once; longer rows are cut into tiles. By default whole "
            "rows, and with a station what its interferometer has",
            minimum=1,
            maximum=1_000_000,
        ),
        Field("depth", Kind.TEXT, "How much of the returned light is sampled", choices=DEPTHS),
        Field("block", Kind.INTEGER, "Images per block of work", minimum=1, maximum=65536),
        Field(
            "max_symbols",
            Kind.INTEGER,
            "Symbols after which a run stops, one way; before the block that would pass them",
            minimum=1,
        ),
        Field("max_seconds", Kind.NUMBER, "Seconds after which a process stops its run, behind a block", above=0.0),
    ),
    sections=(
        Section(
            "verification",
            "How the server verifies the returned light; part of what both parties agree on",
            fields=(
                Field(
                    "counting_fraction",
                    Kind.NUMBER,
                    "Probability with which a row is displaced and counted instead of homodyned",
                    minimum=0.0,
                    below=1.0,
                ),
                Field("alpha", Kind.NUMBER, "Overall false-alarm rate of the consistency tests", above=0.0, below=0.5),
                Field("delta", Kind.NUMBER, "1 - confidence of the certificate", above=0.0, below=0.5),
                Field("cross_use", Kind.BOOLEAN, "Whether noise that repeats in every use of a weight is tested for"),
                Field(
                    "residual_share",
                    Kind.NUMBER,
                    "Share of each block's data vectors of which every residual is kept, for the tests of directions; "
                    "rounded up to whole vectors",
                    minimum=0.0,
                    maximum=1.0,
                ),
                Field(
                    "gain_tolerance",
                    Kind.NUMBER,
                    "Share by which the amplitude of the returned light may be off the ledger's without a fault of "
                    "anybody; 0 by default, and with a station what its calibration leaves open",
                    minimum=0.0,
                    below=0.5,
                ),
                Field(
                    "phase_tolerance",
                    Kind.NUMBER,
                    "The same of its phase, rad",
                    minimum=0.0,
                    below=0.5,
                ),
                Field(
                    "noise_tolerance",
                    Kind.NUMBER,
                    "The same of the variance of a returned quadrature, SNU at the server's detector",
                    minimum=0.0,
                    below=0.5,
                ),
                Field(
                    "shot_noise",
                    Kind.TEXT,
                    "Where the server's shot-noise unit comes from: calibrated, its own vacuum slots, or vacuum slots "
                    "that crossed the client",
                    choices=SHOT_NOISE,
                ),
                Field(
                    "vacuum_slots",
                    Kind.INTEGER,
                    "Vacuum slots per homodyned row, where the shot-noise unit is measured",
                    minimum=0,
                    maximum=65536,
                ),
            ),
        ),
        Section(
            "guard",
            "How the client checks the light that it is sent; off by default where the server is honest",
            fields=(
                Field(
                    "check_vectors",
                    Kind.INTEGER,
                    "Vectors that the client streams with every block to measure one direction again and again; 0, or "
                    "2 and more",
                    minimum=0,
                    maximum=65536,
                ),
                Field(
                    "monitor_fraction",
                    Kind.NUMBER,
                    "Power fraction of the arriving light that the client's power meter takes",
                    minimum=0.0,
                    below=1.0,
                ),
            ),
        ),
        Section(
            "budgets",
            "What may leak at most; the certificate compares its upper bounds with these",
            fields=(
                Field("bits_per_weight", Kind.NUMBER, "Bits per real weight, one use", above=0.0),
                Field("bits_per_feature", Kind.NUMBER, "Bits per real feature of the data, one use", above=0.0),
                Field("cumulative_bits_per_weight", Kind.NUMBER, "Bits per real weight, all uses", above=0.0),
                Field("cumulative_bits_per_feature", Kind.NUMBER, "Bits per real feature, all uses", above=0.0),
            ),
        ),
    ),
)
"""Everything that an experiment file may hold."""

FIELDS = {entry.name: entry for section in (SCHEMA, *SCHEMA.sections) for entry in section.fields}
"""Every key, whatever its section."""


@dataclass(frozen=True, slots=True)
class ExperimentConfig:
    """What an experiment file says; None for what it does not say. See `SCHEMA` for the meaning of each key.

    `source` is the file, `folder` the folder that relative paths in it count from (None without a file); `overridden`
    are the keys whose values did not come from it, but from an option or an argument.
    """

    model: str | None = None
    data: str | None = None
    labels: str | None = None
    images: int | None = None
    link: str | None = None
    station: str | None = None
    profile: str | None = None
    mu: float | None = None
    amplifier_gain: float | None = None
    tap: str | None = None
    tap_transmissivity: float | None = None
    last_layer_db: float | None = None
    client: str | None = None
    server: str | None = None
    channel: str | None = None
    seed: int | None = None
    out: str | None = None
    accounts: str | None = None
    tile: int | None = None
    depth: str | None = None
    block: int | None = None
    max_symbols: int | None = None
    max_seconds: float | None = None
    counting_fraction: float | None = None
    alpha: float | None = None
    delta: float | None = None
    cross_use: bool | None = None
    residual_share: float | None = None
    gain_tolerance: float | None = None
    phase_tolerance: float | None = None
    noise_tolerance: float | None = None
    shot_noise: str | None = None
    vacuum_slots: int | None = None
    check_vectors: int | None = None
    monitor_fraction: float | None = None
    bits_per_weight: float | None = None
    bits_per_feature: float | None = None
    cumulative_bits_per_weight: float | None = None
    cumulative_bits_per_feature: float | None = None
    source: str | None = None
    folder: Path | None = None
    overridden: frozenset[str] = frozenset()

    def path(self, value: str) -> Path:
        """A path from the file, counted from the file's folder where it is relative."""
        return Path(value) if self.folder is None else self.folder / value


def load_experiment(path: str | Path) -> ExperimentConfig:
    """Read and check an experiment file.

    Raises
    ------
    InputError
        For any mistake in it.
    """
    return read_experiment(load(path), folder=Path(path).parent)


def read_experiment(document: Document, *, folder: Path | None = None) -> ExperimentConfig:
    """The experiment in a document.

    Raises
    ------
    InputError
        For any mistake in it.
    """
    values: dict[str, Any] = SCHEMA.read(document)
    for section in SCHEMA.sections:
        values |= values.pop(section.name) or {}
    return ExperimentConfig(**values, source=document.source, folder=folder)
