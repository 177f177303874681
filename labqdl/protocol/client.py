"""The client: owns data, sets its interferometer, reads outcomes, forms activations. Sans-I/O.

A client receives messages and outcomes and returns messages, intents and finished blocks. It never sees a symbol, a
weight or what the server's receivers measured, and nothing that a peer sends can change its calibration or limits.
See docs/physics.md, sections "Server encoding" and "The joint law" (Sulimany et al., PRX 15, 041056).
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from labqdl.errors import InputError, ProtocolError
from labqdl.facts import Budgets, FrameDescription, LayerFrame, TapSetting, TestResult, VerdictKind
from labqdl.network.activations import apply_activation, centre
from labqdl.network.model import predictions
from labqdl.optics.gain_tap import TapLaw, tap_law
from labqdl.optics.modes import directions
from labqdl.optics.tiling import aim, join
from labqdl.protocol.guard import Guard, GuardRecord, GuardSettings, complaint
from labqdl.protocol.intents import Outcomes, SetData, frozen
from labqdl.protocol.messages import (
    Abort,
    Acceptance,
    LayerDone,
    Message,
    Proposal,
    Refusal,
    VerdictNotice,
    printable_reason,
)
from labqdl.protocol.session import Session, SessionEvent, SessionState
from labqdl.rng import Root

Floats = NDArray[np.float32]

PARTING = "the client has ended the session"
"""All that the server is told where the client's own checks found something."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What a client insists on beyond a frame that fits its data; None leaves a point to the server's proposal.

    Attributes
    ----------
    budgets:
        The proposal's budgets for data must not exceed these (those for weights are the server's business).
    tap:
        The only setting of its gain-and-tap stage that the client will use.
    outputs:
        Rows that the last layer must have.
    max_rows:
        Most rows in any layer: each row is one more probe of the data.
    """

    budgets: Budgets | None = None
    tap: TapSetting | None = None
    outputs: int | None = None
    max_rows: int | None = None

    def objection(self, frame: FrameDescription) -> str | None:
        """Why a frame is refused, None if it is not."""
        if self.tap is not None and frame.tap != self.tap:
            return "the proposed gain-and-tap setting is not the one that this client uses"
        if self.outputs is not None and frame.layers[-1].rows != self.outputs:
            return f"the model has {frame.layers[-1].rows} outputs, the client expects {self.outputs}"
        rows = max(layer.rows for layer in frame.layers)
        if self.max_rows is not None and rows > self.max_rows:
            return f"a layer has {rows} rows, the client allows {self.max_rows}"
        if self.budgets is None:
            return None
        for name in ("bits_per_feature", "cumulative_bits_per_feature"):
            allowed, proposed = getattr(self.budgets, name), getattr(frame.budgets, name)
            if allowed is not None and (proposed is None or proposed > allowed):
                shown = "no limit" if proposed is None else f"{proposed:g}"
                return f"the frame's budget {name} is {shown}, the client allows {allowed:g}"
        return None


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class BlockResult:
    """What a client knows after the last layer of a block.

    Attributes
    ----------
    block:
        Which block.
    logits:
        Outputs of the last layer after its activation; float32, (images, outputs), read-only.
    predictions:
        Index of the largest output, or the sign of a single one; (images,), read-only.
    """

    block: int
    logits: Floats
    predictions: NDArray[np.intp]

    def __repr__(self) -> str:
        return f"BlockResult(block={self.block}, logits=<{self.logits.shape}>)"


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class _Prepared:
    """Vectors of one layer and block, ready for the light; secret to the client."""

    intent: SetData
    norms: Floats
    tile_norms: NDArray[np.float64]


class Client:
    """The party that owns the data.

    Parameters
    ----------
    data:
        Vectors after the model's public pipeline; floating, (images, features), finite. Not copied if float32.
    root:
        The client's own random numbers (directions of empty vectors).
    limits:
        What it insists on before it agrees.
    guard:
        What it insists on when it checks the light that it is sent.

    Raises
    ------
    ValueError, TypeError
        For data of another shape or type, or that are not finite.
    """

    def __init__(
        self,
        data: NDArray[np.floating[Any]],
        root: Root,
        *,
        limits: Limits | None = None,
        guard: GuardSettings | None = None,
    ) -> None:
        if not (isinstance(data, np.ndarray) and np.issubdtype(data.dtype, np.floating)):
            raise TypeError("data must be an array of floating-point numbers")
        if data.ndim != 2 or 0 in data.shape:
            raise ValueError(f"data must have shape (images, features), none of them 0, got {data.shape}")
        if not np.isfinite(data).all():
            raise ValueError("data must be finite")
        self._data: Floats = data.astype(np.float32, copy=False).view()
        self._data.setflags(write=False)
        self._root = root
        self._limits = limits if limits is not None else Limits()
        self._guard_settings = guard if guard is not None else GuardSettings()
        self._guard: Guard | None = None
        self._earlier_checks: tuple[GuardRecord, ...] = ()
        self._alarm: str | None = None
        self._session = Session("client")
        self._frame: FrameDescription | None = None
        self._law: TapLaw | None = None
        self._finished: dict[int, tuple[int, ...]] = {}
        self._position: tuple[int, int] | None = None
        self._hidden: _Prepared | None = None
        self._issued = False
        self._layer_done: LayerDone | None = None
        self._notice: VerdictNotice | None = None
        self._ending: str | None = None
        self._uses = np.zeros(data.shape[0], dtype=np.int64)

    def __repr__(self) -> str:
        return f"Client({self.state}, position={self._position}, images={self._data.shape[0]})"

    @property
    def state(self) -> SessionState:
        """Where the session stands for the client."""
        return self._session.state

    @property
    def aborted(self) -> bool:
        """Whether the session was ended by either party before it was done."""
        return self.state is SessionState.ABORTED

    @property
    def ending(self) -> str | None:
        """Why the session was refused or aborted, None if it was not."""
        return self._ending

    @property
    def frame(self) -> FrameDescription | None:
        """The agreed frame, None before agreement."""
        return self._frame

    @property
    def digest(self) -> str | None:
        """Digest of the agreed frame, None before agreement."""
        return None if self._frame is None else self._frame.digest

    @property
    def position(self) -> tuple[int, int] | None:
        """(layer, block) that is measured next; None before agreement and after the last."""
        return self._position

    @property
    def finished_blocks(self) -> frozenset[int]:
        """Blocks whose logits are in, restored ones included."""
        return frozenset(self._finished)

    @property
    def data_uses(self) -> NDArray[np.int64]:
        """How often each data vector has met the light in this session; (images,), read-only."""
        uses = self._uses.copy()
        uses.setflags(write=False)
        return uses

    @property
    def layer_done(self) -> LayerDone | None:
        """Message to send to the server about the layer that was measured last."""
        return self._layer_done

    @property
    def alarm(self) -> str | None:
        """What the client's own checks found wrong with the light, None if nothing: for its own records."""
        return self._alarm

    @property
    def parting(self) -> tuple[Message, ...]:
        """Message to send to the server where the client's own checks have ended the session; it gives no reason."""
        return () if self._alarm is None else (Abort(PARTING),)

    @property
    def findings(self) -> tuple[TestResult, ...]:
        """The client's own tests of the light that it was sent, as far as they were made."""
        return () if self._guard is None else self._guard.findings

    def check_records(self, block: int) -> tuple[GuardRecord, ...]:
        """Sums behind the client's own tests of one block, layer by layer."""
        return () if self._guard is None else tuple(one for one in self._guard.records if one.block == block)

    def combine(self, layer: int, block: int, values: NDArray[np.floating[Any]]) -> NDArray[np.floating[Any]]:
        """Outcomes of whole rows (vectors, rows) from those of their tiles (vectors, streamed rows), as received.

        Raises
        ------
        ProtocolError
            For another layer or block than was set, and for another shape.
        """
        if self._frame is None or self._hidden is None or (layer, block) != self._position:
            raise ProtocolError(f"client: outcomes of layer {layer}, block {block} were not asked for")
        norms = self._hidden.tile_norms
        expected = (len(norms), self._frame.layers[layer].streamed_rows)
        if values.shape != expected:
            raise ProtocolError(f"client: outcomes have shape {values.shape}, expected {expected}")
        return join(values, norms)

    def separate(
        self, layer: int, block: int, values: NDArray[np.floating[Any]]
    ) -> tuple[NDArray[np.floating[Any]], NDArray[np.floating[Any]]]:
        """Outcomes of data and of check vectors, from those of all vectors of a block (vectors, rows)."""
        return (values, values[:0]) if self._guard is None else self._guard.split(layer, block, values)

    @property
    def notice(self) -> VerdictNotice | None:
        """The server's verdict, as far as it told."""
        return self._notice

    def inputs_digest(self) -> str:
        """BLAKE2b-256 over calibration, frame, limits and progress: what no peer message may change once agreed."""
        content = {
            "frame": self.digest,
            "law": None if self._law is None else repr(self._law),
            "limits": asdict(self._limits),
            "guard": asdict(self._guard_settings),
            "finished": sorted(self._finished),
        }
        digest = hashlib.blake2b(json.dumps(content, sort_keys=True).encode(), digest_size=32)
        digest.update(self._uses.tobytes())
        return digest.hexdigest()

    def receive(self, message: Message) -> tuple[Message, ...]:
        """Take a message from the server; returns what to answer.

        Raises
        ------
        ProtocolError
            For a message that does not belong here; nothing changes then. An `Abort` in a final state is no error
            (it may cross another one) and changes nothing.
        TypeError
            For anything that is not a message.
        """
        match message:
            case Proposal():
                return self._consider(message.frame)
            case Refusal():
                self._end(SessionEvent.REFUSE, message.reason)
            case Abort():
                if not self._session.final:
                    self._end(SessionEvent.ABORT, message.reason)
            case VerdictNotice():
                self._note(message)
            case Acceptance() | LayerDone():
                raise ProtocolError(f"client: {type(message).__name__} is not for a client")
            case _:
                raise TypeError(f"expected a message, got {type(message).__name__}")
        return ()

    def abort(self, reason: str) -> tuple[Message, ...]:
        """End the session; returns the message to send, nothing in a final state."""
        if self._session.final:
            return ()
        text = printable_reason(reason)
        self._end(SessionEvent.ABORT, text)
        return (Abort(text),)

    def next_intent(self) -> SetData | None:
        """What to set on the interferometer now; the same until its outcomes are in, None in a final state.

        Raises
        ------
        ProtocolError
            Before agreement.
        InputError
            For a data vector whose norm does not fit float32.
        """
        if self._session.final:
            return None
        self._session.expect("next_intent", SessionState.AGREED, SessionState.RUNNING)
        assert self._frame is not None
        assert self._position is not None
        layer, block = self._position
        images = self._frame.block_images(block)
        if self._hidden is None:
            self._hidden = self._prepare(layer, block, self._data[images.start : images.stop])
        if self.state is SessionState.AGREED:
            self._session.advance(SessionEvent.START)
        if layer == 0 and not self._issued:
            self._uses[images.start : images.stop] += 1
        self._issued = True
        return self._hidden.intent

    def outcomes(self, outcomes: Outcomes) -> BlockResult | None:
        """Take the outcomes of the layer and block that were set; returns the block's result after the last layer.

        Where the client's own checks find that the light was not what was agreed, the session ends (`alarm`) and
        these outcomes are not used.

        Raises
        ------
        ProtocolError
            For another layer or block, before `next_intent`, in another state, and for another shape or values that
            are not finite; nothing changes then.
        TypeError
            For anything but `Outcomes`.
        """
        if not isinstance(outcomes, Outcomes):
            raise TypeError(f"expected Outcomes, got {type(outcomes).__name__}")
        self._session.expect("outcomes", SessionState.RUNNING)
        assert self._frame is not None
        assert self._position is not None
        if not self._issued or (outcomes.layer, outcomes.block) != self._position:
            raise ProtocolError(
                f"client: outcomes of layer {outcomes.layer}, block {outcomes.block} were not asked for"
            )
        layer, block = self._position
        if outcomes.monitor is not None and outcomes.monitor.photons.size != self._frame.layers[layer].rows:
            raise ProtocolError(f"client: the monitors' reading is not one of layer {layer}")
        activations = self._activate(layer, block, outcomes.values)
        if layer + 1 < len(self._frame.layers):
            try:
                hidden = self._prepare(layer + 1, block, activations)
            except InputError as error:
                raise ProtocolError(f"client: activations of layer {layer}, block {block}: {error.problem}") from error
        else:
            hidden = None
        assert self._guard is not None
        failed = self._guard.take(layer, block, outcomes.values, outcomes.monitor)
        if failed:
            self._alarm = complaint(failed)
            self._end(SessionEvent.ABORT, self._alarm)
            return None
        if hidden is not None:
            self._hidden, self._position, result = hidden, (layer + 1, block), None
        else:
            result = self._result(block, activations)
            self._finished[block] = activations.shape
            self._hidden, self._position = None, self._first_unfinished()
        self._issued = False
        self._layer_done = LayerDone(layer, block)
        if self._position is None:
            self._session.advance(SessionEvent.COMPLETE)
        return result

    def restore(
        self, logits: Iterable[tuple[int, NDArray[np.floating[Any]]]], checks: Iterable[GuardRecord] = ()
    ) -> tuple[BlockResult, ...]:
        """Continue after blocks that an earlier process finished; before light flows, and once.

        Before the frame is known the shapes are kept and checked when it is proposed.

        Parameters
        ----------
        logits:
            (block, logits of shape (images, outputs)) of each finished block, as `BlockResult` gave them.
        checks:
            Sums behind the client's own tests of those blocks, as `check_records` gave them.

        Raises
        ------
        ProtocolError
            When light has flowed or something was restored before, for a repeated block and for a block or shape
            that does not fit the frame; nothing changes then.
        """
        self._session.expect("restore", SessionState.NEW, SessionState.AGREED)
        if self._finished:
            raise ProtocolError("client: blocks were restored before")
        results: dict[int, BlockResult] = {}
        for block, values in logits:
            if block in results or block < 0:
                raise ProtocolError(f"client: restored block {block} is repeated or negative")
            if values.ndim != 2 or not np.isfinite(values).all():
                raise ProtocolError(f"client: restored logits of block {block} are no finite (images, outputs)")
            results[block] = self._result(block, values.astype(np.float32, copy=False))
        finished = {block: result.logits.shape for block, result in results.items()}
        if self._frame is not None:
            objection = _misfit(self._frame, finished)
            if objection is not None:
                raise ProtocolError(f"client: {objection}")
        self._finished, self._earlier_checks = finished, tuple(checks)
        if self._frame is not None:
            self._settle(self._frame)
        return tuple(results.values())

    def _consider(self, frame: FrameDescription) -> tuple[Message, ...]:
        self._session.advance(SessionEvent.PROPOSE)
        objection = self._objection(frame)
        law: TapLaw | None = None
        guard: Guard | None = None
        if objection is None:
            try:
                law = tap_law(frame.tap, frame.ledger)
                guard = Guard(self._guard_settings, frame, self._root)
            except (ValueError, ArithmeticError) as error:
                objection = f"the proposed gain-and-tap setting has no law: {error}"
        if law is not None and not all(0 < _factor(law, frame, layer) < math.inf for layer in frame.layers):
            objection = "the proposed gain-and-tap setting gives the client nothing to measure"
        if objection is not None or law is None:
            text = printable_reason(objection or "")
            self._end(SessionEvent.REFUSE, text)
            return (Refusal(text),)
        self._frame, self._law, self._guard = frame, law, guard
        self._session.advance(SessionEvent.AGREE)
        self._settle(frame)
        return (Acceptance(frame.digest),)

    def _objection(self, frame: FrameDescription) -> str | None:
        images, features = self._data.shape
        if frame.images != images:
            return f"the frame is for {frame.images} images, the client has {images}"
        if frame.layers[0].n_features != features:
            return f"the model takes {frame.layers[0].n_features} features, the client's data have {features}"
        for index, layer in enumerate(frame.layers):
            scale, activation = layer.published_scale, layer.activation
            numbers = (1.0 if scale is None else scale, activation.threshold, activation.slope)
            if not all(map(math.isfinite, numbers)) or numbers[0] <= 0:
                return f"layer {index} has a scale, threshold or slope that is not a usable number"
        return _misfit(frame, self._finished) or self._limits.objection(frame)

    def _settle(self, frame: FrameDescription) -> None:
        """Take up the first block that is not finished."""
        if self._guard is not None:
            self._guard.restore(self._earlier_checks)
        for block in self._finished:
            images = frame.block_images(block)
            self._uses[images.start : images.stop] = 1
        self._position = self._first_unfinished()
        if self._position is None:
            self._session.advance(SessionEvent.COMPLETE)

    def _first_unfinished(self) -> tuple[int, int] | None:
        assert self._frame is not None
        for block in range(self._frame.n_blocks):
            if block not in self._finished:
                return (0, block)
        return None

    def _prepare(self, layer: int, block: int, vectors: Floats) -> _Prepared:
        assert self._frame is not None
        assert self._guard is not None
        setting = self._frame.layers[layer]
        if setting.centred:
            vectors = centre(vectors)
        generator = self._root.generator("empty-direction", layer, block)
        x, norms, _ = directions(vectors, setting.bias, generator)
        # The norm of an empty vector is 0, which discards its outcome.
        whole = self._guard.with_checks(layer, block, x)
        tiles, tile_norms = aim(whole, setting.tiles, self._root.generator("empty-tile", layer, block))
        return _Prepared(SetData(layer, block, _owned(tiles)), norms.astype(np.float32, copy=False), tile_norms)

    def _activate(self, layer: int, block: int, outcomes: NDArray[np.floating[Any]]) -> Floats:
        assert self._frame is not None
        assert self._law is not None
        assert self._guard is not None
        assert self._hidden is not None
        setting = self._frame.layers[layer]
        expected = (self._hidden.norms.size + self._frame.check_vectors, setting.rows)
        if outcomes.shape != expected:
            raise ProtocolError(f"client: outcomes have shape {outcomes.shape}, expected {expected}")
        values, checks = self._guard.split(layer, block, outcomes)
        factor = _factor(self._law, self._frame, setting)
        scale = 1.0 if setting.published_scale is None else setting.published_scale
        with np.errstate(over="ignore", invalid="ignore"):
            per_image = (self._hidden.norms * (scale / factor)).astype(np.float32)
            z = values.astype(np.float32, copy=False) * per_image[:, None]
            activations = apply_activation(setting.activation, z)
        # z as well: a ReLU would turn minus infinity into 0.
        if not (np.isfinite(z).all() and np.isfinite(activations).all() and np.isfinite(checks).all()):
            raise ProtocolError("client: outcomes are not finite, or too large to go on with")
        return activations

    @staticmethod
    def _result(block: int, logits: Floats) -> BlockResult:
        chosen = predictions(logits)
        chosen.setflags(write=False)
        return BlockResult(block, frozen(logits), chosen)

    def _note(self, notice: VerdictNotice) -> None:
        if self._notice is not None:
            raise ProtocolError("client: the server has given its verdict before")
        if notice.kind is VerdictKind.ABORT and self.state in (SessionState.AGREED, SessionState.RUNNING):
            self._end(SessionEvent.ABORT, f"the server's verdict: {notice.reason}")
        else:
            # Done: the server may still find fault with the last layer, which takes no prediction back.
            self._session.expect(f"a verdict of {notice.kind}", SessionState.DONE)
        self._notice = notice

    def _end(self, event: SessionEvent, reason: str) -> None:
        self._session.advance(event)
        self._ending = reason
        self._hidden = None
        self._position = None
        self._issued = False


def _factor(law: TapLaw, frame: FrameDescription, layer: LayerFrame) -> float:
    """Outcome in SNU per unit of (w/r).(x/|x|): outcome_gain sqrt(T_1) sqrt(2 mu)."""
    return law.outcome_gain * math.sqrt(frame.ledger.forward * 2.0 * layer.mu)


def _misfit(frame: FrameDescription, finished: dict[int, tuple[int, ...]]) -> str | None:
    """Why restored blocks do not fit a frame, None if they do."""
    for block, shape in finished.items():
        if block >= frame.n_blocks or shape != (len(frame.block_images(block)), frame.layers[-1].rows):
            return f"restored block {block} does not fit the frame"
    return None


def _owned(x: NDArray[np.floating[Any]]) -> NDArray[np.floating[Any]]:
    """Mark a fresh array read-only without a copy."""
    x.setflags(write=False)
    return x
