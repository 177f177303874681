"""A small network, a frame and an exact toy link: every residual drawn, no sampler of the library involved."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from labqdl.facts import (
    Activation,
    ActivationKind,
    Budgets,
    Component,
    FrameDescription,
    LayerFrame,
    Ledger,
    Owner,
    Place,
    ResidualSample,
    ReturnedLight,
    RowStatistics,
    TapSetting,
    UseSums,
    VerificationPlan,
)
from labqdl.optics.gain_tap import tap_law
from labqdl.protocol import (
    BlockResult,
    Client,
    Message,
    Outcomes,
    Returned,
    SendRows,
    Server,
    SessionState,
    SetData,
    SetReceiver,
)
from labqdl.rng import Roots

Floats = NDArray[np.float32]

IDEAL = Ledger("ideal")
LOSSY = Ledger(
    "lossy",
    (
        Component("fibre out", Place.FORWARD, Owner.CHANNEL, transmissivity=0.9),
        Component("fibre back", Place.RETURN, Owner.CHANNEL, transmissivity=0.8),
        Component("receiver", Place.CLIENT_RECEIVER, Owner.CLIENT, transmissivity=0.95, electronic_noise=0.05),
        Component("verifier", Place.SERVER_RECEIVER, Owner.SERVER, transmissivity=0.85, electronic_noise=0.1),
        Component("counter", Place.SERVER_COUNTER, Owner.SERVER, transmissivity=0.7),
    ),
)


@dataclass(frozen=True)
class ToyLayer:
    """A layer as the server wants it."""

    weights: Floats
    bias: Floats | None = None
    activation: Activation = field(default_factory=Activation)
    centred: bool = False
    published: bool = False

    @property
    def scale(self) -> float:
        """RMS of all entries."""
        columns = self.weights if self.bias is None else np.column_stack([self.weights, self.bias])
        return float(np.sqrt(np.mean(np.square(columns, dtype=np.float64))))


@dataclass(frozen=True)
class ToyNetwork:
    """Layers in order."""

    layers: tuple[ToyLayer, ...]


def toy_layer(
    rows: int,
    features: int,
    seed: int,
    *,
    bias: bool = False,
    activation: Activation | None = None,
    published: bool = False,
    centred: bool = False,
) -> ToyLayer:
    generator = np.random.default_rng(seed)
    return ToyLayer(
        generator.standard_normal((rows, features)).astype(np.float32),
        generator.standard_normal(rows).astype(np.float32) if bias else None,
        Activation(ActivationKind.RELU) if activation is None else activation,
        centred,
        published,
    )


def toy_network(*sizes: int) -> ToyNetwork:
    """ReLU layers of these sizes, the last one linear."""
    pairs = itertools.pairwise(sizes)
    layers = [toy_layer(rows, features, seed) for seed, (features, rows) in enumerate(pairs)]
    layers[-1] = replace(layers[-1], activation=Activation())
    return ToyNetwork(tuple(layers))


def toy_frame(
    network: ToyNetwork,
    images: int,
    block: int,
    *,
    mu: float = 4.0,
    tap: TapSetting | None = None,
    ledger: Ledger = IDEAL,
    budgets: Budgets | None = None,
    counting: float = 0.25,
) -> FrameDescription:
    return FrameDescription(
        session="toy",
        layers=tuple(
            LayerFrame(
                rows=layer.weights.shape[0],
                n_features=layer.weights.shape[1],
                bias=layer.bias is not None,
                mu=mu,
                published_scale=layer.scale if layer.published else None,
                activation=layer.activation,
                centred=layer.centred,
            )
            for layer in network.layers
        ),
        images=images,
        block=block,
        tap=TapSetting.amplifier(2.0) if tap is None else tap,
        ledger=ledger,
        plan=VerificationPlan(counting_fraction=counting),
        budgets=Budgets() if budgets is None else budgets,
    )


def toy_data(images: int, features: int, seed: int = 5) -> Floats:
    return np.random.default_rng(seed).standard_normal((images, features)).astype(np.float32)


def activate(activation: Activation, z: NDArray[np.float64]) -> NDArray[np.float64]:
    """Written out again, so that the library's functions are not tested by themselves."""
    shifted = z - activation.threshold
    if activation.kind is ActivationKind.RELU:
        return np.where(shifted > 0, shifted, 0.0)
    if activation.kind is ActivationKind.LEAKY_RELU:
        return np.where(shifted > 0, shifted, activation.slope * shifted)
    return shifted**2 if activation.kind is ActivationKind.SQUARE else shifted


def plain_forward(network: ToyNetwork, data: Floats) -> NDArray[np.float64]:
    """The network without light; layers that publish no scale in units of unit-RMS weights."""
    vectors = data.astype(np.float64)
    for layer in network.layers:
        if layer.centred:
            vectors = vectors - vectors.mean(axis=1, keepdims=True)
        z = vectors @ layer.weights.T.astype(np.float64)
        if layer.bias is not None:
            z = z + layer.bias
        vectors = activate(layer.activation, z if layer.published else z / layer.scale)
    return vectors


