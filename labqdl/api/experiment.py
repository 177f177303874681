"""An experiment with every choice made: what a run does, resolved from files, flags and defaults."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from labqdl.api.importing import check_shape, load_model_or_explain
from labqdl.api.light_paths import TWIN, LightPath, find_light_path, twin_path
from labqdl.config import ExperimentConfig, load_experiment, resolve_operating_point
from labqdl.config.experiment import FIELDS
from labqdl.errors import InputError
from labqdl.facts import (
    Budgets,
    Component,
    FrameDescription,
    Ledger,
    OperatingPoint,
    Owner,
    Place,
    ShotNoise,
    VerificationPlan,
)
from labqdl.facts.monitor import POWER_MONITOR
from labqdl.link import Depth, ServerBehaviour, parse_channel, parse_client, parse_server
from labqdl.network import Dataset, Network, default_dataset, load_dataset
from labqdl.optics.modes import layer_amplitudes
from labqdl.units import from_db

DEFAULT_MODEL = "mnist-robust"
STATION_MODEL = "digits"
"""Of a station or its twin, whose rows are short."""
DEFAULT_LINK = "ideal"
DEFAULT_BLOCK = 250
"""Images a block: larger ones pay less often for what a block costs beside light and random numbers, and of 250 the
default plan keeps one in full."""
BENCH_BLOCK = 10
"""Images a block on instruments, which are slow: what a stop or a failure costs at most."""
RESIDUALS_BLOCK = 32
"""Images a block where every residual is kept: 784 rows of them take 40 MB in memory."""
DEFAULT_OUT = "runs"
DEFAULT_ACCOUNTS = "accounts"
"""Folder beside a run in which accounts are kept where a cumulative budget is set."""
DEFAULT_VACUUM_SLOTS = 16
"""Vacuum slots per homodyned row where the server measures its shot-noise unit."""
DEFAULT_CHECK_VECTORS = 4
"""Check vectors a block of a client that meets an emulated cheat."""
MOST_CHECK_VECTORS = 10_000
"""Most check vectors a block: every one takes as much light and memory as an image."""
DEFAULT_MONITOR_PHOTONS = 1e-5
"""Photons per mode that such a client's power meter takes: 0.0001 bit per weight that the server cannot exclude."""

_Limits = TypeVar("_Limits", VerificationPlan, Budgets)


