"""Planning: which operating point reaches a target on a link within limits, or what stands in the way."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from labqdl.api.bounding import DEFAULT_MODES, DEFAULT_ROWS, layer_frames, tiled
from labqdl.api.bounding import f2_db as f2_db_of
from labqdl.api.curves import curve_of, published_curve
from labqdl.api.light_paths import find_link
from labqdl.api.results import Printable
from labqdl.config import LinkFile
from labqdl.config.builds import find_build, shipped_builds
from labqdl.config.schema import read_choice
from labqdl.errors import InputError
from labqdl.facts import Bound, LeakageReport, OperatingPoint, TapKind, VerificationPlan
from labqdl.network import Network, load_model
from labqdl.planner.curves import MeasuredCurve
from labqdl.planner.demands import Demand, demands
from labqdl.planner.encodings import Encoding, encodings
from labqdl.planner.plan import Answer, Candidate, Cost, answer, part_costs, trade_off
from labqdl.planner.question import Aim, Judge, Question, Subject, default_aim
from labqdl.planner.search import Point
from labqdl.planner.stage import Stage
from labqdl.planner.verification import (
    Certification,
    Detection,
    best_certification,
    certification,
    detections,
    symbols_per_image,
)
from labqdl.security.engines import anisotropic_bound, asymptotic_bounds
from labqdl.security.spectrum import Spectrum, layer_spectrum
from labqdl.units import from_db

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderableType

PLAN_SCHEMA = "labqdl.plan/1"
DEFAULT_MODEL = "mnist-robust"
DEFAULT_LINK = "ideal"
DEFAULT_ACCURACY = 0.96
DEFAULT_SYMBOL_RATE = 100e6
"""Symbols a second, of the transmitters that the seconds are given for."""
PAPER_NETWORK = "paper-network"
"""The authors' network: its sizes and its published accuracy; its weights are taken as equally bright everywhere."""
TAPS = ("both", *(kind.value for kind in TapKind))
_MOST_SQUEEZING = 40.0
"""dB; nothing that anybody will ever see lies beyond it."""
MARGIN = 1.1
"""Without a limit on the weights, certification is asked for up to this factor above the figure itself."""


