"""A plan as an experiment file, with a link file beside it where the plan's tap brings its own imperfections."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from labqdl.api.places import file_place, write_text
from labqdl.api.plan_tables import target_words
from labqdl.api.planning import MARGIN, PlanResult
from labqdl.config import shipped_links
from labqdl.config.writing import experiment_text, link_text, point_values
from labqdl.errors import InputError
from labqdl.facts import OperatingPoint
from labqdl.planner.question import Judge


def write_experiment(result: PlanResult, path: str | Path) -> tuple[Path, ...]:
    """Write the best point as an experiment for `labqdl run`, whose bounds are then those of the plan.

    The light path of a plan with a build is that of the link with the build's own noise in it: it is written beside
    the experiment as NAME-link.toml.

    Returns
    -------
    The files.

    Raises
    ------
    InputError
        For a plan without a model or without a feasible point, another ending than .toml, and files that cannot be
        written.
    """
    target = experiment_path(path)
    best = result.best
    if result.model_source is None:
        raise InputError("only a model with weights can run", source="--write", expected="--model NAME or FILE")
    if best is None or not result.feasible:
        raise InputError("there is no feasible point to write", source="--write", expected="limits that can be met")
    point = best.point
    comments = [f"labqdl plan: {target_words(result.answer.question, result.model)}, on {result.link}."]
    comments.append(f"At most {point.weights:.4g} bit per weight and {point.data:.4g} bit per feature leak.")
    files = []
    link = _link_source(result)
    if point.ledger != result.link_file.ledger:
        beside = _link_file(target)
        text = link_text(
            point.ledger,
            name=f"{result.link}-{point.stage.name}",
            description=f"{result.link} with the tap built as {point.stage.name}",
            point=OperatingPoint(point.mu, point.setting),
            comments=comments,
        )
        files.append(write_text(beside, text))
        link = beside.name
    values: dict[str, Any] = {
        "model": _model_source(result),
        "link": link,
        **point_values(OperatingPoint(point.mu, point.setting)),
        "last_layer_db": best.last_layer_db or None,
        "tile": point.layers[0].tile,
        **_limits(result),
    }
    files.insert(0, write_text(target, experiment_text(values, comments)))
    return tuple(files)


def experiment_path(path: str | Path) -> Path:
    """InputError unless an experiment file can be written there, and a link file beside it."""
    target = file_place(path, "--write", endings=(".toml",))
    file_place(_link_file(target))
    return target


def _link_file(experiment: Path) -> Path:
    return experiment.with_name(f"{experiment.stem}-link.toml")


def _limits(result: PlanResult) -> dict[str, Any]:
    """Verification and budgets; where the plan has no limit that a run could judge by, a little above its figures."""
    question = result.answer.question
    best = result.best
    assert best is not None
    shares = [entry.counting_fraction for entry in result.certifications if entry.counting_fraction > 0.0]
    several = question.weight_uses > 1
    weights = question.bits_per_weight if question.judge is Judge.LARGEST else None
    weights = weights or _rounded(MARGIN * max(best.point.layer_weights))
    features = question.bits_per_feature or _rounded(MARGIN * best.point.data)
    return {
        "images": question.weight_uses if several else None,
        "counting_fraction": question.counting_fraction if several else shares[0] if shares else None,
        "alpha": result.plan.alpha,
        "delta": result.plan.delta,
        "cross_use": question.cross_use_tested if several else None,
        "cumulative_bits_per_weight" if several else "bits_per_weight": weights,
        "cumulative_bits_per_feature" if question.data_uses > 1 else "bits_per_feature": features,
    }


def _rounded(bits: float) -> float:
    return float(f"{bits:.3g}")


def _link_source(result: PlanResult) -> str:
    source = result.link_file.source
    return result.link if result.link in shipped_links() and source.startswith("shipped link") else _absolute(source)


def _model_source(result: PlanResult) -> str:
    assert result.model_source is not None
    looks_like_path = bool(Path(result.model_source).suffix) or len(Path(result.model_source).parts) > 1
    return _absolute(result.model_source) if looks_like_path else result.model_source


def _absolute(path: str) -> str:
    return str(Path(path).absolute())