@dataclass(frozen=True)
class Experiment:
    """Everything a run needs, checked.

    Attributes
    ----------
    model_source, data_source, labels_source:
        Names or absolute paths, so that a resumed run finds them.
    network, dataset:
        What they hold; the dataset is cut to the images of the run.
    prepared:
        Data vectors behind the model's public pipeline; float32, (images, features).
    link, link_source:
        Name of the link; the name or absolute path that it came from.
    station, profile, instruments:
        Name or absolute path of the station, and its profile, None without one; whether its instruments are behind
        the link (and no emulation of it).
    point, ledger:
        Operating point and the honest light path.
    last_layer_db:
        Light of the last layer in dB on top of its share in the model.
    world:
        The light path that is really there.
    client, channel, server:
        Behaviours by their words.
    tile, vacuum_slots, check_vectors:
        As in the frame.
    monitor_fraction:
        Share of the arriving light that the client's power meter takes; part of the ledger where it is not 0.
    """

    model_source: str
    data_source: str
    labels_source: str | None
    network: Network
    dataset: Dataset
    prepared: NDArray[np.float32]
    link: str
    link_source: str
    station: str | None
    profile: str | None
    instruments: bool
    point: OperatingPoint
    last_layer_db: float
    ledger: Ledger
    world: Ledger
    client: str
    channel: str
    server: str
    seed: int | None
    out: Path
    accounts: Path | None
    depth: Depth
    block: int
    max_symbols: int | None
    max_seconds: float | None
    tile: int | None
    plan: VerificationPlan
    budgets: Budgets
    vacuum_slots: int
    check_vectors: int
    monitor_fraction: float

    def frame(self, session: str) -> FrameDescription:
        """The frame that the server proposes."""
        return FrameDescription(
            session=session,
            layers=self.network.frame_layers(self.light, self.tile),
            images=len(self.prepared),
            block=self.block,
            tap=self.point.tap,
            ledger=self.ledger,
            plan=self.plan,
            budgets=self.budgets,
            vacuum_slots=self.vacuum_slots,
            check_vectors=self.check_vectors,
        )

    @property
    def light(self) -> tuple[float, ...]:
        """Photons per mode of every layer at the server's output."""
        return layers_light(self.network, self.point.mu, self.last_layer_db)

    @property
    def data_digest(self) -> str:
        """BLAKE2b-256 of the prepared data, hexadecimal."""
        return hashlib.blake2b(np.ascontiguousarray(self.prepared).data, digest_size=32).hexdigest()

    def accounts_beside(self, run: Path) -> Path | None:
        """Folder of the accounts of a run in this folder; None where none are kept."""
        cumulative = (self.budgets.cumulative_bits_per_weight, self.budgets.cumulative_bits_per_feature)
        if self.accounts is not None or cumulative == (None, None):
            return self.accounts
        return run.absolute().parent / DEFAULT_ACCOUNTS

    def to_json(self) -> dict[str, Any]:
        """What a resumed run needs to build the same experiment again; the frame is recorded beside it."""
        return {
            "model": self.model_source,
            "model_fingerprint": self.network.fingerprint,
            "data": self.data_source,
            "labels": self.labels_source,
            "data_digest": self.data_digest,
            "images": len(self.prepared),
            "mu": self.point.mu,
            "last_layer_db": self.last_layer_db,
            "link": self.link,
            "link_source": self.link_source,
            "station": self.station,
            "profile": self.profile,
            "max_symbols": self.max_symbols,
            "max_seconds": self.max_seconds,
            "client": self.client,
            "channel": self.channel,
            "server": self.server,
            "monitor_fraction": self.monitor_fraction,
            "tile": self.tile,
            "seed": self.seed,
            "depth": self.depth.value,
            "accounts": None if self.accounts is None else str(self.accounts),
        }


def configure(file: str | Path | None, overrides: dict[str, Any]) -> ExperimentConfig:
    """The experiment file, if there is one, with flags on top.

    Raises
    ------
    InputError
        For a mistake in the file, or an override that no experiment has.
    """
    for name in overrides:
        if name not in FIELDS:
            raise InputError(f"unknown setting '{name}'", expected="one of " + ", ".join(sorted(FIELDS)))
    config = load_experiment(file) if file is not None else ExperimentConfig()
    given = {name: value for name, value in overrides.items() if value is not None}
    overridden = frozenset(given)
    if given.keys() & {"link", "station"}:  # either takes the place of what the file says of the other
        config = replace(config, link=None, station=None, profile=None)
    for name in ("model", "data", "labels", "link", "station", "out", "accounts"):
        if name not in given and getattr(config, name) is not None and config.folder is not None:
            given[name] = _from_file(config, name)
    plain: dict[str, Any] = {name: str(value) if isinstance(value, Path) else value for name, value in given.items()}
    merged = replace(config, **plain, overridden=overridden)
    # Only here: older records may hold both. A station's verifier measures its own unit where nobody says otherwise.
    station = merged.station is not None or (merged.link or "").startswith(TWIN)
    usual = ShotNoise.OWN if station else ShotNoise.KNOWN
    if merged.vacuum_slots and (merged.shot_noise or usual) == ShotNoise.KNOWN:
        raise _placed(
            merged,
            InputError(
                f"{merged.vacuum_slots} vacuum slots are of no use to a server that knows its shot-noise unit",
                source=merged.source,
                key="vacuum_slots",
                expected="0 where the shot-noise unit is 'known'",
                hint=f"A shot_noise that is '{ShotNoise.OWN}' or '{ShotNoise.CROSSED}' is measured in such slots",
            ),
        )
    return merged