class ToyLink:
    """Light between a server and a client, sampled vector by vector (every residual, every count).

    `noise` is added by a cheating client to every returned quadrature (SNU); `quiet` removes the receiver's noise
    from the client's outcomes, so that they can be compared with the plain network.
    """

    def __init__(self, frame: FrameDescription, seed: int = 1, *, noise: float = 0.0, quiet: bool = False) -> None:
        self._frame = frame
        self._seed = seed
        self._noise = noise
        self._quiet = quiet

    def transmit(self, rows: SendRows, receiver: SetReceiver, setting: SetData) -> tuple[Outcomes, Returned]:
        """One layer of one block; a keyed stream, so that it does not matter what was sent before."""
        generator = np.random.default_rng([self._seed, rows.layer, rows.block])
        ledger, law = self._frame.ledger, tap_law(self._frame.tap, self._frame.ledger)
        q, x = rows.quadratures.astype(np.float64), setting.directions.astype(np.float64)
        jx = np.empty_like(x)
        jx[:, 0::2], jx[:, 1::2] = -x[:, 1::2], x[:, 0::2]
        shape = (x.shape[0], q.shape[0])
        n_x = math.sqrt(law.d_x) * generator.standard_normal(shape)
        n_p = math.sqrt(law.d_p) * generator.standard_normal(shape)
        y = law.outcome_gain * math.sqrt(ledger.forward) * (x @ q.T)
        if not self._quiet:
            shared = law.covariance_x / law.d_x
            y = y + shared * n_x
            y = y + math.sqrt(law.outcome_variance - shared**2 * law.d_x) * generator.standard_normal(shape)
        # Returned classical amplitudes beyond sqrt(T) q, at the server's input: (images, rows, 2 n_modes).
        extra = math.sqrt(ledger.back) * (n_x[..., None] * x[:, None] + n_p[..., None] * jx[:, None])
        extra += math.sqrt(self._noise) * generator.standard_normal(extra.shape)
        efficiency, electronic = ledger.server_efficiency, ledger.server_noise
        measured = np.where(receiver.pattern, extra[..., 1::2], extra[..., 0::2])
        sent = np.where(receiver.pattern, q[:, 1::2], q[:, 0::2])
        turned = np.where(receiver.pattern, q[:, 0::2], -q[:, 1::2])
        r = math.sqrt(efficiency) * measured
        r += math.sqrt(1.0 + electronic) * generator.standard_normal(r.shape)
        intensity = ledger.counter_efficiency * (extra[..., 0::2] ** 2 + extra[..., 1::2] ** 2) / 4.0
        photons = generator.poisson(intensity).sum(axis=(0, 2))
        homodyned, per_row = ~receiver.counted, x.shape[0] * receiver.pattern.size
        statistics = RowStatistics(
            counted=receiver.counted,
            sum_qq=homodyned * x.shape[0] * (sent**2).sum(axis=1),
            sum_qr=homodyned * np.einsum("kj,ikj->k", sent, r),
            sum_rr=homodyned * np.einsum("ikj,ikj->k", r, r),
            sum_jj=homodyned * x.shape[0] * (turned**2).sum(axis=1),
            sum_jr=homodyned * np.einsum("kj,ikj->k", turned, r),
            residuals=homodyned * np.full(q.shape[0], per_row),
            photons=receiver.counted * photons,
            slots=receiver.counted * np.full(q.shape[0], per_row),
            expected_photons_signal=receiver.counted * x.shape[0] * (q**2).sum(axis=1) / 4.0,
            images=x.shape[0],
        )
        r *= homodyned[:, None]
        uses, sample = None, None
        if receiver.use_sums:
            uses = UseSums(r.sum(axis=0).astype(np.float32), x.shape[0])
        if receiver.sampled.size:
            kept = r[receiver.sampled][:, homodyned].astype(np.float32)
            sample = ResidualSample(receiver.sampled, np.flatnonzero(homodyned), kept)
        return Outcomes(rows.layer, rows.block, y), Returned(rows.layer, rows.block, statistics, uses, sample)


@dataclass
class Run:
    """What a session left behind."""

    server: Server
    client: Client
    results: list[BlockResult]
    records: list[tuple[int, int, ReturnedLight]]
    messages: list[Message]


def parties(network: ToyNetwork, frame: FrameDescription, data: Floats, seed: int = 3) -> tuple[Server, Client]:
    roots = Roots.from_seed(seed)
    return Server(network, frame, roots.server), Client(data, roots.client)


def states(server: Server, client: Client) -> tuple[SessionState, SessionState]:
    return server.state, client.state


def agree(server: Server, client: Client) -> None:
    for answer in client.receive(server.propose()):
        assert server.receive(answer) == ()


def drive(server: Server, client: Client, link: ToyLink, steps: int | None = None) -> Run:
    """Carry an agreed session on until it ends, or for a number of layers."""
    run = Run(server, client, [], [], [])
    while steps is None or steps > 0:
        intents, setting = server.next_intents(), client.next_intent()
        if intents is None or setting is None:
            break
        outcomes, returned = link.transmit(*intents, setting)
        result = client.outcomes(outcomes)
        if result is not None:
            run.results.append(result)
        assert client.layer_done is not None
        server.receive(client.layer_done)
        run.records.append((returned.layer, returned.block, returned.light))
        for message in server.returned(returned):
            run.messages.append(message)
            client.receive(message)
        steps = None if steps is None else steps - 1
    return run


def logits_of(results: Sequence[BlockResult]) -> list[tuple[int, Floats]]:
    return [(result.block, result.logits) for result in results]
