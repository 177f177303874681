"""An experiment with every choice made: what a run does, resolved from files, flags and defaults."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from labqdl.config import ExperimentConfig, load_experiment, load_link, resolve_operating_point
from labqdl.errors import InputError
from labqdl.facts import Budgets, FrameDescription, Ledger, OperatingPoint, VerificationPlan
from labqdl.link import Depth, parse_channel, parse_client, parse_server
from labqdl.network import Dataset, Network, default_dataset, load_dataset, load_model

DEFAULT_MODEL = "mnist-robust"
DEFAULT_LINK = "ideal"
DEFAULT_BLOCK = 256
"""Images a block: larger ones pay less often for what a block costs beside light and random numbers."""
RESIDUALS_BLOCK = 32
"""Images a block where every residual is kept: 784 rows of them take 40 MB in memory."""
DEFAULT_OUT = "runs"

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
    point, ledger:
        Operating point and the honest light path.
    world:
        The light path that is really there.
    client, channel, server:
        Behaviours by their words.
    """

    model_source: str
    data_source: str
    labels_source: str | None
    network: Network
    dataset: Dataset
    prepared: NDArray[np.float32]
    link: str
    link_source: str
    point: OperatingPoint
    ledger: Ledger
    world: Ledger
    client: str
    channel: str
    server: str
    seed: int | None
    out: Path
    depth: Depth
    block: int
    plan: VerificationPlan
    budgets: Budgets

    def frame(self, session: str) -> FrameDescription:
        """The frame that the server proposes."""
        return FrameDescription(
            session=session,
            layers=self.network.frame_layers(self.point.mu),
            images=len(self.prepared),
            block=self.block,
            tap=self.point.tap,
            ledger=self.ledger,
            plan=self.plan,
            budgets=self.budgets,
        )

    @property
    def data_digest(self) -> str:
        """BLAKE2b-256 of the prepared data, hexadecimal."""
        return hashlib.blake2b(np.ascontiguousarray(self.prepared).data, digest_size=32).hexdigest()

    def to_json(self) -> dict[str, Any]:
        """What a resumed run needs to build the same experiment again; the frame is recorded beside it."""
        return {
            "model": self.model_source,
            "model_fingerprint": self.network.fingerprint,
            "data": self.data_source,
            "labels": self.labels_source,
            "data_digest": self.data_digest,
            "images": len(self.prepared),
            "link": self.link,
            "link_source": self.link_source,
            "client": self.client,
            "channel": self.channel,
            "server": self.server,
            "seed": self.seed,
            "depth": self.depth.value,
        }


def configure(file: str | Path | None, overrides: dict[str, Any]) -> ExperimentConfig:
    """The experiment file, if there is one, with flags on top.

    Raises
    ------
    InputError
        For a mistake in the file, or an override that no experiment has.
    """
    known = {field.name for field in fields(ExperimentConfig)} - {"source", "folder"}
    for name in overrides:
        if name not in known:
            raise InputError(f"unknown setting '{name}'", expected="one of " + ", ".join(sorted(known)))
    config = load_experiment(file) if file is not None else ExperimentConfig()
    given = {name: value for name, value in overrides.items() if value is not None}
    for name in ("model", "data", "labels", "link", "out"):
        if name not in given and getattr(config, name) is not None and config.folder is not None:
            given[name] = _from_file(config, name)
    plain: dict[str, Any] = {name: str(value) if isinstance(value, Path) else value for name, value in given.items()}
    return replace(config, **plain)


def _from_file(config: ExperimentConfig, name: str) -> str:
    """A file's value: a path counts from the file's folder if something lies there, else it is a name."""
    value: str = getattr(config, name)
    path = config.path(value)
    looks_like_path = name == "out" or bool(Path(value).suffix) or len(Path(value).parts) > 1 or path.exists()
    return str(path) if looks_like_path else value


def resolve(config: ExperimentConfig) -> Experiment:
    """Make every choice and load everything; nothing is written.

    Raises
    ------
    InputError
        For any mistake; names file, key, option or value.
    """
    source = config.source
    depth = _one_of(Depth, config.depth or Depth.STATISTICS.value, "depth", source)
    link = load_link(config.link or DEFAULT_LINK)
    point = _point(config, link.operating_point)
    client = parse_client(config.client or "honest")
    channel = parse_channel(config.channel or "honest")
    server = parse_server(config.server or "honest")
    plan = _limits(VerificationPlan, config, source)
    budgets = _limits(Budgets, config, source)
    model_source = _absolute(config.model or DEFAULT_MODEL)
    network = load_model(model_source)
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
    prepared = network.prepare(dataset.data, source=dataset.source)
    if dataset.labels is not None and dataset.labels.max() >= max(2, network.layers[-1].rows):
        raise InputError(
            f"label {dataset.labels.max()} is more than the model's {network.layers[-1].rows} outputs can say",
            source=dataset.source,
            expected="labels of the model's classes",
        )
    block = config.block
    if block is None:
        block = RESIDUALS_BLOCK if depth is Depth.RESIDUALS else DEFAULT_BLOCK
    if block < 1:
        raise InputError(f"{block} images per block", source=source, key="block", expected="at least 1")
    if config.seed is not None and config.seed < 0:
        raise InputError(f"{config.seed} is negative", source=source, key="seed", expected="0 or more")
    return Experiment(
        model_source=model_source,
        data_source=data_source,
        labels_source=labels_source,
        network=network,
        dataset=dataset,
        prepared=prepared,
        link=link.name,
        link_source=_absolute(config.link or DEFAULT_LINK),
        point=point,
        ledger=link.ledger,
        world=channel.build(link.ledger),
        client=client.word,
        channel=channel.word,
        server=server.word,
        seed=config.seed,
        out=Path(config.out or DEFAULT_OUT),
        depth=depth,
        block=block,
        plan=plan,
        budgets=budgets,
    )


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


def _one_of(kind: type[Depth], word: str, key: str, source: str | None) -> Depth:
    try:
        return kind(word)
    except ValueError:
        raise InputError(
            f"unknown {key} '{word}'", source=source, key=key, expected="one of " + ", ".join(kind)
        ) from None


def _limits(kind: type[_Limits], config: ExperimentConfig, source: str | None) -> _Limits:
    """A plan or budgets with what the configuration says in place of the defaults."""
    names = [field.name for field in fields(kind)]
    given = {name: getattr(config, name) for name in names if getattr(config, name) is not None}
    try:
        return kind(**given)
    except ValueError as error:
        raise InputError(str(error), source=source) from None


def _absolute(what: str) -> str:
    """A path made absolute, a name left as it is."""
    path = Path(what)
    is_path = not what.startswith("sklearn:") and (path.exists() or len(path.parts) > 1 or bool(path.suffix))
    return str(path.absolute()) if is_path else what
