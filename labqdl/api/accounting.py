"""Accounts of a run: charges each block to server and client before its light flows.

In a simulation one process plays both parties, so this module opens both accounts. It hands each accountant only what
its party knows: the server weights and light, the client data vectors.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from labqdl.facts import FrameDescription
from labqdl.facts.spending import Spending
from labqdl.network import Network
from labqdl.optics.modes import layer_amplitudes
from labqdl.records.accounts import Accounts, Charge
from labqdl.records.closing import Closing
from labqdl.security.accountant import BudgetExceeded, DataAccountant, WeightsAccountant
from labqdl.security.expected import LayerLight
from labqdl.units import counted

_SHOWN = 4
"""Runs that a refusal names before it sums up the rest."""


def weight_digests(network: Network) -> tuple[str, ...]:
    """By what each layer's weights are known: BLAKE2b-128 of the amplitudes at one photon per two modes.

    The light's brightness does not matter, nor a factor common to all weights of a layer: what is sent has none.
    Weights that differ at all are other weights.
    """
    digests = []
    for layer in network.layers:
        amplitudes, _ = layer_amplitudes(layer.weights, layer.bias, 0.5)
        head = f"{amplitudes.shape};".encode()
        content = np.ascontiguousarray(amplitudes, dtype="<f4").tobytes()
        digests.append(hashlib.blake2b(head + content, digest_size=16).hexdigest())
    return tuple(digests)


def data_shape(network: Network) -> str:
    """In which shape a datum meets the light: digest of the public pipeline and of the first layer's padding."""
    first = network.layers[0]
    head = {
        "input": list(network.pipeline.input_shape),
        "steps": network.pipeline.to_json(),
        "bias": first.bias is not None,
        "centred": first.centred,
    }
    digest = hashlib.blake2b(json.dumps(head, sort_keys=True).encode(), digest_size=16)
    for name, array in sorted(network.pipeline.tensors().items()):
        digest.update(f"{name}{array.shape};".encode())
        digest.update(np.ascontiguousarray(array, dtype="<f4").data)
    return digest.hexdigest()


