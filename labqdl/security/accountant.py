"""Accountants: how often weights and data were used, and what all uses together may have leaked.

Pure bookkeeping on public facts. A block is counted once however often it is reported, so that resuming a run
does not charge it twice; a block that would exceed an agreed cumulative budget is refused before light flows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from labqdl.errors import LabqdlError
from labqdl.facts import FrameDescription
from labqdl.security.expected import honest_layers
from labqdl.security.finite import data_bits, honest_limits, weight_bits_per_mode

SCHEMA = 1


class BudgetExceeded(LabqdlError):
    """The next block would exceed a cumulative leakage budget that both parties agreed on."""

    exit_code = 4


class Accountant:
    """Uses of the weights of every layer and of every data vector of a session.

    Parameters
    ----------
    frame:
        What both parties agreed on; its cumulative budgets are enforced.
    earlier_weight_uses:
        Uses of the same weights in earlier sessions, one number a layer.
    earlier_data_uses:
        Uses of the same data vectors in earlier sessions, by index of the image; absent ones are new.

    Bits are those of the engine `labqdl` at the agreed operating point (asymptotic): an accountant refuses before
    anything is measured.
    """

    def __init__(
        self,
        frame: FrameDescription,
        earlier_weight_uses: Sequence[int] | None = None,
        earlier_data_uses: Mapping[int, int] | None = None,
    ) -> None:
        self._frame = frame
        self._laws = honest_layers(frame)
        self._limits = honest_limits(self._laws, frame.ledger)
        self._earlier = (0,) * len(frame.layers) if earlier_weight_uses is None else tuple(earlier_weight_uses)
        if len(self._earlier) != len(frame.layers) or min(self._earlier) < 0:
            raise ValueError(f"earlier_weight_uses must be {len(frame.layers)} numbers >= 0, got {self._earlier!r}")
        self._earlier_data = dict(earlier_data_uses or {})
        if any(uses < 0 for uses in self._earlier_data.values()):
            raise ValueError("earlier_data_uses must be >= 0")
        self._counted: set[tuple[int, int]] = set()
        self._weight_memo: dict[int, tuple[float, ...]] = {}
        self._data_memo: dict[int, float] = {}

    def record(self, layer: int, block: int) -> bool:
        """Charge one (layer, block); False if it was charged before.

        Raises
        ------
        BudgetExceeded
            If a cumulative budget would be exceeded; nothing is charged then.
        """
        self._key(layer, block)
        if (layer, block) in self._counted:
            return False
        self.require(layer, block)
        self._counted.add((layer, block))
        return True

    def require(self, layer: int, block: int) -> None:
        """Raise `BudgetExceeded` if charging this (layer, block) would exceed a budget; charge nothing."""
        images = self._key(layer, block)
        if (layer, block) in self._counted:
            return
        budgets = self._frame.budgets
        if budgets.cumulative_bits_per_weight is not None:
            uses = self.weight_uses(layer) + self._frame.block_vectors(block)
            bits = self._weight_bits(layer, uses)
            if bits > budgets.cumulative_bits_per_weight:
                raise BudgetExceeded(
                    f"block {block} of layer {layer + 1} would bring its weights to {uses:,} uses and "
                    f"{bits:.4g} bit per weight (engine labqdl, asymptotic), above the agreed cumulative budget of "
                    f"{budgets.cumulative_bits_per_weight:.4g}"
                )
        if budgets.cumulative_bits_per_feature is not None:
            uses = 1 + max(self._earlier_data.get(image, 0) for image in images)
            bits = self._data_bits(uses)
            if bits > budgets.cumulative_bits_per_feature:
                raise BudgetExceeded(
                    f"block {block} would use a data vector for the {uses}. time and bring it to {bits:.4g} bit per "
                    f"feature (engine labqdl, asymptotic), above the agreed cumulative budget of "
                    f"{budgets.cumulative_bits_per_feature:.4g}"
                )

    def weight_uses(self, layer: int) -> int:
        """Uses of a layer's weights, earlier sessions included."""
        return self._earlier[layer] + sum(
            self._frame.block_vectors(block) for index, block in self._counted if index == layer
        )

    def data_uses(self, image: int) -> int:
        """Uses of a data vector, earlier sessions included; it is used once its block's first light has flowed."""
        now = image // self._frame.block in {block for _, block in self._counted}
        return self._earlier_data.get(image, 0) + int(now)

    def bits_per_weight(self) -> float:
        """What all uses so far leak, the largest over layers, bits per weight; 0 before any use."""
        return max(self._weight_bits(layer, self.weight_uses(layer)) for layer in range(len(self._laws)))

    def bits_per_feature(self) -> float:
        """What all uses so far leak of the data vector that was used most, bits per feature; 0 before any use."""
        begun = {block for _, block in self._counted}
        block = self._frame.block
        uses = (self._earlier_data.get(i, 0) + int(i // block in begun) for i in range(self._frame.images))
        return self._data_bits(max(uses))

    def state_dict(self) -> dict[str, Any]:
        """What was charged, as plain JSON."""
        return {
            "schema": SCHEMA,
            "frame": self._frame.digest,
            "earlier_weight_uses": list(self._earlier),
            "earlier_data_uses": [[image, uses] for image, uses in sorted(self._earlier_data.items())],
            "counted": [list(key) for key in sorted(self._counted)],
        }

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Take over the state of an accountant of the same frame."""
        if state["schema"] != SCHEMA:
            raise ValueError(f"accountant state has schema {state['schema']!r}, expected {SCHEMA}")
        if state["frame"] != self._frame.digest:
            raise ValueError("accountant state belongs to another frame description")
        counted = {(int(layer), int(block)) for layer, block in state["counted"]}
        for layer, block in counted:
            self._key(layer, block)
        self._earlier = tuple(int(uses) for uses in state["earlier_weight_uses"])
        self._earlier_data = {int(image): int(uses) for image, uses in state["earlier_data_uses"]}
        self._counted = counted

    def _key(self, layer: int, block: int) -> range:
        if not 0 <= layer < len(self._laws):
            raise IndexError(f"layer {layer} of {len(self._laws)}")
        return self._frame.block_images(block)

    def _weight_bits(self, layer: int, uses: int) -> float:
        if uses == 0:
            return 0.0
        if uses not in self._weight_memo:
            self._weight_memo[uses] = weight_bits_per_mode(self._frame, self._laws, self._limits, uses=uses)
        return self._weight_memo[uses][layer] / 2

    def _data_bits(self, uses: int) -> float:
        if uses == 0:
            return 0.0
        if uses not in self._data_memo:
            self._data_memo[uses] = data_bits(self._frame, uses=uses)
        return self._data_memo[uses]