def _placed(config: ExperimentConfig, error: InputError) -> InputError:
    """A mistake in a value that did not come from the file does not name the file."""
    return error.at(None, error.key) if error.source == config.source and error.key in config.overridden else error


def _from_file(config: ExperimentConfig, name: str) -> str:
    """A file's value: a path counts from the file's folder if something lies there, else it is a name."""
    value: str = getattr(config, name)
    if name == "link" and value.startswith(TWIN):
        return value
    path = config.path(value)
    folder = name in ("out", "accounts")
    looks_like_path = folder or bool(Path(value).suffix) or len(Path(value).parts) > 1 or path.exists()
    return str(path) if looks_like_path else value


def resolve(config: ExperimentConfig, path: LightPath | None = None) -> Experiment:
    """Make every choice and load everything; nothing is written.

    Parameters
    ----------
    path:
        The light path, where it is known already: that of an opened station, or of a recorded run. None: what the
        configuration names; of a station that is not open, the path by its data sheets.

    Raises
    ------
    InputError
        For any mistake; names file, key, option or value.
    """
    try:
        return _resolved(config, path)
    except InputError as error:
        raise _placed(config, error) from None


def _resolved(config: ExperimentConfig, path: LightPath | None) -> Experiment:
    source = config.source
    if config.station is not None and config.link is not None:
        raise InputError("both a link and a station", source=source, key="link", expected="one of them")
    if config.profile is not None and config.station is None:
        raise InputError("a profile of no station", source=source, key="profile", expected="a station with it")
    depth = Depth.STATISTICS if config.depth is None else Depth(_checked(config, "depth"))
    link = _light_path(config) if path is None else path
    config = _of_station(config, link)
    point = _point(config, link.point)
    client = parse_client(config.client or "honest")
    channel = parse_channel(config.channel or "honest")
    server = parse_server(config.server or "honest")
    if link.instruments and not (client.word == channel.word == server.word == "honest"):
        raise InputError(
            "cheats are emulated, and instruments are behind this link",
            source=source,
            key=next(key for key in ("client", "server", "channel") if getattr(config, key) not in (None, "honest")),
            expected="honest",
            hint=f"link = {TWIN}{config.station} emulates the station",
        )
    plan = _limits(VerificationPlan, config)
    budgets = _limits(Budgets, config)
    model_source = _absolute(config.model or (STATION_MODEL if link.station else DEFAULT_MODEL))
    network = load_model_or_explain(model_source)
    if config.mu is None:
        split = 0.0 if config.last_layer_db is None else _checked(config, "last_layer_db")
        point = _within_reach(point, network, split, link.most_photons)
    data_source = config.data or default_dataset(model_source)
    if data_source is None:
        raise InputError(
            f"model '{model_source}' comes without data", source=source, key="data", expected="a data set (--data)"
        )
    data_source = _absolute(data_source)
    labels_source = None if config.labels is None else str(Path(config.labels).absolute())
    dataset = load_dataset(data_source, labels=None if labels_source is None else Path(labels_source))
    if config.images is not None:
        if config.images < 1:
            raise InputError(f"{config.images} images", source=source, key="images", expected="at least 1")
        if config.images > len(dataset):
            raise InputError(
                f"{config.images} images were asked for, but {dataset.source} has {len(dataset)}",
                source=source,
                key="images",
                expected=f"at most {len(dataset)}",
            )
        dataset = dataset.first(config.images)
    check_shape(network, model_source, dataset)
    prepared = network.prepare(dataset.data, source=dataset.source)
    if dataset.labels is not None and dataset.labels.max() >= max(2, network.layers[-1].rows):
        raise InputError(
            f"label {dataset.labels.max()} is more than the model's {network.layers[-1].rows} outputs can say",
            source=dataset.source,
            expected="labels of the model's classes",
        )
    block = config.block
    if block is None:
        block = RESIDUALS_BLOCK if depth is Depth.RESIDUALS else BENCH_BLOCK if link.instruments else DEFAULT_BLOCK
    if block < 1:
        raise InputError(f"{block} images per block", source=source, key="block", expected="at least 1")
    if config.seed is not None and config.seed < 0:
        raise InputError(f"{config.seed} is negative", source=source, key="seed", expected="0 or more")
    checks, fraction = _guard(config, server, point.mu)
    if link.instruments and fraction:
        raise InputError(
            f"monitor fraction {fraction!r}",
            source=source,
            key="monitor_fraction",
            expected="0: the station says which meters there are",
        )
    ledger = _with_monitor(link.ledger, fraction)
    return Experiment(
        model_source=model_source,
        data_source=data_source,
        labels_source=labels_source,
        network=network,
        dataset=dataset,
        prepared=prepared,
        link=link.name,
        link_source=link.source if link.station else _absolute(link.source),
        station=_absolute(config.station) if config.station is not None else None,
        profile=config.profile,
        instruments=link.instruments,
        point=point,
        last_layer_db=0.0 if config.last_layer_db is None else _checked(config, "last_layer_db"),
        ledger=ledger,
        world=channel.build(ledger),
        client=client.word,
        channel=channel.word,
        server=server.word,
        seed=config.seed,
        out=Path(config.out or DEFAULT_OUT),
        accounts=None if config.accounts is None else Path(config.accounts).absolute(),
        depth=depth,
        block=block,
        max_symbols=None if config.max_symbols is None else _checked(config, "max_symbols"),
        max_seconds=None if config.max_seconds is None else _checked(config, "max_seconds"),
        tile=_tile(config, link),
        plan=plan,
        budgets=budgets,
        vacuum_slots=_vacuum_slots(config, plan.shot_noise),
        check_vectors=checks,
        monitor_fraction=fraction,
    )


