"""The server: owns the network, sends light, verifies what returns, pronounces the verdict. Sans-I/O.

A server receives messages and what its own receivers measured, and returns messages and intents. It never sees data
or outcomes. Its verdict is a function of the agreed frame and of its own records; no message of a peer reaches it.
See docs/physics.md, sections "Server encoding" and "Verification" (Sulimany et al., PRX 15, 041056).
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from labqdl.errors import ProtocolError
from labqdl.facts import Activation, FrameDescription, ReturnedLight, ShotNoise, Verdict, VerdictKind
from labqdl.optics.modes import layer_amplitudes
from labqdl.optics.tiling import stream
from labqdl.protocol.intents import Returned, SendRows, SetReceiver
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
from labqdl.protocol.plausible import Setting, fingerprint, impossible
from labqdl.protocol.session import Session, SessionEvent, SessionState
from labqdl.rng import Root
from labqdl.security.expected import LayerLight, layer_light
from labqdl.security.verification import Verifier

_SCALE_TOLERANCE = 1e-5
"""Relative: a published scale is a rounded number."""


class LayerLike(Protocol):
    """What the server needs of a layer: float32 weights (rows, features), bias, activation, centring."""

    @property
    def weights(self) -> NDArray[np.float32]:
        """Weights, (rows, features)."""
        ...

    @property
    def bias(self) -> NDArray[np.float32] | None:
        """Bias, (rows,), or None."""
        ...

    @property
    def activation(self) -> Activation:
        """What the client applies to the outcomes."""
        ...

    @property
    def centred(self) -> bool:
        """Whether the client subtracts a vector's own mean before the light."""
        ...


class NetworkLike(Protocol):
    """What the server needs of a network; `labqdl.network.Network` is one."""

    @property
    def layers(self) -> Sequence[LayerLike]:
        """Layers in order of use."""
        ...


