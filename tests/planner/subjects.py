"""Small subjects and ledgers for the planner's tests."""

from __future__ import annotations

import numpy as np

from labqdl.facts import Activation, Component, LayerFrame, Ledger, Owner, Place, TapKind
from labqdl.planner.curves import MeasuredCurve
from labqdl.planner.question import Subject
from labqdl.planner.stage import Stage
from labqdl.security.spectrum import Spectrum

IDEAL = Ledger("ideal", ())
AMPLIFIER, FEED_FORWARD = Stage(TapKind.AMPLIFIER), Stage(TapKind.FEED_FORWARD)


def layers(*sizes: tuple[int, int]) -> tuple[LayerFrame, ...]:
    """Layers of (rows, modes), all with the operating point's light."""
    return tuple(LayerFrame(rows, 2 * modes, False, 1.0, None, Activation()) for rows, modes in sizes)


def curve() -> MeasuredCurve:
    """A made-up curve: 96 % at -5 dB, less light needed where the last layer has more."""
    f2_db = np.arange(-20.0, 11.0)
    splits = np.array([-3.0, 0.0, 3.0])
    accuracy = 0.1 + 0.88 / (1.0 + np.exp(-0.5 * (f2_db[None, :] + 12.5 + 0.5 * splits[:, None])))
    return MeasuredCurve(f2_db, splits, accuracy, 10_000, 3, "made up")


ISOTROPIC = Subject("784-784-10", layers((784, 392), (10, 392)), (None, None), curve())
ONE = Subject("794 rows", layers((794, 392)), (None,), curve())
UNEQUAL = Subject(
    "unequal",
    layers((32, 16), (4, 16)),
    (Spectrum.of(1.0 / np.arange(1.0, 17.0)), Spectrum.unknown()),
    curve(),
)


def untrusted(loss_db: float) -> Ledger:
    """Untrusted loss, half of it on each leg."""
    leg = 10.0 ** (-loss_db / 20.0)
    return Ledger(
        "lossy",
        (
            Component("way out", Place.FORWARD, Owner.CHANNEL, transmissivity=leg),
            Component("way back", Place.RETURN, Owner.CHANNEL, transmissivity=leg),
        ),
    )


def bench(
    *, loss_db: float = 0.3, excess: float = 1e-4, phase: float = 2e-3, n_sp: float = 1.2, efficiency: float = 0.9
) -> Ledger:
    """A path with every kind of imperfection, trusted parts among them."""
    leg = 10.0 ** (-loss_db / 20.0)
    return Ledger(
        "bench",
        (
            Component("server's fibre", Place.FORWARD, Owner.SERVER, trusted=True, transmissivity=0.9),
            Component("way out", Place.FORWARD, Owner.CHANNEL, transmissivity=leg, phase_noise=phase),
            Component("mesh", Place.CLIENT_IN, Owner.CLIENT, transmissivity=0.98, excess=excess),
            Component("amplifier", Place.TAP, Owner.CLIENT, n_sp=n_sp),
            Component(
                "homodyne", Place.CLIENT_RECEIVER, Owner.CLIENT, transmissivity=efficiency, electronic_noise=0.03
            ),
            Component("inverse mesh", Place.CLIENT_OUT, Owner.CLIENT, transmissivity=0.98),
            Component("way back", Place.RETURN, Owner.CHANNEL, transmissivity=leg, excess=excess),
            Component(
                "receiver", Place.SERVER_RECEIVER, Owner.SERVER, trusted=True, transmissivity=0.9, electronic_noise=0.02
            ),
            Component("counter", Place.SERVER_COUNTER, Owner.SERVER, trusted=True, transmissivity=0.8),
        ),
    )
