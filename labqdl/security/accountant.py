"""Accountants: what all uses of the same weights, or of the same datum, may have leaked together.

Pure: an accountant says what one block adds to a spending and what a spending amounts to; who keeps the sums, and for
how long, is not its business (`labqdl.records.accounts`). The server's accountant knows weights, the client's data.
Bits are asymptotic, at the agreed operating point: accountants refuse before anything is measured. Derivation of the
sums over unequal runs: docs/physics.md, "Accounts over runs".
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

from labqdl.errors import LabqdlError
from labqdl.facts import FrameDescription, LayerFrame
from labqdl.facts.spending import Spending
from labqdl.optics.gain_tap import tap_law
from labqdl.security.channel import client_input, client_output, data_photons, honest_channel
from labqdl.security.data import data_leakage
from labqdl.security.engines import ANISOTROPIC, layer_data_leakage
from labqdl.security.expected import LayerLight
from labqdl.security.holevo import weight_leakage

WEIGHTS_ENGINE = ANISOTROPIC
WEIGHTS_ASSUMPTIONS = (
    "collective Gaussian attack at the transmissivity and noise of each run's agreed path, both taken as known",
    "the client keeps all uses on the account coherently, those of different runs as well",
    "the noise on the sum of a run's uses is what its cross-use test cannot tell from honest: that of one use, divided "
    "by the share (1 - counting fraction)/2 of the uses in which a weight is homodyned; all the noise of all uses "
    "without that test, and of a block that is not finished, as its process may be killed; noises of different runs "
    "are added",
    "loss spread evenly over the directions; weights independent between rows; noise steered to the weights' preferred "
    "directions, by the spectrum of the layer's own rows, or the worst of all spectra where these are too few",
    "what the function itself tells after many queries is not counted",
)
"""By which engine, and under what, the server's accounts are kept; each layer has one of its own."""

DATA_ENGINE = "labqdl"
DATA_ASSUMPTIONS = (
    "any prior and any measurement, by a server that sent coherent states and owns all beyond the client",
    "client's transmission independent of its data; no light outside of the amplifier's mode",
    "all rows of the first layer that have probed the vector taken together, in all runs",
    "hidden vectors of later layers, what a net gain off 1 discloses, and other shapes of the same datum added bit by "
    "bit",
)
"""By which engine, and under what, the client's accounts are kept; each data vector has one of its own."""


class BudgetExceeded(LabqdlError):
    """The next block would exceed a cumulative leakage budget that both parties agreed on."""

    exit_code = 4


class WeightsAccountant:
    """What the uses of each layer's weights add up to; the server's.

    Parameters
    ----------
    frame:
        What both parties agreed on; its cumulative budget for weights is enforced.
    light:
        What the server's own weights say about their directions; None takes them as equally bright.
    """

    def __init__(self, frame: FrameDescription, light: Sequence[LayerLight] | None = None) -> None:
        self._frame = frame
        self._spectra = [None] * len(frame.layers) if light is None else [entry.spectrum for entry in light]
        self._channels = [
            honest_channel(mu=layer.mu, n_modes=layer.least_modes, setting=frame.tap, ledger=frame.ledger)
            for layer in frame.layers
        ]
        self._measured = (1.0 - frame.plan.counting_fraction) / 2.0 if frame.plan.cross_use else None

    @property
    def budget(self) -> float | None:
        """Bits per weight that all uses together may reach, or None."""
        return self._frame.budgets.cumulative_bits_per_weight

    def engine(self, layer: int) -> str:
        """Engine of a layer's figures: `labqdl` where its directions are taken as equally bright."""
        return DATA_ENGINE if self._spectra[layer] is None else WEIGHTS_ENGINE

    def price(self, layer: int, block: int, seen: int) -> Spending:
        """What a finished (layer, block) adds, after `seen` uses that the session's tests have seen."""
        return self._price(layer, self._frame.block_vectors(block), seen)

    def _price(self, layer: int, uses: int, seen: int) -> Spending:
        channel = self._channels[layer]
        return Spending(
            uses=uses,
            photons=uses * channel.mu,
            lost=uses * channel.mu * (1.0 - channel.transmissivity),
            noise=self._noise(layer, seen + uses) - self._noise(layer, seen),
        )

    def _noise(self, layer: int, uses: int) -> float:
        """Noise on the symmetric mode of so many uses of a session, all of them tested together, SNU."""
        excess = self._channels[layer].excess
        return uses * excess if self._measured is None else min(uses * excess, excess / self._measured)

    def bits(self, layer: int, total: Spending) -> float:
        """Bits per real weight that a spending on this layer's weights amounts to."""
        if total.photons == 0.0:
            return 0.0
        spectrum = self._spectra[layer]
        leak = weight_leakage if spectrum is None else spectrum.leakage
        transmissivity = min(max(1.0 - total.lost / total.photons, 0.0), 1.0)
        return leak(mu=total.photons, transmissivity=transmissivity, excess=total.noise) / 2.0

    def judge(
        self, layer: int, block: int, earlier: Spending, seen: int, spenders: Callable[[], str]
    ) -> tuple[Spending, float]:
        """(what the block adds while it is not finished, bits per weight with that).

        No test has seen light that is on its way, and none will if the process is killed: it counts with all its noise
        until `price` is settled for it. The budget is compared with that price.

        Raises
        ------
        BudgetExceeded
            If that is above the agreed budget; `spenders` says what was spent by whom.
        """
        price = self.price(layer, block, seen)
        total = earlier + price
        bits = self.bits(layer, total)
        if self.budget is not None and bits > self.budget:
            blocks = range(block, self._frame.n_blocks)
            left = sum(self._frame.block_vectors(one) for one in blocks)
            whole = self.bits(layer, earlier + self._price(layer, left, seen))
            before = self.bits(layer, earlier)
            further = f", and this run with all {len(blocks):,} blocks that are left of it to {whole:.4g}"
            raise BudgetExceeded(
                f"block {block} of layer {layer + 1} would bring its weights to {total.uses:,} uses and {bits:.4g} bit "
                f"per weight ({bits - before:.4g} more){further if len(blocks) > 1 else ''}, above the agreed "
                f"cumulative budget of {self.budget:.4g} (engine {self.engine(layer)}, asymptotic); spent so far: "
                f"{before:.4g} bit by {spenders() or 'nobody'}"
            )
        added = replace(price, noise=price.uses * self._channels[layer].excess)
        return added, self.bits(layer, earlier + added)