class Server:
    """The party that owns the network.

    Parameters
    ----------
    network:
        The network; its weights are encoded once, at construction.
    frame:
        What the server proposes.
    root:
        The server's own random numbers: which quadratures, which rows are counted.

    Raises
    ------
    ValueError
        Where frame and network differ in shape, bias, activation or published scale.
    """

    def __init__(self, network: NetworkLike, frame: FrameDescription, root: Root) -> None:
        if len(network.layers) != len(frame.layers):
            raise ValueError(f"the network has {len(network.layers)} layers, the frame {len(frame.layers)}")
        self._frame = frame
        self._digest = frame.digest
        self._root = root
        self._session = Session("server")
        whole = [_encode(network, frame, index) for index in range(len(frame.layers))]
        tiles = [layer.tiles for layer in frame.layers]
        self._quadratures = tuple(_streamed(q, count) for q, count in zip(whole, tiles, strict=True))
        self._expected_amplitude = math.sqrt(frame.ledger.total * frame.ledger.server_efficiency)
        self._light = tuple(layer_light(q, count) for q, count in zip(whole, tiles, strict=True))
        self._verifier = Verifier(frame, self._light)
        self._verdict: Verdict | None = None
        self._records: dict[tuple[int, int], bytes] = {}
        self._finished: set[int] = set()
        self._restored: frozenset[int] = frozenset()
        self._position: tuple[int, int] | None = (0, 0)
        self._intents: tuple[SendRows, SetReceiver] | None = None
        self._peer_next: tuple[int, int] | None = (0, 0)
        self._evidence: Returned | None = None
        self._ending: str | None = None

    def __repr__(self) -> str:
        return f"Server({self.state}, position={self._position})"

    @property
    def state(self) -> SessionState:
        """Where the session stands for the server."""
        return self._session.state

    @property
    def aborted(self) -> bool:
        """Whether the session was ended by either party, or by inconsistent light."""
        return self.state is SessionState.ABORTED

    @property
    def ending(self) -> str | None:
        """Why the session was refused or aborted, None if it was not."""
        return self._ending

    @property
    def frame(self) -> FrameDescription:
        """The frame that the server proposes."""
        return self._frame

    @property
    def digest(self) -> str:
        """Digest of that frame."""
        return self._digest

    @property
    def position(self) -> tuple[int, int] | None:
        """(layer, block) that is sent next; None when nothing is left to send."""
        return self._position

    @property
    def finished_blocks(self) -> frozenset[int]:
        """Blocks whose returned light is in, restored ones included."""
        return frozenset(self._finished)

    @property
    def evidence(self) -> Returned | None:
        """The statistics on which the returned light became inconsistent, None if it did not."""
        return self._evidence

    @property
    def light(self) -> tuple[LayerLight, ...]:
        """What the server's own weights say about each layer's light; secret to it."""
        return self._light

    @property
    def verifier(self) -> Verifier:
        """The verifier with the sums so far: for the server's own records and reports."""
        return self._verifier

    def pattern(self, layer: int, block: int) -> NDArray[np.bool_]:
        """Quadrature that the server homodynes in each mode, (n_modes,), True for P: for its records and reports."""
        return self._choices(layer, block)[0]

    def inputs_digest(self) -> str:
        """BLAKE2b-256 over all that the verdict depends on: frame (ledger, plan, budgets), sent light, every record."""
        digest = hashlib.blake2b(self._digest.encode(), digest_size=32)
        for quadratures in self._quadratures:
            digest.update(np.ascontiguousarray(quadratures).data)
        for record in sorted(self._records):
            digest.update(self._records[record])
        digest.update(json.dumps(self._verifier.state_dict(), sort_keys=True).encode())
        return digest.hexdigest()

    def propose(self) -> Proposal:
        """Open the session; once.

        Raises
        ------
        ProtocolError
            When the session was opened or ended before.
        """
        self._session.advance(SessionEvent.PROPOSE)
        return Proposal(self._frame)

    def receive(self, message: Message) -> tuple[Message, ...]:
        """Take a message from the client; returns what to answer.

        An acceptance of another digest refuses the session and says so to the client.

        Raises
        ------
        ProtocolError
            For a message that does not belong here; nothing changes then. An `Abort` in a final state is no error
            (it may cross another one) and changes nothing.
        TypeError
            For anything that is not a message.
        """
        match message:
            case Acceptance():
                return self._agree(message.digest)
            case Refusal():
                self._end(SessionEvent.REFUSE, message.reason)
            case Abort():
                if not self._session.final:
                    self._end(SessionEvent.ABORT, message.reason)
            case LayerDone():
                self._heard(message)
            case Proposal() | VerdictNotice():
                raise ProtocolError(f"server: {type(message).__name__} is not for a server")
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

    def next_intents(self) -> tuple[SendRows, SetReceiver] | None:
        """What to send now and how to measure its return; the same until that is in, None in a final state.

        Raises
        ------
        ProtocolError
            Before agreement.
        """
        if self._session.final:
            return None
        self._session.expect("next_intents", SessionState.AGREED, SessionState.RUNNING)
        assert self._position is not None
        if self._intents is None:
            layer, block = self._position
            setting = self._setting(layer, block)
            self._intents = (
                SendRows(layer, block, self._quadratures[layer], setting.images),
                SetReceiver(
                    layer,
                    block,
                    setting.pattern,
                    setting.counted,
                    self._expected_amplitude,
                    setting.use_sums,
                    setting.sampled,
                ),
            )
        if self.state is SessionState.AGREED:
            self._session.advance(SessionEvent.START)
        return self._intents

    def returned(self, returned: Returned) -> tuple[Message, ...]:
        """Take what the receivers measured; returns the verdict's notice once there is one, else nothing.

        Raises
        ------
        ProtocolError
            For another layer or block, before `next_intents`, in another state, and for statistics that this setting
            of the receiver cannot give; nothing changes then.
        TypeError
            For anything but `Returned`.
        """
        if not isinstance(returned, Returned):
            raise TypeError(f"expected Returned, got {type(returned).__name__}")
        self._session.expect("returned", SessionState.RUNNING)
        if self._intents is None or (returned.layer, returned.block) != self._position:
            raise ProtocolError(f"server: light of layer {returned.layer}, block {returned.block} is not expected")
        layer, block, light = returned.layer, returned.block, returned.light
        setting = self._check(layer, block, light)
        self._verifier.add(layer, block, light, setting.pattern)
        self._records[(block, layer)] = fingerprint(layer, block, light.statistics)
        self._intents = None
        if layer + 1 < len(self._frame.layers):
            self._position = (layer + 1, block)
        else:
            self._finished.add(block)
            self._position = self._first_unfinished()
        if self._position is not None and self._verifier.running().passed:
            return ()
        self._verdict = self._verifier.verdict()
        if self._verdict.kind is VerdictKind.ABORT:
            self._evidence = returned
            self._end(SessionEvent.ABORT, self._verdict.explanation)
        else:
            self._session.advance(SessionEvent.COMPLETE)
        return (VerdictNotice(self._verdict.kind, self._verdict.reason),)

    def verdict(self) -> Verdict:
        """What the server concludes from its records so far; a function of frame and records alone.

        To be asked for once, when a session has ended or is given up: looked at again and again while data come in,
        its tests would spend the agreed false-alarm rate each time. The server itself watches the e-process only
        until the last layer is in.
        """
        return self._verifier.verdict() if self._verdict is None else self._verdict

    def restore(self, records: Iterable[tuple[int, int, ReturnedLight]], *, ended: str | None = None) -> None:
        """Continue after blocks that an earlier process finished; before light flows, and once.

        Records are judged in the order of blocks and layers, as in the undisturbed run, whatever the order in which
        they come. Where they are inconsistent, the session is aborted, as it was when they were taken; only then may
        a block be incomplete. One record is held at a time, but for the last one.

        Parameters
        ----------
        records:
            (layer, block, light), all layers of each block.
        ended:
            Why the client ended the session after them, None if it did not; the last block may then be incomplete.

        Raises
        ------
        ProtocolError
            When light has flowed or something was restored before, for records that are repeated, incomplete or not
            possible; nothing changes then.
        """
        self._session.expect("restore", SessionState.NEW, SessionState.PROPOSED, SessionState.AGREED)
        if self._finished:
            raise ProtocolError("server: blocks were restored before")
        verifier = Verifier(self._frame, self._light)
        prints: dict[tuple[int, int], bytes] = {}
        last: Returned | None = None
        for layer, block, light in records:
            if (block, layer) in prints:
                raise ProtocolError(f"server: restored record of layer {layer}, block {block} is repeated")
            setting = self._check(layer, block, light)
            verifier.add(layer, block, light, setting.pattern)
            prints[(block, layer)] = fingerprint(layer, block, light.statistics)
            if last is None or (block, layer) > (last.block, last.layer):
                last = Returned(layer, block, light.statistics, light.use_sums, light.sample)
        blocks = {block for block, _ in prints}
        complete = {block for block in blocks if all((block, i) in prints for i in range(len(self._frame.layers)))}
        # The last look at a whole session is the verdict; before that the e-process watches alone.
        whole = len(complete) == self._frame.n_blocks
        verdict = verifier.verdict() if whole or not verifier.running().passed else None
        inconsistent = verdict is not None and verdict.kind is VerdictKind.ABORT
        if complete != blocks and not inconsistent and ended is None:
            raise ProtocolError(f"server: restored block {min(blocks - complete)} is incomplete")
        self._verifier, self._finished, self._restored = verifier, complete, frozenset(complete)
        self._records = prints
        self._position = self._peer_next = self._first_unfinished()
        self._verdict = verdict
        if verdict is not None and inconsistent:
            self._evidence = last
            self._end(SessionEvent.ABORT, verdict.explanation)
        elif ended is not None:
            self._end(SessionEvent.ABORT, ended)
        elif self.state is SessionState.AGREED:
            self._complete_if_nothing_is_left()

    def _agree(self, digest: str) -> tuple[Message, ...]:
        self._session.expect("an acceptance", SessionState.PROPOSED)
        if digest != self._digest:
            text = "the digests of the frame differ: the parties would not speak of the same session"
            self._end(SessionEvent.REFUSE, text)
            return (Refusal(text),)
        self._session.advance(SessionEvent.AGREE)
        self._complete_if_nothing_is_left()
        return ()

    def _complete_if_nothing_is_left(self) -> None:
        if self._position is None:
            self._session.advance(SessionEvent.COMPLETE)

    def _heard(self, message: LayerDone) -> None:
        """The client may be ahead of the returned light by the layer that is on its way, never by more."""
        self._session.expect("layer-done", SessionState.RUNNING, SessionState.DONE)
        here = (message.layer, message.block)
        if here != self._peer_next or not self._sent(*here):
            raise ProtocolError(f"server: layer {message.layer} of block {message.block} cannot be done now")
        self._peer_next = self._after(*here)

    def _sent(self, layer: int, block: int) -> bool:
        """Whether the light of this layer and block has been asked for."""
        if self._position is None:
            return True
        current = (self._position[1], self._position[0])
        return (block, layer) < current or ((block, layer) == current and self._intents is not None)

    def _after(self, layer: int, block: int) -> tuple[int, int] | None:
        if layer + 1 < len(self._frame.layers):
            return (layer + 1, block)
        later = range(block + 1, self._frame.n_blocks)
        return next(((0, following) for following in later if following not in self._restored), None)

    def _first_unfinished(self) -> tuple[int, int] | None:
        return next(((0, block) for block in range(self._frame.n_blocks) if block not in self._finished), None)

    def _choices(self, layer: int, block: int) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Quadratures (tile_modes,) and counted rows (streamed_rows,) of one layer and block, unpredictable to the
        client."""
        setting = self._frame.layers[layer]
        pattern = self._root.bits("quadrature", layer, block, count=setting.tile_modes)
        chances = self._root.uniforms("counted", layer, block, count=setting.streamed_rows)
        return pattern, chances < self._frame.plan.counting_fraction

    def _setting(self, layer: int, block: int) -> Setting:
        """How the receivers are set for one layer of one block."""
        plan, images = self._frame.plan, self._frame.block_vectors(block)
        pattern, counted = self._choices(layer, block)
        # The vectors with the smallest random numbers, so that their number is the agreed one.
        order = np.argsort(self._root.uniforms("sampled", layer, block, count=images), kind="stable")
        sampled = np.sort(order[: plan.sampled_vectors(images)]).astype(np.int64)
        vacuum = 0 if plan.shot_noise is ShotNoise.KNOWN else self._frame.vacuum_slots
        return Setting(pattern, counted, images, plan.cross_use, sampled, vacuum)

    def _check(self, layer: int, block: int, light: ReturnedLight) -> Setting:
        """Refuse what the receiver, set as it was, cannot have measured."""
        if not (0 <= layer < len(self._frame.layers) and 0 <= block < self._frame.n_blocks):
            raise ProtocolError(f"server: there is no layer {layer} of block {block}")
        setting = self._setting(layer, block)
        problem = impossible(light, setting, self._quadratures[layer])
        if problem is not None:
            raise ProtocolError(f"server: statistics of layer {layer}, block {block}: {problem}")
        return setting

    def _end(self, event: SessionEvent, reason: str) -> None:
        self._session.advance(event)
        self._ending = reason
        self._intents = None
        self._position = None


def _encode(network: NetworkLike, frame: FrameDescription, index: int) -> NDArray[np.floating[Any]]:
    """Quadratures (rows, n_weights) of one layer; checks network against frame."""
    layer, setting = network.layers[index], frame.layers[index]
    if layer.weights.shape != (setting.rows, setting.n_features):
        raise ValueError(
            f"layer {index} has weights {layer.weights.shape}, the frame {(setting.rows, setting.n_features)}"
        )
    mine = (layer.bias is not None, layer.activation, layer.centred)
    if mine != (setting.bias, setting.activation, setting.centred):
        raise ValueError(f"layer {index} of network and frame differ in bias, activation or centring")
    quadratures, scale = layer_amplitudes(layer.weights, layer.bias, setting.mu)
    published = setting.published_scale
    if published is not None and not math.isclose(published, scale, rel_tol=_SCALE_TOLERANCE):
        raise ValueError(f"layer {index} has scale {scale:g}, the frame publishes {published:g}")
    return quadratures


def _streamed(quadratures: NDArray[np.floating[Any]], tiles: int) -> NDArray[np.floating[Any]]:
    """Rows as they are streamed, tile by tile, read-only."""
    # Every block takes the columns of one quadrature a mode; in this order they are contiguous.
    streamed = np.asfortranarray(stream(quadratures, tiles))
    streamed.setflags(write=False)
    return streamed