def _within_reach(point: OperatingPoint, network: Network, last_layer_db: float, most: float) -> OperatingPoint:
    """The point with less light where the largest weight would be a bin of more photons than `most`."""
    if not math.isfinite(most):
        return point
    brightest = 0.0
    for layer, mu in zip(network.layers, layers_light(network, point.mu, last_layer_db), strict=True):
        q = layer_amplitudes(layer.weights, layer.bias, mu)[0].astype(np.float64)
        brightest = max(brightest, float((q[:, 0::2] ** 2 + q[:, 1::2] ** 2).max()) / 4)
    return point if brightest <= most else replace(point, mu=float(f"{point.mu * most / brightest:.4g}"))


def _light_path(config: ExperimentConfig) -> LightPath:
    if config.station is not None:
        return twin_path(config.station, config.profile, config.mu)
    if config.link is not None and config.link.startswith(TWIN):
        return twin_path(config.link.removeprefix(TWIN), mu=config.mu)
    return find_light_path(config.link or DEFAULT_LINK)


def _of_station(config: ExperimentConfig, link: LightPath) -> ExperimentConfig:
    """What a station takes where nobody says otherwise: rows homodyned, in a shot-noise unit of the verifier's own."""
    if not link.station:
        return config
    counting, shot_noise = config.counting_fraction, config.shot_noise
    gain, phase, noise = link.tolerances
    gain = gain if config.gain_tolerance is None else config.gain_tolerance
    phase = phase if config.phase_tolerance is None else config.phase_tolerance
    noise = noise if config.noise_tolerance is None else config.noise_tolerance
    return replace(
        config,
        gain_tolerance=gain,
        phase_tolerance=phase,
        noise_tolerance=noise,
        counting_fraction=0.0 if counting is None else counting,
        shot_noise=ShotNoise.OWN.value if shot_noise is None else shot_noise,
    )


def _tile(config: ExperimentConfig, link: LightPath) -> int | None:
    if config.tile is None:
        return link.tile
    tile = int(_checked(config, "tile"))
    if link.tile is not None and tile > link.tile:
        raise InputError(
            f"tiles of {tile} modes",
            source=config.source,
            key="tile",
            expected=f"at most {link.tile}, the modes of the interferometer of {link.name}",
        )
    return tile