class DataAccountant:
    """What the probes of each data vector add up to; the client's.

    Parameters
    ----------
    frame:
        What both parties agreed on; its cumulative budget for data is enforced.

    The rows of the first layer return copies of the vector's direction, and their photons add up. The rows of later
    layers carry hidden vectors, which differ from session to session: what they tell is added bit by bit.
    """

    def __init__(self, frame: FrameDescription) -> None:
        self._frame = frame
        self._first = frame.layers[0]
        photons = data_photons(tap_law(frame.tap, frame.ledger), frame.ledger)
        later = math.fsum(layer_data_leakage(layer, frame.tap, frame.ledger) for layer in frame.layers[1:])
        self._price = Spending(
            uses=self._first.rows,
            photons=self._first.rows * photons,
            bits=later + mismatch_bits(frame, self._first),
        )
        self._memo: dict[Spending, float] = {}

    @property
    def budget(self) -> float | None:
        """Bits in total that all uses of a vector together may reach, or None."""
        per_feature = self._frame.budgets.cumulative_bits_per_feature
        return None if per_feature is None else per_feature * self._first.n_features

    def price(self, times: int = 1) -> Spending:
        """What a block adds to each of its data vectors that it holds so many times."""
        return sum((self._price for _ in range(times)), Spending())

    def bits(self, total: Spending) -> float:
        """Bits in total that a spending on one direction amounts to.

        Rows of unequal photons are taken as equal ones of the same sum, for which the bound is largest.
        """
        if total not in self._memo:
            bits = total.bits
            if total.photons > 0.0:
                bits += self._first.tiles * data_leakage(
                    photons_per_row=total.photons / total.uses, rows=total.uses, n_modes=self._first.tile_modes
                )
            self._memo[total] = bits
        return self._memo[total]

    def judge(
        self, images: Sequence[int], earlier: Spending, elsewhere: float, spenders: Callable[[], str]
    ) -> tuple[Spending, float]:
        """(what a block adds to one of its vectors, bits in total after it, those from elsewhere not included).

        Parameters
        ----------
        images:
            Where in the data the vector stands; more than one place if a block holds it several times.
        elsewhere:
            Bits that the same datum lost in other shapes (another pipeline, another padding), which are added.

        Raises
        ------
        BudgetExceeded
            If the sum is above the agreed budget; `spenders` says what was spent by whom.
        """
        added = self.price(len(images))
        bits = self.bits(earlier + added)
        if self.budget is not None and bits + elsewhere > self.budget:
            features = self._first.n_features
            before = (self.bits(earlier) + elsewhere) / features
            raise BudgetExceeded(
                f"data vector {images[0]} would come from {before:.4g} to {(bits + elsewhere) / features:.4g} bit per "
                f"feature in this run, above the agreed cumulative budget of {self.budget / features:.4g} (engine "
                f"{DATA_ENGINE}, asymptotic); spent so far: {before:.4g} bit by {spenders() or 'nobody'}"
            )
        return added, bits


def mismatch_bits(frame: FrameDescription, layer: LayerFrame) -> float:
    """What a net gain off 1 adds to one layer's bound on the data, bits in total; 0 at unit gain."""
    stray = abs(tap_law(frame.tap, frame.ledger).net_gain - 1.0) ** 2
    if stray * layer.mu * client_input(frame.ledger) * client_output(frame.ledger) == 0.0:
        return 0.0
    photons = data_photons(tap_law(frame.tap, frame.ledger), frame.ledger)
    at_unit_gain = layer.tiles * data_leakage(photons_per_row=photons, rows=layer.rows, n_modes=layer.tile_modes)
    return layer_data_leakage(layer, frame.tap, frame.ledger) - at_unit_gain