@dataclass(frozen=True, eq=False)
class PlanResult(Printable):
    """What the planner found, with everything that it rests on.

    Attributes
    ----------
    model, link:
        Names; the model is None where only sizes were given.
    answer:
        The best points of all stages, or what stands in the way.
    leakage:
        All bounds at the best point, as `labqdl run` gives them; empty where there is no point.
    accuracy, accuracy_interval:
        By the model's curve at the point's F²; None without a curve.
    layers_f2_db:
        F² of every layer, dB.
    certifications:
        Images and symbols that certify the weights' bound: all rows homodyned, and the best share of counted rows.
    detections:
        How soon the tests see a cheat.
    demands:
        What the point asks of a bench.
    costs:
        What every component costs.
    trade_off:
        Points with less leakage of the data and more of the weights.
    encodings:
        What other encodings would leak to loss alone at the point's signal; empty where that was not asked.
    symbol_rate:
        Symbols a second that `seconds` means.
    """

    model: str | None
    model_source: str | None
    link: str
    link_file: LinkFile
    answer: Answer
    leakage: LeakageReport
    accuracy: float | None
    accuracy_interval: tuple[float, float] | None
    layers_f2_db: tuple[float, ...]
    certifications: tuple[Certification, ...]
    detections: tuple[Detection, ...]
    demands: tuple[Demand, ...]
    costs: tuple[Cost, ...]
    trade_off: tuple[Point, ...]
    encodings: tuple[Encoding, ...]
    symbol_rate: float
    plan: VerificationPlan

    @property
    def feasible(self) -> bool:
        """Whether the target is reached within the limits."""
        return self.answer.feasible

    @property
    def exit_code(self) -> int:
        """Exit code of the command line: 0 feasible, 4 not."""
        return 0 if self.feasible else 4

    @property
    def best(self) -> Candidate | None:
        """The best point, or the one that comes closest."""
        return self.answer.best

    @property
    def seconds_per_image(self) -> float | None:
        """Seconds of light for one image, one way."""
        return None if self.best is None else symbols_per_image(self.best.point) / self.symbol_rate

    @property
    def reachable_accuracy(self) -> float:
        """Accuracy at the brightest point within the limits; NaN where there is none or no curve."""
        curve, found = self.answer.question.subject.curve, self.answer.reachable
        return math.nan if curve is None or found is None else float(curve.at(found.f2_db, found.last_layer_db))

    def to_json(self) -> dict[str, Any]:
        """The object of `labqdl plan --json`; schema `labqdl.plan/1`, documented in docs/file-formats.md."""
        question = self.answer.question
        document: dict[str, Any] = {
            "schema": PLAN_SCHEMA,
            "model": self.model,
            "link": self.link,
            "question": {
                "accuracy": question.accuracy,
                "f2_db": question.f2_db,
                "bits_per_weight": question.bits_per_weight,
                "bits_per_feature": question.bits_per_feature,
                "aim": question.aim.value,
                "judge": question.judge.value,
                "taps": [stage.name for stage in question.stages],
                "weight_uses": question.weight_uses,
                "data_uses": question.data_uses,
                "cross_use_tested": question.cross_use_tested,
                "counting_fraction": question.counting_fraction,
            },
            "feasible": self.feasible,
            "point": None if self.best is None else self._point(self.best),
            "accuracy": self.accuracy,
            "accuracy_interval": None if self.accuracy_interval is None else list(self.accuracy_interval),
            "accuracy_measured_on": None if question.subject.curve is None else question.subject.curve.measured_on,
            "leakage": self.leakage.to_json(),
            "alternatives": [_summary(entry) for entry in self.answer.alternatives],
            "obstacles": [_finite(asdict(entry)) for entry in self.answer.obstacles],
            "reachable": None if self.answer.reachable is None else self._reachable(self.answer.reachable),
            "costs": [_finite(asdict(cost)) for cost in self.costs],
            "demands": [
                {
                    **_finite({"name": each.name, "value": each.value}),
                    "unit": each.unit,
                    "words": each.words,
                    "reached": each.reached,
                    "floor": None if each.floor is None else asdict(each.floor),
                }
                for each in self.demands
            ],
            "verification": {
                "certification": [self._certification(entry) for entry in self.certifications],
                "detection": [_finite(asdict(entry)) for entry in self.detections],
            },
            "trade_off": [_figures(point) for point in self.trade_off],
            "encodings": [asdict(each) for each in self.encodings],
            "symbol_rate": self.symbol_rate,
            "seconds_per_image": self.seconds_per_image,
        }
        if self.best is not None:
            document["symbols_per_image"] = symbols_per_image(self.best.point)
        return document

    def _point(self, best: Candidate) -> dict[str, Any]:
        point = best.point
        layers = [
            {
                "rows": layer.rows,
                "n_modes": layer.n_modes,
                "mu": layer.mu,
                "f2_db": f2_db,
                "bits_per_weight": bits,
                "bits_per_weight_isotropic": isotropic,
            }
            for layer, f2_db, bits, isotropic in zip(
                point.layers, self.layers_f2_db, point.layer_weights, point.layer_weights_isotropic, strict=True
            )
        ]
        return {
            **_summary(best),
            "tap_setting": {
                "kind": point.setting.kind.value,
                "amplifier_gain": point.setting.amplifier_gain,
                "tap_transmissivity": point.setting.tap_transmissivity,
            },
            "last_layer_db": best.last_layer_db,
            "bits_per_weight_isotropic": point.weights_isotropic,
            "bits_per_feature_unit_gain": point.data_ideal,
            "layers": layers,
        }

    def _reachable(self, entry: Candidate) -> dict[str, Any]:
        return {**_summary(entry), **_finite({"accuracy": self.reachable_accuracy})}

    def _certification(self, entry: Certification) -> dict[str, Any]:
        seconds = None if entry.symbols is None else entry.symbols / self.symbol_rate
        return {**asdict(entry), "seconds": seconds}

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[RenderableType]:
        from labqdl.api.plan_tables import plan_summary

        yield from plan_summary(self)


