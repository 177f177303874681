"""Export: what a stranger's program reads, what each party's file holds and does not, and that bytes repeat."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import xarray

from labqdl.api import open_run, run
from labqdl.api.blocks import STATISTICS_DTYPE, finished_blocks, load_light, load_outcomes
from labqdl.api.exporting import export
from labqdl.cli.root import run as command
from labqdl.errors import InputError, RecordError
from labqdl.records import Party

Copy = Callable[..., Path]
ENDINGS = (".nc", ".h5")


def opened(file: Path) -> xarray.Dataset:
    """As a stranger opens it: xarray, and nothing of ours."""
    with xarray.open_dataset(file, engine="h5netcdf") as data:
        return data.load()


class Plain:
    """The same by h5py alone, which is quicker."""

    def __init__(self, file: Path) -> None:
        with h5py.File(file) as content:
            self.values = {name: np.asarray(variable[()]) for name, variable in content.items()}
            self.axes = {name: [axis.label for axis in variable.dims] for name, variable in content.items()}
            self.attrs = {name: str(value) for name, value in content.attrs.items()}


@pytest.fixture(scope="module", params=ENDINGS)
def exported(request: pytest.FixtureRequest, whole: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The whole run in either format."""
    return export(whole, tmp_path_factory.mktemp("export") / f"run{request.param}")


def test_xarray_reads_every_number(exported: Path, whole: Path) -> None:
    data, recorded = opened(exported), open_run(whole)
    assert dict(data.sizes)["image"] == 7
    assert data["block"].values.tolist() == [0, 1, 2]
    assert data["image"].values.tolist() == list(range(7))
    assert np.array_equal(data["logit"].values, recorded.logits())
    assert np.array_equal(data["prediction"].values, recorded.logits().argmax(axis=1))
    assert data["block_of_image"].values.tolist() == [0, 0, 0, 1, 1, 1, 2]
    for block in range(3):
        outcomes = load_outcomes(recorded.folder, recorded.frame, block)
        here = data.isel(image=data["block_of_image"].values == block)
        joined = np.concatenate([here["layer1_outcome"].values, here["layer2_outcome"].values], axis=1)
        assert np.array_equal(joined, outcomes.astype(np.float32))
        for layer, light in load_light(recorded.folder, recorded.frame, block).items():
            name, statistics = f"layer{layer + 1}", light.statistics
            for column in STATISTICS_DTYPE.names or ():
                if column not in ("layer", "row"):
                    found = data[f"{name}_{column}"].sel(block=block).values
                    assert np.array_equal(found, getattr(statistics, column)), column
            assert light.use_sums is not None
            sums = data[f"{name}_use_sum"].sel(block=block).values
            assert np.array_equal(sums[~statistics.counted], light.use_sums.sums[~statistics.counted])
            assert np.isnan(sums[statistics.counted]).all()
            assert light.sample is not None
            samples = data.isel({f"{name}_sample": data[f"{name}_sample_block"].values == block})
            residuals = samples[f"{name}_sample_residual"].values[:, light.sample.rows]
            assert np.array_equal(residuals, light.sample.residuals.astype(np.float32))
            assert samples[f"{name}_sample_place"].values.tolist() == light.sample.images.tolist()


def test_axes_units_and_words(exported: Path, whole: Path) -> None:
    data, recorded = opened(exported), open_run(whole)
    assert data["layer1_sum_rr"].dims == ("block", "layer1_row")
    assert data["layer1_sum_rr"].attrs["units"] == "SNU"
    assert data["layer1_outcome"].dims == ("image", "layer1_row")
    assert data["layer2_use_sum"].dims == ("block", "layer2_row", "layer2_mode")
    assert data["layer1_counted"].dtype == bool
    assert data["layer_mu"].values.tolist() == [layer.mu for layer in recorded.frame.layers]
    for name, variable in data.variables.items():
        assert variable.attrs["long_name"], name
    assert json.loads(data.attrs["manifest"]) == dict(recorded.manifest)
    assert json.loads(data.attrs["result"]) == recorded.result
    assert data.attrs["schema"] == "labqdl.export/1"
    assert data.attrs["notice"].startswith("simulation only")
    kinds = [str(kind) for kind in data["event_kind"].values]
    assert kinds == [event.kind for event in recorded.events()]
    times = data["event_time"].values.astype("datetime64[us]").astype(np.int64) / 1e6
    assert times == pytest.approx([event.time for event in recorded.events()], abs=2e-6)
    assert json.loads(str(data["event_data"].values[1])) == {"block": 0}