def _vacuum_slots(config: ExperimentConfig, shot_noise: ShotNoise) -> int:
    if config.vacuum_slots is None:
        return 0 if shot_noise is ShotNoise.KNOWN else DEFAULT_VACUUM_SLOTS
    if config.vacuum_slots < 0 or (not config.vacuum_slots and shot_noise is not ShotNoise.KNOWN):
        raise InputError(
            f"{config.vacuum_slots} vacuum slots",
            source=config.source,
            key="vacuum_slots",
            expected=f"at least 1 where the shot-noise unit is '{shot_noise}'",
        )
    return config.vacuum_slots


def _guard(config: ExperimentConfig, server: ServerBehaviour, mu: float) -> tuple[int, float]:
    """Check vectors a block, and the share of light for the power meter.

    Not given, both are off with an honest server: they cost light and leak some weight. A client that meets an
    emulated cheat is emulated with them, since what it sees is what such a run is made for.
    """
    checks, fraction = config.check_vectors, config.monitor_fraction
    if checks is None:
        checks = 0 if server.honest else DEFAULT_CHECK_VECTORS
    if fraction is None:
        fraction = 0.0 if server.honest else min(DEFAULT_MONITOR_PHOTONS / mu, 0.5)
    if checks < 0 or checks == 1:
        raise InputError(
            f"{checks} check vectors", source=config.source, key="check_vectors", expected="0, or 2 and more to compare"
        )
    if checks > MOST_CHECK_VECTORS:
        raise InputError(
            f"{checks} check vectors",
            source=config.source,
            key="check_vectors",
            expected=f"at most {MOST_CHECK_VECTORS:,} a block",
        )
    if not 0 <= fraction < 1:
        raise InputError(
            f"monitor fraction {fraction!r}",
            source=config.source,
            key="monitor_fraction",
            expected="0 or more, below 1",
        )
    return checks, fraction


def _with_monitor(ledger: Ledger, fraction: float) -> Ledger:
    """The ledger with the client's power meter at the client's input; unchanged without one."""
    if fraction == 0:
        return ledger
    meter = Component(POWER_MONITOR, Place.CLIENT_IN, Owner.CLIENT, transmissivity=1 - fraction)
    before = [component for component in ledger.components if component.place is Place.FORWARD]
    others = [component for component in ledger.components if component.place is not Place.FORWARD]
    return replace(ledger, components=(*before, meter, *others))


def layers_light(network: Network, mu: float, last_layer_db: float) -> tuple[float, ...]:
    """Photons per mode of every layer: its share of the operating point's, more or less for the last one."""
    shares = [layer.light for layer in network.layers]
    shares[-1] *= from_db(last_layer_db)
    return tuple(mu * share for share in shares)


def _checked(config: ExperimentConfig, key: str) -> Any:
    """A value within its limits; checked here as well, as flags and Python callers do not pass through a file."""
    return FIELDS[key].check(getattr(config, key), source=config.source)


def _point(config: ExperimentConfig, default: OperatingPoint | None) -> OperatingPoint:
    try:
        return resolve_operating_point(
            default,
            mu=config.mu,
            amplifier_gain=config.amplifier_gain,
            tap=config.tap,
            tap_transmissivity=config.tap_transmissivity,
            source=config.source,
        )
    except ValueError as error:
        raise InputError(str(error), source=config.source) from None


def _limits(kind: type[_Limits], config: ExperimentConfig) -> _Limits:
    """A plan or budgets with what the configuration says in place of the defaults."""
    names = [field.name for field in fields(kind)]
    given = {name: _checked(config, name) for name in names if getattr(config, name) is not None}
    if "shot_noise" in given:
        given["shot_noise"] = ShotNoise(given["shot_noise"])
    return kind(**given)


def _absolute(what: str) -> str:
    """A path made absolute, a name left as it is."""
    path = Path(what)
    is_path = not what.startswith("sklearn:") and (path.exists() or len(path.parts) > 1 or bool(path.suffix))
    return str(path.absolute()) if is_path else what
