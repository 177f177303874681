from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from labqdl.config import ExperimentConfig, experiment, load_experiment
from labqdl.config.experiment import FIELDS
from labqdl.errors import InputError
from labqdl.link import behaviours

FULL = """
model = "mnist-robust"
data = "mnist-test"
labels = "labels.gz"
images = 100
station = "loop-32"
profile = "sim"
tile = 32
max_symbols = 1000000
max_seconds = 60
link = "lab-bench"
mu = 4
amplifier_gain = "3 dB"
tap = "amplifier"
tap_transmissivity = 0.5
last_layer_db = 3
client = "cloner:0.1"
server = "honest"
channel = "honest"
seed = 1
out = "runs"
accounts = "kept"
depth = "residuals"
block = 64

[verification]
counting_fraction = 0.5
alpha = 1e-6
delta = 1e-3
cross_use = false
residual_share = 0.01
gain_tolerance = 0.003
phase_tolerance = 0.01
noise_tolerance = 0.002
shot_noise = "own"
vacuum_slots = 8

[guard]
check_vectors = 4
monitor_fraction = 1e-4

[budgets]
bits_per_weight = 0.1
bits_per_feature = 0.2
cumulative_bits_per_weight = 1
cumulative_bits_per_feature = 2
"""


def _write(folder: Path, text: str) -> Path:
    path = folder / "experiment.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_every_key_arrives(tmp_path: Path) -> None:
    config = load_experiment(_write(tmp_path, FULL))
    assert config.amplifier_gain == pytest.approx(10**0.3)
    assert (config.model, config.images, config.mu, config.depth) == ("mnist-robust", 100, 4.0, "residuals")
    assert (config.counting_fraction, config.alpha, config.delta) == (0.5, 1e-6, 1e-3)
    assert (config.cross_use, config.residual_share) == (False, 0.01)
    assert (config.bits_per_weight, config.cumulative_bits_per_feature) == (0.1, 2.0)
    assert all(value is not None for value in dataclasses.asdict(config).values())
    assert config.path("labels.gz") == tmp_path / "labels.gz"


def test_the_words_are_those_of_the_emulation() -> None:
    assert set(experiment.CLIENTS) == set(behaviours.CLIENTS)
    assert set(experiment.CHANNELS) == set(behaviours.CHANNELS)
    assert set(experiment.SERVERS) == set(behaviours.SERVERS)


def test_what_is_not_given_is_none(tmp_path: Path) -> None:
    path = _write(tmp_path, "[verification]\n")
    assert load_experiment(path) == ExperimentConfig(source=str(path), folder=tmp_path)
    assert ExperimentConfig().path("x") == Path("x")


def test_schema_and_dataclass_name_the_same_keys() -> None:
    assert {*FIELDS, "source", "folder", "overridden"} == {field.name for field in dataclasses.fields(ExperimentConfig)}


@pytest.mark.parametrize(
    ("text", "line", "key"),
    [
        ("mu = -1\n", 1, "mu"),
        ("mu = nan\n", 1, "mu"),
        ("\namplifier_gain = 0.9\n", 2, "amplifier_gain"),
        ("amplifier_gain = 1\n", 1, "amplifier_gain"),
        ("tap_transmissivity = 1.5\n", 1, "tap_transmissivity"),
        ('client = "clonner"\n', 1, "client"),
        ("images = 0\n", 1, "images"),
        ("seed = -1\n", 1, "seed"),
        ("[verification]\nalpha = 0.5\n", 2, "verification.alpha"),
        ("[verification]\ncounting_fraction = 1\n", 2, "verification.counting_fraction"),
        ("[verification]\nresidual_share = 1.5\n", 2, "verification.residual_share"),
        ("[verification]\ncross_use = 1\n", 2, "verification.cross_use"),
        ('[verification]\nshot_noise = "borrowed"\n', 2, "verification.shot_noise"),
        ("[guard]\nmonitor_fraction = 1\n", 2, "guard.monitor_fraction"),
        ("[budgets]\n\nbits_per_weight = 0\n", 3, "budgets.bits_per_weight"),
        ("[bugdets]\n", 1, "bugdets"),
    ],
)
def test_mistakes_are_placed(tmp_path: Path, text: str, line: int, key: str) -> None:
    with pytest.raises(InputError) as caught:
        load_experiment(_write(tmp_path, text))
    assert (caught.value.line, caught.value.key) == (line, key)
