"""Vectors become voltages: what couplers, phase modulators and heaters make of those is u^dagger a, and undone again.

The optics are written out here once more, element by element, without the library's own interferometers.
"""

from __future__ import annotations

import cmath
import math
from collections.abc import Iterator

import numpy as np
import pytest
from numpy.typing import NDArray

from labqdl.errors import InputError
from labqdl.facts.layout import FrameLayout, RowKind
from labqdl.facts.ledger import Owner
from labqdl.instruments import LimitError
from labqdl.subsystems import MziInterferometer, NoInterferometer, TimeBinInterferometer, Way
from labqdl.subsystems.roles import Roles
from tests.subsystems.benches import MODES, SHIPPED, Small, result, small_bench

Complex = NDArray[np.complex128]
V_PI = {0: 0.62, 1: 0.58}
OFFSET = {0: 0.13, 1: -0.2}
V_PI_PHASE = 0.66


@pytest.fixture(scope="module")
def small() -> Iterator[Small]:
    with small_bench() as made:
        figures = {f"v_pi_{k}": V_PI[k] for k in V_PI} | {f"offset_{k}": OFFSET[k] for k in OFFSET}
        for way in ("client.interferometer", "client.inverse"):
            made.use(result(way, "client", v_pi_phase=V_PI_PHASE, skew=0.0, **figures))
        yield made


def tree_of(small: Small) -> TimeBinInterferometer:
    tree = small.client.interferometer
    assert isinstance(tree, TimeBinInterferometer)
    return tree


def vectors(count: int, modes: int = MODES, seed: int = 0) -> Complex:
    rng = np.random.default_rng(seed)
    u = rng.standard_normal((count, modes)) + 1j * rng.standard_normal((count, modes))
    u /= np.linalg.norm(u, axis=1, keepdims=True)
    return np.asarray(u)


def loops(volts: dict[str, NDArray[np.float64]], prefix: str) -> Complex:
    """Matrix of a row of bins that passes the phase modulator and the loops, for the voltages at each of its bins."""
    matrix = np.diag([cmath.exp(-1j * math.pi * v / V_PI_PHASE) for v in volts[f"{prefix}-phase"]])
    for stage, delay in enumerate((1, 2)):
        step = np.eye(MODES, dtype=np.complex128)
        for late in range(MODES - 1, 0, -2 * delay):
            early = late - delay
            if early < 0:
                break
            theta = math.pi / 2 * volts[f"{prefix}-stage{stage}"][late] / V_PI[stage] + OFFSET[stage]
            step[late, late], step[late, early] = math.sin(theta), math.cos(theta)
            step[early, early], step[early, late] = -math.sin(theta), math.cos(theta)
        matrix = step @ matrix
    return np.asarray(matrix)


@pytest.mark.parametrize("case", ["random", "real", "zeros", "last"])
def test_the_tree_s_voltages_make_the_vector(small: Small, case: str) -> None:
    u = vectors(5)
    if case == "real":
        u = np.asarray(np.abs(u) * np.sign(u.real), np.complex128)
    elif case == "zeros":
        u[:, 1:3] = 0.0
        u /= np.linalg.norm(u, axis=1, keepdims=True)
    elif case == "last":
        u = np.eye(MODES, dtype=np.complex128)[[MODES - 1]]
    for way in Way:
        volts = tree_of(small).bin_voltages(u, way)
        for index, vector in enumerate(u):
            matrix = loops({name: values[index] for name, values in volts.items()}, way.value)
            np.testing.assert_allclose(matrix[-1], np.conj(vector), atol=1e-12)
            np.testing.assert_allclose(matrix @ matrix.conj().T, np.eye(MODES), atol=1e-12)


def test_a_coupler_s_voltage_stands_before_its_later_bin_comes(small: Small) -> None:
    volts = tree_of(small).bin_voltages(vectors(3), Way.FORWARD)
    for stage in range(2):
        held = volts[f"forward-stage{stage}"].reshape(3, -1, 2 << stage)
        np.testing.assert_array_equal(held, np.broadcast_to(held[:, :, -1:], held.shape))