def plan(
    *,
    model: str | Path | None = None,
    accuracy: float | str | None = None,
    f2_db: float | None = None,
    bits_per_weight: float | None = None,
    bits_per_feature: float | None = None,
    link: str | Path | None = None,
    tap: str = "both",
    build: str | None = None,
    aim: str | None = None,
    judge: str = Judge.LARGEST.value,
    assured: bool = False,
    uses: int = 1,
    data_uses: int = 1,
    cross_use: bool = True,
    last_layer_db: float | str = 0.0,
    curve: str | Path | None = None,
    modes: Sequence[int] = (),
    rows: Sequence[int] = (),
    tile: int | None = None,
    symbol_rate: float = DEFAULT_SYMBOL_RATE,
    alpha: float | None = None,
    delta: float | None = None,
    squeezing: Sequence[float] = (),
    details: bool = True,
) -> PlanResult:
    """The operating point that reaches a target within limits on what leaks, or what stands in the way.

    Parameters
    ----------
    model:
        Shipped model, path, or `paper-network`; `mnist-robust` by default. Not needed for a target `f2_db`.
    accuracy, f2_db:
        The target: an accuracy (0.96 by default), "max" for as much as the limits allow, or F² itself in dB.
    bits_per_weight, bits_per_feature:
        Limits, after all uses; what has none is made small.
    link:
        Shipped link or link file; `ideal` by default.
    tap, build:
        `amplifier`, `feed-forward` or `both`; a shipped build of one of them (labqdl/data/builds.toml), whose floors
        then hold.
    aim, judge:
        What is optimised: `margin`, `weights` or `data` (by default what the limits leave open). Whether the `largest`
        layer's figure counts for the weights, as in a run's bounds, or the `mean` over all weights.
    assured:
        Whether the lower end of the accuracy's 95 % interval has to reach the target.
    uses, data_uses, cross_use:
        Uses of the same weights and data that the limits cover, judged as a run's accountants do; whether the cross-use
        test is in force.
    last_layer_db:
        Extra light of the last layer in dB, or "choose".
    curve:
        File of the model's accuracy against F²; the one that ships by default.
    modes, rows:
        Sizes of the layers where only F² is the target; 784-784-10 by default.
    tile:
        Modes that the client's interferometer takes at once, longer rows being cut into tiles; None for whole rows.
    symbol_rate, alpha, delta:
        Symbols a second; false-alarm rate of the tests and 1 - confidence of the certificate.
    squeezing:
        Squeezing in dB to compare the point's coherent light with; see `labqdl.planner.encodings`.
    details:
        Whether demands, costs, verification and trade-off are worked out as well.

    Raises
    ------
    InputError
        For impossible values; names the option.
    """
    positive("--symbol-rate", symbol_rate)
    for value in squeezing:
        if not 0.0 <= value <= _MOST_SQUEEZING:
            raise InputError(f"{value!r} dB", source="--squeezing", expected=f"between 0 and {_MOST_SQUEEZING:g} dB")
    limits = _verification_plan(alpha, delta)
    chosen = find_link(str(link or DEFAULT_LINK))
    question, network = _question(
        chosen,
        model=model,
        accuracy=accuracy,
        f2_db=f2_db,
        bits_per_weight=bits_per_weight,
        bits_per_feature=bits_per_feature,
        tap=tap,
        build=build,
        aim=aim,
        judge=judge,
        assured=assured,
        uses=uses,
        data_uses=data_uses,
        cross_use=cross_use,
        last_layer_db=last_layer_db,
        curve=curve,
        modes=modes,
        rows=rows,
        tile=tile,
    )
    found = answer(question, explain=details)
    best = found.best
    known = question.subject.curve
    reached = None if best is None or known is None else float(known.at(best.f2_db, best.last_layer_db))
    builds = shipped_builds()
    return PlanResult(
        model=question.subject.name if network is not None or model == PAPER_NETWORK else None,
        model_source=None if network is None else str(model or DEFAULT_MODEL),
        link=chosen.name,
        link_file=chosen,
        answer=found,
        leakage=LeakageReport(() if best is None else bounds_at(question, best.point)),
        accuracy=reached,
        accuracy_interval=None if reached is None or known is None else known.interval(reached),
        layers_f2_db=() if best is None else layers_f2_db(best.point),
        certifications=() if best is None or not details else _certifications(question, best.point, limits.delta),
        detections=()
        if best is None or not details
        else detections(best.point, alpha=limits.alpha, counting_fraction=limits.counting_fraction),
        demands=() if best is None or not details else demands(question, best.point, builds.floors, builds.builds),
        costs=() if best is None or not details else part_costs(question, best),
        trade_off=() if best is None or not details else trade_off(question, best),
        encodings=()
        if best is None or not squeezing
        else encodings(question, best.point, from_db(best.f2_db), tuple(squeezing)),
        symbol_rate=symbol_rate,
        plan=limits,
    )


def bounds_at(question: Question, point: Point) -> tuple[Bound, ...]:
    """The bounds that a run at this point reports, by all engines."""
    bounds = asymptotic_bounds(
        point.layers,
        point.setting,
        point.ledger,
        weight_uses=question.weight_uses,
        data_uses=question.data_uses,
        cross_use_tested=question.cross_use_tested,
    )
    spectra = question.subject.spectra
    if all(spectrum is None for spectrum in spectra):
        return bounds
    known = [spectrum or Spectrum.unknown() for spectrum in spectra]
    steered = [
        anisotropic_bound(
            point.layers,
            known,
            point.setting,
            point.ledger,
            uses=number,
            cross_use_tested=question.cross_use_tested,
        )
        for number in dict.fromkeys((1, question.weight_uses))
    ]
    return (*bounds, *steered)