def test_h5py_reads_it_with_named_dimensions(exported: Path) -> None:
    with h5py.File(exported) as file:
        outcomes = file["layer1_outcome"]
        assert outcomes.attrs["units"] == "SNU^(1/2)"
        assert [axis.keys() for axis in outcomes.dims] or exported.suffix == ".nc"
        assert [file[name].shape for name in ("image", "layer1_row")] == [(7,), (outcomes.shape[1],)]


def test_the_same_run_gives_the_same_bytes(exported: Path, whole: Path, tmp_path: Path) -> None:
    assert export(whole, tmp_path / exported.name).read_bytes() == exported.read_bytes()


def without_entropy(run: Path, file: Path) -> None:
    """No secret of the random numbers leaves the run."""
    content = file.read_bytes()
    for owner in Party:
        entropy = open_run(run).folder.party(owner).root().entropy
        assert entropy not in content
        assert entropy.hex().encode() not in content


def test_no_secret_entropy_leaves_the_run(exported: Path, whole: Path) -> None:
    without_entropy(whole, exported)


def test_the_servers_file(whole: Path, tmp_path: Path) -> None:
    file = export(whole, tmp_path / "server.h5", party="server")
    without_entropy(whole, file)
    data = Plain(file)
    names = set(data.values)
    assert {"layer1_sum_rr", "layer1_use_sum", "layer1_sample_residual"} <= names
    assert not any("outcome" in name or name.startswith("check_") for name in names)
    assert not names & {"logit", "prediction", "output"}
    result, manifest = json.loads(data.attrs["result"]), json.loads(data.attrs["manifest"])
    assert result["verdict"] == open_run(whole).result["verdict"]
    assert result["certificate"] == open_run(whole).result["certificate"]
    assert not set(result) & {"accuracy", "accuracy_interval", "images", "client", "seed", "client_checks"}
    assert not set(manifest) & {"world", "randomness"}
    assert not set(manifest["experiment"]) & {"data", "data_digest", "labels", "seed", "client", "channel"}
    assert data.attrs["notice"] == "only what the server knows"


def test_the_clients_file(whole: Path, tmp_path: Path) -> None:
    file = export(whole, tmp_path / "client.nc", party="client")
    without_entropy(whole, file)
    data = Plain(file)
    names = set(data.values)
    assert {"layer1_outcome", "layer2_outcome", "logit", "prediction"} <= names
    assert not any(word in name for name in names for word in ("sum_", "photons_signal", "sample", "counted"))
    result, manifest = json.loads(data.attrs["result"]), json.loads(data.attrs["manifest"])
    assert result["accuracy"] == open_run(whole).result["accuracy"]
    assert not set(result) & {"certificate", "consistency", "seed", "model"}
    assert set(result["leakage"]) == {"data"}
    assert set(result["reason"]) == {"kind"}
    assert not set(manifest) & {"world", "randomness"}
    assert not set(manifest["experiment"]) & {"model", "model_fingerprint", "seed", "server", "channel"}


@pytest.mark.parametrize("ending", ENDINGS)
def test_an_aborted_run(aborted: Path, tmp_path: Path, ending: str) -> None:
    """The server ended it after the first layer: nothing stands for what was not done."""
    data = Plain(export(aborted, tmp_path / f"run{ending}")).values
    assert finished_blocks(open_run(aborted).folder) == {0: False}
    assert data["block_complete"].tolist() == [False]
    assert np.isfinite(data["layer1_outcome"]).all()
    assert np.isnan(data["layer2_outcome"]).all()
    assert np.isnan(data["logit"]).all()
    assert (data["prediction"] == -1).all()
    assert (data["layer2_residuals"] == 0).all()
    assert (data["layer1_residuals"] > 0).any()