class RunAccounts(Closing):
    """Both parties' accounts during one run.

    Parameters
    ----------
    folder:
        Where the accounts are kept, one file for each party.
    run, name:
        Identity of the run and what people call it.
    frame, network, light:
        What is sent; `light` is the server's own knowledge of it.
    data:
        Raw data vectors, (images, ...): what a datum is known by.
    finished:
        Blocks that an earlier process finished; they are charged unless they were, beyond a budget if need be.
    """

    def __init__(
        self,
        folder: Path,
        run: str,
        name: str,
        frame: FrameDescription,
        network: Network,
        light: Sequence[LayerLight],
        data: NDArray[np.generic],
        *,
        finished: Iterable[int] = (),
    ) -> None:
        self._run, self._name, self._frame, self._data = run, name, frame, data
        self._folder = folder
        self._weights_accountant = WeightsAccountant(frame, light)
        self._data_accountant = DataAccountant(frame)
        self._layers = tuple(
            Charge(digest, f"{network.name}, layer {index + 1}") for index, digest in enumerate(weight_digests(network))
        )
        self._shape = data_shape(network)
        self._attempt: int | None = None  # taken with the first charge
        self._seen = 0  # uses of each layer's weights in finished blocks, which the server's tests have seen
        with ExitStack() as opened:
            self._weights = opened.enter_context(Accounts.of_weights(folder))
            self._vectors = opened.enter_context(Accounts.of_data(folder))
            for block in finished:
                self._charge(block, finished=True)
                self.settle(block)
            self._files = opened.pop_all()

    def close(self) -> None:
        """Give both files back."""
        self._files.close()

    def record(self, layer: int, block: int) -> None:
        """Charge a block to both parties, before the light of its first layer flows; once in this process.

        All layers at once, so that no block is refused half way through.

        Raises
        ------
        BudgetExceeded
            If a cumulative budget would be exceeded; nothing is charged then, to neither party.
        """
        if layer == 0:
            self._charge(block)

    def again(self, block: int) -> None:
        """Light of a block has flowed in vain, and some of it is to be sent once more: charge the whole block again.

        A shot is a part of a block, so this is too much rather than too little. Errors as `record`.
        """
        self._attempt = None  # what is charged from now on counts as another process' would
        self._charge(block)

    def settle(self, block: int) -> None:
        """A block is finished: the server's tests have seen its light, and hold the noise on it."""
        accountant = self._weights_accountant
        with self._weights.transaction():
            for layer, charge in enumerate(self._layers):
                price = accountant.price(layer, block, self._seen)
                self._weights.settle(self._run, block, charge, price.noise, partial(accountant.bits, layer))
        self._seen += self._frame.block_vectors(block)

    def _charge(self, block: int, *, finished: bool = False) -> None:
        # Always the client's first, so that two runs never wait for each other in a circle.
        with self._vectors.transaction(), self._weights.transaction():
            attempt = None if finished else self._numbered()
            self._charge_data(block, attempt)
            for layer in range(len(self._layers)):
                self._charge_weights(layer, block, attempt)
        if not finished:
            self._attempt = attempt

    def _numbered(self) -> int:
        """This process' number among those of the run; to be taken in the transaction that first charges under it.

        Two processes may go on with copies of one run folder: with the same number they would pay for one only.
        """
        if self._attempt is not None:
            return self._attempt
        return 1 + max(self._weights.attempts(self._run), self._vectors.attempts(self._run))

    def _charge_weights(self, layer: int, block: int, attempt: int | None) -> None:
        accountant = self._weights_accountant

        def judge(charge: Charge, spent: Spending, elsewhere: float) -> tuple[Spending, float]:
            if attempt is None:  # its light has flowed: no budget can refuse that
                added = accountant.price(layer, block, self._seen)
                return added, accountant.bits(layer, spent + added)
            try:
                return accountant.judge(layer, block, spent, self._seen, lambda: _words(self._weights, charge, "use"))
            except BudgetExceeded as error:
                raise self._refused(f"the server's account of {charge.label}", error, "weights") from None

        self._weights.charge(
            self._run, self._name, block, [self._layers[layer]], judge, budget=accountant.budget, attempt=attempt
        )

    def _charge_data(self, block: int, attempt: int | None) -> None:
        accountant = self._data_accountant
        images: dict[Charge, list[int]] = {}
        for image in self._frame.block_images(block):
            owner = self._vectors.keyed_digest(_content(self._data[image]))
            images.setdefault(Charge(owner, "data vector", self._shape), []).append(image)

        def judge(charge: Charge, spent: Spending, elsewhere: float) -> tuple[Spending, float]:
            if attempt is None:
                added = accountant.price(len(images[charge]))
                return added, accountant.bits(spent + added)
            try:
                return accountant.judge(images[charge], spent, elsewhere, lambda: _words(self._vectors, charge, "row"))
            except BudgetExceeded as error:
                raise self._refused(f"the client's account of data vector {images[charge][0]}", error, "data") from None

        self._vectors.charge(
            self._run, self._name, block, list(images), judge, budget=accountant.budget, attempt=attempt
        )

    def _refused(self, account: str, error: BudgetExceeded, what: str) -> BudgetExceeded:
        """Which account refuses, what was spent and would be, and what one can do."""
        key = "cumulative_bits_per_weight" if what == "weights" else "cumulative_bits_per_feature"
        cure = "fewer images" if what == "weights" else "other data"
        return BudgetExceeded(
            f"{account} in {self._folder} refuses this run: {error}. No light of this block has flowed, and nothing is "
            f"charged for it. A new run needs {cure}, weaker light or tap (see 'labqdl bound'), or a larger {key} in "
            f"[budgets] if both parties agree to that; 'labqdl accounts {self._folder}' shows what was spent"
        )


def _content(vector: NDArray[Any]) -> bytes:
    """A datum's bytes with its type and shape."""
    plain = np.ascontiguousarray(vector)
    return f"{plain.dtype.str}{plain.shape};".encode() + plain.tobytes()


def _words(accounts: Accounts, charge: Charge, unit: str) -> str:
    """Who has spent on this, most uses first; a use of weights, or a row of them that probed a vector."""
    spenders = sorted(accounts.spenders(charge.owner), key=lambda entry: (-entry[1], entry[0]))
    shown = [f"run {name} ({counted(uses, unit)})" for name, uses in spenders[:_SHOWN]]
    rest = spenders[_SHOWN:]
    if rest:
        shown.append(f"{counted(len(rest), 'more run')} ({counted(sum(uses for _, uses in rest), unit)})")
    return ", ".join(shown)