def test_waveforms_follow_rows_and_the_skew(small: Small) -> None:
    layout = FrameLayout(MODES, 2, 3, 6.25e6, guard_rows=2, preamble_rows=3, pilot_every=4)
    u = vectors(2)
    per_bin = 10  # at 62.5 MS/s
    plain = tree_of(small).waveforms(u, layout, Way.FORWARD)
    bins = tree_of(small).bin_voltages(u, Way.FORWARD)
    passing = tree_of(small).bin_voltages(np.eye(MODES, dtype=np.complex128)[[MODES - 1]], Way.FORWARD)
    for name, wave in plain.items():
        rows = wave[per_bin // 2 :: per_bin].reshape(layout.total_rows, MODES)
        for image in range(2):
            for row in layout.data_rows[image]:
                np.testing.assert_allclose(rows[row], bins[name][image])
        for row in np.flatnonzero(layout.kinds != RowKind.DATA):
            np.testing.assert_allclose(rows[row], passing[name][0])
    before = small.calibrations
    late = {key: value for key, value in before["client.interferometer"].values.items() if key != "skew"}
    try:
        for skew in (3.2e-7, -3.2e-7):
            small.use(result("client.interferometer", "client", skew=skew, **late))
            moved = tree_of(small).waveforms(u, layout, Way.FORWARD)
            for name, wave in plain.items():
                shift = round(skew * 62.5e6)
                if shift > 0:
                    np.testing.assert_array_equal(moved[name][shift:], wave)
                else:
                    np.testing.assert_array_equal(moved[name], wave[-shift:])
    finally:
        small.use(*before.values())


def test_angles_that_the_voltages_do_not_reach_are_refused(small: Small) -> None:
    before = small.calibrations
    far = dict(before["client.inverse"].values) | {"v_pi_1": 5.0}
    try:
        small.use(result("client.inverse", "client", **far))
        with pytest.raises(InputError, match=r"full scale of what drives inverse-stage1.*measure client.inverse again"):
            tree_of(small).load(vectors(1), small.client.frame.layout(1, 1))
    finally:
        small.use(*before.values())
    player = tree_of(small).players[Way.FORWARD]
    with pytest.raises(LimitError):
        player.load({"forward-phase": np.array([0.0, 0.8])})


def test_one_mode_is_a_phase_for_the_receiver(small: Small) -> None:
    none = NoInterferometer("none", 1, small.calibrations)
    u = np.exp(1j * np.array([[0.3], [-2.0]]))
    np.testing.assert_allclose(none.carry_phases(u), [0.3, -2.0])


# --- a chip -------------------------------------------------------------------------------------------------------


def heated(volts: NDArray[np.float64], slopes: list[float], offsets: list[float], crosstalk: float) -> list[float]:
    phases = []
    for k, slope in enumerate(slopes):
        power = volts[k] ** 2
        power += sum(crosstalk * volts[j] ** 2 / (k - j) ** 2 for j in range(len(slopes)) if j != k)
        phases.append(slope * power + offsets[k])
    return phases


def element(internal: float, external: float) -> Complex:
    """External phase on the upper port, 50:50, internal phase on the upper arm, 50:50; ports (upper, lower)."""
    half = np.array([[1, 1j], [1j, 1]]) / math.sqrt(2)
    return np.asarray(half @ np.diag([cmath.exp(1j * internal), 1]) @ half @ np.diag([cmath.exp(1j * external), 1]))


@pytest.mark.parametrize("seed", range(4))
def test_a_chip_s_voltages_make_the_vector_and_undo_it(seed: int) -> None:
    modes, crosstalk = 8, 0.03
    rng = np.random.default_rng(seed)
    with small_bench(SHIPPED["chip-8"], opened=()) as chip:
        mesh = chip.client.interferometer
        assert isinstance(mesh, MziInterferometer)
        truth: dict[str, tuple[list[float], list[float]]] = {}
        for way in Way:
            values = {"crosstalk": crosstalk}
            for bank, heaters in mesh.banks[way].items():
                slopes = (0.1 + 0.01 * rng.standard_normal(len(heaters))).tolist()
                offsets = rng.standard_normal(len(heaters)).tolist()
                truth[f"{way}-{bank}"] = slopes, offsets
                values |= {f"{bank}_slope_{k}": slope for k, slope in enumerate(slopes)}
                values |= {f"{bank}_offset_{k}": offset for k, offset in enumerate(offsets)}
            chip.use(result(f"client.{'interferometer' if way is Way.FORWARD else 'inverse'}", "client", **values))
        u = vectors(1, modes, seed)[0]
        phases = {
            f"{way}-{bank}": heated(volts, *truth[f"{way}-{bank}"], crosstalk)
            for way in Way
            for bank, volts in mesh.bank_voltages(u, way).items()
        }
        lead = float(mesh.carry_phases(u[None])[0])
    forward = np.eye(modes, dtype=np.complex128)
    for k in range(modes - 1):
        step = np.eye(modes, dtype=np.complex128)
        two = element(phases["forward-theta"][k], phases["forward-phi"][k])
        # The carry enters at the upper port and leaves there, for the next place; what it meets enters at the lower.
        step[np.ix_([k + 1, k], [k, k + 1])] = two
        forward = step @ forward
    np.testing.assert_allclose(forward[-1], cmath.exp(1j * lead) * np.conj(u), atol=1e-9)
    back = np.eye(modes, dtype=np.complex128)
    for k in reversed(range(modes - 1)):
        step = np.eye(modes, dtype=np.complex128)
        two = element(phases["inverse-theta"][k], phases["inverse-phi"][k])
        step[np.ix_([k, k + 1], [k + 1, k])] = two.T
        back = step @ back
    back = np.diag(np.exp(1j * np.array(phases["inverse-ret"]))) @ back
    whole = back @ forward
    np.testing.assert_allclose(whole, whole[0, 0] * np.eye(modes), atol=1e-9)
    assert abs(whole[0, 0]) == pytest.approx(1.0)


def test_roles_of_the_wrong_kind_name_the_line(small: Small) -> None:
    entry = small.station.file.subsystems["tree"]
    roles = Roles(small.station.file, entry, small.station.instruments())
    with pytest.raises(InputError, match=r"small.toml, line \d+: .*stages.*names 2 outputs; expected 3 outputs"):
        TimeBinInterferometer(roles, 8, small.calibrations)
    assert entry.owner is Owner.CLIENT