def test_runs_without_a_result_or_a_block(stopped: Path, tmp_path: Path) -> None:
    data = Plain(export(stopped, tmp_path / "run.nc"))
    assert data.values["block"].tolist() == [0, 1]
    assert json.loads(data.attrs["result"]) is None

    class Killed(BaseException):
        """Stands for the death of the process."""

    def kill(done: int, total: int) -> None:
        raise Killed

    from labqdl.records import storage

    steps = 0

    def watch(step: storage.WriteStep) -> None:
        nonlocal steps
        steps += step.path.name == "events.jsonl"
        if steps > 3:
            raise Killed

    with storage.watched(watch), pytest.raises(Killed):
        run(model="breast-cancer", link="paper", images=2, seed=1, folder=tmp_path / "early")
    assert open_run(tmp_path / "early").blocks == ()
    assert Plain(export(tmp_path / "early", tmp_path / "early.h5")).values["image"].size == 0


def test_a_plain_plan(tmp_path: Path) -> None:
    """Without sums over uses and kept residuals there are no such variables."""
    run(
        model="breast-cancer",
        link="paper",
        images=2,
        seed=1,
        cross_use=False,
        residual_share=0.0,
        folder=tmp_path / "r",
    )
    names = set(Plain(export(tmp_path / "r", tmp_path / "r.nc")).values)
    assert not any("use_sum" in name or "sample" in name for name in names)


def test_check_vectors(tmp_path: Path) -> None:
    settings: dict[str, Any] = {
        "model": "breast-cancer",
        "link": "paper",
        "images": 5,
        "block": 3,
        "seed": 1,
        "check_vectors": 4,
    }
    run(folder=tmp_path / "r", **settings)
    file = Plain(export(tmp_path / "r", tmp_path / "r.h5", party="client"))
    assert file.axes["layer1_check_outcome"] == ["block", "check", "layer1_row"]
    recorded = open_run(tmp_path / "r").folder.party(Party.CLIENT).load_array("blocks/000001-check-outcomes")
    found = np.concatenate([file.values[f"layer{n}_check_outcome"][1] for n in (1, 2)], axis=1)
    assert np.array_equal(found, recorded.astype(np.float32))
    assert file.values["check_vectors"][:, 0].tolist() == [7, 6]
    assert "check" not in Plain(export(tmp_path / "r", tmp_path / "s.h5", party="server")).values


def test_mistakes(whole: Path, copied: Copy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match=r"expected a file that ends in \.h5, \.hdf5, \.nc, \.nc4"):
        export(whole, tmp_path / "run.csv")
    with pytest.raises(InputError, match="there is no party 'world'"):
        export(whole, tmp_path / "run.nc", party="world")
    with pytest.raises(InputError, match="does not exist"):
        export(whole, tmp_path / "nowhere" / "run.nc")
    with pytest.raises(InputError, match="nowhere"):
        export(tmp_path / "nowhere", tmp_path / "run.nc")
    (tmp_path / "taken.nc").write_text("precious")
    with pytest.raises(InputError, match="this place is taken"):
        export(whole, tmp_path / "taken.nc")
    assert (tmp_path / "taken.nc").read_text() == "precious"
    export(whole, tmp_path / "taken.nc", overwrite=True)
    assert Plain(tmp_path / "taken.nc").values["image"].size == 7
    place = copied(whole)
    file = place / "client" / "blocks" / "000001-outcomes.npy"
    file.write_bytes(file.read_bytes()[:-5])
    with pytest.raises(RecordError, match="000001-outcomes"):
        export(place, tmp_path / "damaged.nc")
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["copy", "taken.nc"]
    monkeypatch.setitem(sys.modules, "h5netcdf", None)
    with pytest.raises(InputError, match=r'pip install "labqdl\[export\]"'):
        export(whole, tmp_path / "run.nc")


def test_the_command(whole: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command(["export", str(whole), str(tmp_path / "run.nc")]) == 0
    assert "simulation only" in capsys.readouterr().err
    assert command(["export", str(whole), str(tmp_path / "s.h5"), "--party", "server", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["bytes"] == (tmp_path / "s.h5").stat().st_size
    assert document["notice"] == "only what the server knows"
    assert command(["export", str(whole), str(tmp_path / "run.nc")]) == 2
    assert "Traceback" not in capsys.readouterr().err