def layers_f2_db(point: Point) -> tuple[float, ...]:
    """F² of every layer at its own light, dB."""
    return tuple(f2_db_of(OperatingPoint(layer.mu, point.setting), point.ledger) for layer in point.layers)


def subject_of(network: Network, curve: MeasuredCurve | None) -> Subject:
    """A network as the planner sees it, with what its own weights say about their directions."""
    return Subject(
        network.name,
        network.frame_layers(1.0),
        tuple(layer_spectrum(_padded(layer.unit_weights)) for layer in network.layers),
        curve,
    )


def _padded(weights: np.ndarray[Any, np.dtype[np.float32]]) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Rows as the light carries them: two weights a mode, a zero where one is missing."""
    return np.pad(weights, ((0, 0), (0, weights.shape[1] % 2)))


def positive(source: str, value: float | None) -> None:
    """InputError unless the value is a finite number above 0, or None."""
    if value is not None and not (math.isfinite(value) and value > 0):
        raise InputError(f"{value!r}", source=source, expected="a finite number above 0")


def _question(
    link: LinkFile,
    *,
    model: str | Path | None,
    accuracy: float | str | None,
    f2_db: float | None,
    bits_per_weight: float | None,
    bits_per_feature: float | None,
    tap: str,
    build: str | None,
    aim: str | None,
    judge: str,
    assured: bool,
    uses: int,
    data_uses: int,
    cross_use: bool,
    last_layer_db: float | str,
    curve: str | Path | None,
    modes: Sequence[int],
    rows: Sequence[int],
    tile: int | None,
) -> tuple[Question, Network | None]:
    positive("--bits-per-weight", bits_per_weight)
    positive("--bits-per-feature", bits_per_feature)
    for source, value in (("--uses", uses), ("--data-uses", data_uses)):
        if value < 1:
            raise InputError(f"{value}", source=source, expected="1 or more")
    wanted = _accuracy(accuracy, f2_db)
    if wanted == "max" and bits_per_weight is None and bits_per_feature is None:
        raise InputError(
            "nothing limits the light", source="--accuracy max", expected="--bits-per-weight, --bits-per-feature"
        )
    if (modes or rows) and (model is not None or f2_db is None):
        raise InputError("sizes are given beside a model", source="--modes and --rows", expected="--f2-db alone")
    chosen = Aim.ACCURACY if wanted == "max" else _aim(aim, bits_per_weight, bits_per_feature)
    judged = Judge(read_choice(judge, list(Judge), source="--judge", what="way to judge the weights"))
    stages = _stages(tap, build)
    # what takes long, reading a model and its directions, comes after all that can be said without it
    subject, network = _subject(model, curve, f2_db, tuple(modes), tuple(rows))
    subject = replace(subject, layers=tiled(subject.layers, tile))
    split = _split(last_layer_db, subject)
    if subject.curve is None and (f2_db is None or split is None):
        raise InputError("there is no curve of accuracy against F²", source="--curve", expected="'labqdl curve'")
    question = Question(
        subject=subject,
        ledger=link.ledger,
        stages=stages,
        accuracy=wanted if isinstance(wanted, float) else None,
        f2_db=f2_db,
        assured=assured,
        bits_per_weight=bits_per_weight,
        bits_per_feature=bits_per_feature,
        aim=chosen,
        weight_uses=uses,
        data_uses=data_uses,
        cross_use_tested=cross_use,
        counting_fraction=VerificationPlan().counting_fraction,
        judge=judged,
        last_layer_db=split,
    )
    return question, network


def _accuracy(accuracy: float | str | None, f2_db: float | None) -> float | str | None:
    """The target accuracy, "max", or None where F² is the target."""
    if f2_db is not None:
        if accuracy is not None:
            raise InputError("both are given", source="--accuracy and --f2-db", expected="one target")
        if not (math.isfinite(f2_db) and abs(f2_db) <= 60.0):
            raise InputError(f"{f2_db!r}", source="--f2-db", expected="a number of dB between -60 and 60")
        return None
    if accuracy is None:
        return DEFAULT_ACCURACY
    if accuracy == "max":
        return "max"
    text = str(accuracy).strip()
    try:
        value = float(text.removesuffix("%")) * (0.01 if text.endswith("%") else 1.0)
    except ValueError:
        value = math.nan
    if not 0.0 < value < 1.0:
        hint = f"{value / 100:g} for {value:g} %" if 1.0 <= value <= 100.0 else None
        raise InputError(f"{accuracy!r}", source="--accuracy", expected="a number between 0 and 1, or max", hint=hint)
    return value


def _aim(aim: str | None, bits_per_weight: float | None, bits_per_feature: float | None) -> Aim:
    if aim is None:
        return default_aim(bits_per_weight, bits_per_feature)
    names = [entry.value for entry in Aim if entry is not Aim.ACCURACY]
    chosen = Aim(read_choice(aim, names, source="--aim", what="aim"))
    if chosen is Aim.MARGIN and None in (bits_per_weight, bits_per_feature):
        raise InputError("a margin needs both limits", source="--aim", expected="--bits-per-weight, --bits-per-feature")
    return chosen


def _subject(
    model: str | Path | None,
    curve: str | Path | None,
    f2_db: float | None,
    modes: tuple[int, ...],
    rows: tuple[int, ...],
) -> tuple[Subject, Network | None]:
    if model == PAPER_NETWORK:
        layers = layer_frames(DEFAULT_MODES, DEFAULT_ROWS, 1.0)
        return Subject(PAPER_NETWORK, layers, (None,) * len(layers), published_curve()), None
    if model is None and f2_db is not None:
        layers = layer_frames(modes or DEFAULT_MODES, rows or DEFAULT_ROWS, 1.0)
        name = "-".join(str(size) for size in (layers[0].n_features, *(layer.rows for layer in layers)))
        return Subject(name, layers, (None,) * len(layers)), None
    source = DEFAULT_MODEL if model is None else model
    network = load_model(source)
    if f2_db is not None and curve is None:
        try:
            found: MeasuredCurve | None = curve_of(network, source, None)
        except InputError:  # F² itself is the target: a curve only tells the accuracy beside it
            found = None
    else:
        found = curve_of(network, source, curve)
    return subject_of(network, found), network


def _split(last_layer_db: float | str, subject: Subject) -> float | None:
    if last_layer_db == "choose":
        if len(subject.layers) < 2:
            raise InputError("the model has one layer", source="--last-layer-db", expected="two layers to share light")
        return None
    try:
        value = float(last_layer_db)
    except ValueError:
        value = math.nan
    curve = subject.curve
    low, high = (-40.0, 40.0) if curve is None else (float(curve.last_layer_db[0]), float(curve.last_layer_db[-1]))
    if not low <= value <= high:
        known = "" if curve is None else ", as far as the model's curve was measured"
        raise InputError(
            f"{last_layer_db!r}",
            source="--last-layer-db",
            expected=f"a number of dB between {low:g} and {high:g}{known}, or choose",
        )
    return value


def _stages(tap: str, build: str | None) -> tuple[Stage, ...]:
    kind = read_choice(tap, TAPS, source="--tap", what="tap")
    if build is not None:
        found = find_build(build)
        if kind not in ("both", found.kind.value):
            raise InputError(
                f"build {build} is of kind {found.kind.value}", source="--build", expected=f"a build of kind {kind}"
            )
        return (Stage(found.kind, found),)
    return tuple(Stage(entry) for entry in TapKind if kind in ("both", entry.value))


def _verification_plan(alpha: float | None, delta: float | None) -> VerificationPlan:
    plan = VerificationPlan()
    try:
        return replace(plan, alpha=plan.alpha if alpha is None else alpha, delta=plan.delta if delta is None else delta)
    except ValueError as error:
        raise InputError(str(error)) from None


def _certifications(question: Question, point: Point, delta: float) -> tuple[Certification, ...]:
    budget = question.bits_per_weight
    largest = max(point.layer_weights)
    if budget is None or question.judge is Judge.MEAN or budget < largest:
        budget = MARGIN * largest
    return (
        certification(question, point, budget=budget, delta=delta, counting_fraction=0.0),
        best_certification(question, point, budget=budget, delta=delta),
    )


def _summary(entry: Candidate) -> dict[str, Any]:
    return {"f2_db": entry.f2_db, "allowed": entry.allowed, **_figures(entry.point)}


def _figures(point: Point) -> dict[str, Any]:
    return {
        "tap": point.stage.name,
        "amplifier_gain": point.setting.amplifier_gain if point.setting.kind is TapKind.AMPLIFIER else None,
        "tap_transmissivity": point.setting.tap_transmissivity,
        "mu": point.mu,
        "bits_per_weight": point.weights,
        "bits_per_feature": point.data,
    }


def _finite(values: dict[str, Any]) -> dict[str, Any]:
    """JSON has neither NaN nor infinity: null."""
    return {
        name: None if isinstance(value, float) and not math.isfinite(value) else value for name, value in values.items()
    }
