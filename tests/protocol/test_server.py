from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pytest

from labqdl.errors import InputError, ProtocolError
from labqdl.facts import (
    Activation,
    Component,
    FrameDescription,
    Ledger,
    Owner,
    Place,
    Reason,
    ReturnedLight,
    RowStatistics,
    VerdictKind,
    VerificationPlan,
)
from labqdl.protocol import (
    Abort,
    Acceptance,
    LayerDone,
    Proposal,
    Refusal,
    Returned,
    SendRows,
    Server,
    SessionState,
    SetData,
    SetReceiver,
    VerdictNotice,
)
from labqdl.rng import Roots
from tests.protocol.toy import (
    ToyLink,
    ToyNetwork,
    agree,
    drive,
    parties,
    toy_data,
    toy_frame,
    toy_layer,
    toy_network,
)

NETWORK = toy_network(5, 8, 3)
FRAME = toy_frame(NETWORK, 5, 2)
ROOT = Roots.from_seed(1).server


def new() -> Server:
    return Server(NETWORK, FRAME, ROOT)


def agreed(frame: FrameDescription = FRAME) -> Server:
    server = Server(NETWORK, frame, ROOT)
    server.propose()
    assert server.receive(Acceptance(frame.digest)) == ()
    return server


def intents(server: Server) -> tuple[SendRows, SetReceiver]:
    found = server.next_intents()
    assert found is not None
    return found


def light(server: Server) -> Returned:
    """Honest light for whatever the server sends now; the directions are some unit vectors."""
    rows, receiver = intents(server)
    x = np.random.default_rng(0).standard_normal((rows.images, rows.quadratures.shape[1]))
    setting = SetData(rows.layer, rows.block, x / np.linalg.norm(x, axis=1)[:, None])
    return ToyLink(FRAME).transmit(rows, receiver, setting)[1]


def state_of(server: Server) -> SessionState:
    return server.state


def snapshot(server: Server) -> tuple[object, ...]:
    return (server.state, server.position, server.finished_blocks, server.inputs_digest(), server.ending)


def refuses(server: Server, call: Callable[[], object], words: str) -> None:
    """The call is a protocol error and leaves no trace."""
    before = snapshot(server)
    with pytest.raises(ProtocolError, match=words):
        call()
    assert snapshot(server) == before


def changed(returned: Returned, **changes: Any) -> Returned:
    statistics = replace(returned.statistics, **changes)
    return Returned(returned.layer, returned.block, statistics, returned.use_sums, returned.sample)


@pytest.mark.parametrize(
    ("network", "words"),
    [
        (toy_network(5, 3), "has 1 layers, the frame 2"),
        (toy_network(6, 8, 3), "layer 0 has weights"),
        (ToyNetwork((toy_layer(8, 5, 0, bias=True), NETWORK.layers[1])), "differ in bias"),
        (ToyNetwork((toy_layer(8, 5, 0, centred=True), NETWORK.layers[1])), "differ in bias"),
        (ToyNetwork((toy_layer(8, 5, 0, activation=Activation()), NETWORK.layers[1])), "activation"),
    ],
)
def test_a_network_that_is_not_that_of_the_frame(network: ToyNetwork, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Server(network, FRAME, ROOT)


def test_a_published_scale_must_be_the_layers() -> None:
    layers = (replace(FRAME.layers[0], published_scale=NETWORK.layers[0].scale * 1.01), FRAME.layers[1])
    with pytest.raises(ValueError, match="publishes"):
        Server(NETWORK, replace(FRAME, layers=layers), ROOT)
    layers = (replace(FRAME.layers[0], published_scale=NETWORK.layers[0].scale), FRAME.layers[1])
    Server(NETWORK, replace(FRAME, layers=layers), ROOT)


def test_weights_without_scale() -> None:
    zeros = ToyNetwork((replace(NETWORK.layers[0], weights=np.zeros((8, 5), dtype=np.float32)), NETWORK.layers[1]))
    with pytest.raises(InputError):
        Server(zeros, FRAME, ROOT)


def test_odd_rows_are_padded_and_carry_mu_photons_a_pair() -> None:
    server = agreed()
    rows, receiver = intents(server)
    assert rows.quadratures.shape == (8, 6)
    assert rows.images == 2
    assert not rows.quadratures[:, 5].any()
    assert np.mean(rows.quadratures[:, :5] ** 2) == pytest.approx(2 * FRAME.layers[0].mu, rel=1e-6)
    np.testing.assert_allclose(
        rows.quadratures[:, :5] / rows.quadratures[0, 0],
        NETWORK.layers[0].weights / NETWORK.layers[0].weights[0, 0],
        rtol=1e-5,
    )
    assert receiver.pattern.shape == (3,)
    assert receiver.counted.shape == (8,)
    assert receiver.expected_amplitude == 1.0


def test_a_bias_is_one_more_column() -> None:
    layer = toy_layer(3, 4, 2, bias=True)
    server = Server(ToyNetwork((layer,)), toy_frame(ToyNetwork((layer,)), 1, 1), ROOT)
    server.propose()
    server.receive(Acceptance(server.digest))
    rows, _ = intents(server)
    assert rows.quadratures.shape == (3, 6)
    assert layer.bias is not None
    np.testing.assert_allclose(
        rows.quadratures[:, 4] / rows.quadratures[0, 0], layer.bias / layer.weights[0, 0], rtol=1e-5
    )


def test_intents_are_the_same_until_the_light_is_back_and_quadratures_are_encoded_once() -> None:
    server = agreed()
    first = intents(server)
    assert intents(server) is first
    seen = []
    while server.state is SessionState.RUNNING:
        rows, receiver = intents(server)
        seen.append((rows.block, rows.layer, rows.quadratures, receiver))
        server.returned(light(server))
    assert [entry[:2] for entry in seen] == [(0, 0), (0, 1), (1, 0), (1, 1), (2, 0), (2, 1)]
    assert seen[0][2] is seen[2][2] is seen[4][2]
    assert server.next_intents() is None


def test_choices_are_keyed_fair_and_as_frequent_as_agreed() -> None:
    """Binomial counts of 12,000 quadratures and 40,000 rows: 5 sigma is a false alarm of 6e-7."""
    layer = toy_layer(200, 60, 0)
    network = ToyNetwork((layer,))
    frame = replace(toy_frame(network, 400, 1), plan=VerificationPlan(counting_fraction=0.3))
    server = Server(network, frame, ROOT)
    server.propose()
    server.receive(Acceptance(frame.digest))
    patterns, counted = [], []
    for block in range(400):
        pattern, rows = server._choices(0, block)
        patterns.append(pattern)
        counted.append(rows)
    quadratures, rows = np.array(patterns), np.array(counted[:200])
    assert abs(quadratures.mean() - 0.5) < 5 * 0.5 / np.sqrt(quadratures.size)
    assert abs(rows.mean() - 0.3) < 5 * np.sqrt(0.21 / rows.size)
    assert len({pattern.tobytes() for pattern in patterns}) == 400
    assert len({row.tobytes() for row in counted}) == 400
    np.testing.assert_array_equal(intents(server)[1].pattern, patterns[0])
    np.testing.assert_array_equal(intents(server)[1].counted, counted[0])
    other = Server(network, frame, Roots.from_seed(2).server)
    assert (other._choices(0, 0)[0] != patterns[0]).any()


def test_calls_before_agreement() -> None:
    server = new()
    refuses(server, server.next_intents, "next_intents is not allowed in state new")
    refuses(server, lambda: server.receive(Acceptance(FRAME.digest)), "an acceptance is not allowed in state new")
    refuses(server, lambda: server.receive(Refusal("no")), "refuse is not allowed in state new")
    refuses(server, lambda: server.receive(LayerDone(0, 0)), "layer-done is not allowed in state new")
    returned = light(agreed())
    assert server.propose() == Proposal(FRAME)
    refuses(server, server.propose, "propose is not allowed in state proposed")
    refuses(server, server.next_intents, "next_intents is not allowed in state proposed")
    refuses(server, lambda: server.returned(returned), "returned is not allowed in state proposed")


def test_refusal_by_the_client() -> None:
    server = new()
    server.propose()
    assert server.receive(Refusal("too many rows")) == ()
    assert server.state is SessionState.REFUSED
    assert server.ending == "too many rows"
    assert server.next_intents() is None
    refuses(server, lambda: server.receive(Acceptance(FRAME.digest)), "not allowed in state refused")


@pytest.mark.parametrize(
    "message",
    [
        Acceptance(FRAME.digest),
        Acceptance("0" * 64),
        Refusal("late"),
        Proposal(FRAME),
        VerdictNotice(VerdictKind.ACCEPT, Reason.ACCEPTED),
        LayerDone(1, 0),
        LayerDone(0, 1),
        LayerDone(9, 9),
    ],
)
def test_messages_that_do_not_belong_while_light_flows(message: Any) -> None:
    server = agreed()
    intents(server)
    refuses(server, lambda: server.receive(message), "server: ")


@pytest.mark.parametrize("wrong", [None, "abort", {"type": "abort"}, 3])
def test_what_is_no_message_or_no_light(wrong: Any) -> None:
    server = agreed()
    with pytest.raises(TypeError):
        server.receive(wrong)
    intents(server)
    with pytest.raises(TypeError):
        server.returned(wrong)


def test_the_client_reports_layers_in_order_and_never_ahead_of_the_light() -> None:
    server = agreed()
    refuses(server, lambda: server.receive(LayerDone(0, 0)), "not allowed in state agreed")
    intents(server)
    server.receive(LayerDone(0, 0))
    refuses(server, lambda: server.receive(LayerDone(0, 0)), "cannot be done now")
    refuses(server, lambda: server.receive(LayerDone(1, 0)), "cannot be done now")
    server.returned(light(server))
    refuses(server, lambda: server.receive(LayerDone(1, 0)), "cannot be done now")
    while server.state is SessionState.RUNNING:
        server.returned(light(server))
    # Late reports are fine, in order.
    for layer, block in ((1, 0), (0, 1), (1, 1), (0, 2), (1, 2)):
        server.receive(LayerDone(layer, block))
    refuses(server, lambda: server.receive(LayerDone(1, 2)), "cannot be done now")


def test_light_that_is_not_expected() -> None:
    server = agreed()
    first = light(server)
    for layer, block in ((1, 0), (0, 1)):
        refuses(server, partial(server.returned, Returned(layer, block, first.statistics)), "not expected")
    server.returned(first)
    refuses(server, lambda: server.returned(first), "not expected")
    refuses(server, lambda: server.returned(Returned(1, 0, first.statistics)), "not expected")


def _all_rows(statistics: RowStatistics) -> tuple[int, int]:
    """One homodyned and one counted row."""
    return int(np.flatnonzero(~statistics.counted)[0]), int(np.flatnonzero(statistics.counted)[0])


def test_statistics_that_cannot_be() -> None:
    server = agreed()
    good = light(server)
    s = good.statistics
    homodyned, counted = _all_rows(s)

    def with_entry(name: str, row: int, value: float) -> Returned:
        array = getattr(s, name).copy()
        array[row] = value
        return changed(good, **{name: array})

    columns = {name: getattr(s, name) for name in s.__dataclass_fields__}
    few = {name: column[:-1] for name, column in columns.items() if isinstance(column, np.ndarray)}
    cases = [
        (changed(good, counted=~s.counted), "counted rows are not those"),
        (changed(good, counted=s.counted.astype(np.int64)), "counted rows are not those"),
        (changed(good, **few), "counted rows are not those"),
        (changed(good, images=3), "3 images, expected 2"),
        (changed(good, photons=s.photons.astype(np.float64)), "photons is no whole number"),
        (changed(good, sum_qr=s.sum_qr.astype(np.complex128)), "sum_qr is not finite"),
        (with_entry("residuals", homodyned, 5), "residuals or slots"),
        (with_entry("residuals", counted, 6), "residuals or slots"),
        (with_entry("slots", counted, 0), "residuals or slots"),
        (with_entry("slots", homodyned, 6), "residuals or slots"),
        (with_entry("photons", counted, -1), "photons are counted"),
        (with_entry("photons", counted, 10**18), "photons are counted"),
        (with_entry("photons", homodyned, 1), "photons are counted"),
        (with_entry("sum_qr", counted, 1.0), "a counted row has no residuals"),
        (with_entry("sum_rr", counted, 1.0), "a counted row has no residuals"),
        (with_entry("sum_qq", homodyned, s.sum_qq[homodyned] * 1.01), "sum_qq is not that"),
        (with_entry("sum_qq", counted, 1.0), "sum_qq is not that"),
        (with_entry("expected_photons_signal", counted, 0.0), "expected_photons_signal is not that"),
        (with_entry("expected_photons_signal", homodyned, 1.0), "expected_photons_signal is not that"),
        (with_entry("sum_rr", homodyned, -1.0), "Cauchy-Schwarz"),
        (with_entry("sum_qr", homodyned, 1e6), "Cauchy-Schwarz"),
        (with_entry("sum_jr", homodyned, 1e6), "Cauchy-Schwarz"),
        (with_entry("sum_jr", counted, 1.0), "a counted row has no residuals"),
        (with_entry("sum_jj", homodyned, 1.0), "sum_jj is not that of the rows that were sent"),
        (with_entry("sum_rr", homodyned, 1e31), "beyond any receiver"),
        (changed(good, vacuum_slots=2, vacuum_squares=2.0), "2 vacuum slots are not those that were asked for"),
        (changed(good, vacuum_squares=2.0), "sum of squares is not possible"),
    ]
    for name in ("sum_qq", "sum_qr", "sum_rr", "sum_jj", "sum_jr", "expected_photons_signal"):
        for value in (np.nan, np.inf, -np.inf):
            cases.append((with_entry(name, homodyned, value), "not finite"))
    for returned, words in cases:
        refuses(server, partial(server.returned, returned), words)
    assert server.returned(good) == ()


def test_sums_over_uses_and_residuals_that_cannot_be() -> None:
    server = agreed()
    good = light(server)
    s, uses, sample = good.statistics, good.use_sums, good.sample
    assert uses is not None
    assert sample is not None
    homodyned, counted = _all_rows(s)

    def with_uses(**changes: Any) -> Returned:
        return replace(good, use_sums=replace(uses, **changes))

    def with_use(row: int, value: float) -> Returned:
        sums = uses.sums.copy()
        sums[row, 0] = value
        return with_uses(sums=sums)

    def with_sample(**changes: Any) -> Returned:
        return replace(good, sample=replace(sample, **changes))

    def with_residual(value: float) -> Returned:
        residuals = sample.residuals.copy()
        residuals[0, 0, 0] = value
        return with_sample(residuals=residuals)

    other = 1 - sample.images
    for returned, words in [
        (replace(good, use_sums=None), "sums over uses are there and were not asked for, or"),
        (replace(good, sample=None), "single residuals are there and were not asked for, or"),
        (with_uses(sums=uses.sums[:-1]), "not those of 2 uses of 8 x 3 weights"),
        (with_uses(sums=uses.sums.astype(np.int64)), "not those of 2 uses"),
        (with_uses(images=3), "not those of 2 uses"),
        (with_use(homodyned, math.nan), "not finite"),
        (with_use(homodyned, math.inf), "not finite"),
        (with_use(counted, 1.0), "a counted row has no sums over uses"),
        (with_use(homodyned, 1e6), "do not fit"),
        (with_use(homodyned, -uses.sums[homodyned, 0]), "sum_qr is not that of the sums over uses"),
        (with_sample(images=other), "not those of the vectors and rows that were chosen"),
        (with_sample(rows=sample.rows[::-1]), "not those of the vectors and rows that were chosen"),
        (with_sample(residuals=sample.residuals[..., :-1]), "single residuals are float32 of shape"),
        (with_sample(residuals=sample.residuals.astype(np.int64)), "single residuals are int64 of shape"),
        (with_residual(math.nan), "not finite"),
        (with_residual(1e3), "more squares than all residuals together"),
    ]:
        refuses(server, partial(server.returned, returned), words)
    assert server.returned(good) == ()


def test_a_plan_without_sums_over_uses_and_residuals_wants_none() -> None:
    bare = replace(FRAME, plan=replace(FRAME.plan, cross_use=False, residual_share=0.0))
    server, asking = agreed(frame=bare), agreed()
    good, more = light(server), light(asking)
    assert (good.use_sums, good.sample) == (None, None)
    refuses(server, lambda: server.returned(replace(good, use_sums=more.use_sums)), "not asked for")
    refuses(server, lambda: server.returned(replace(good, sample=more.sample)), "not asked for")
    assert server.returned(good) == ()


def test_vectors_whose_residuals_are_kept_are_few_fair_and_different_in_every_block() -> None:
    """Of 400 blocks of 10 vectors, 3 are kept each: every place 120 times, within 5 standard deviations."""
    frame = replace(toy_frame(NETWORK, 4000, 10), plan=VerificationPlan(counting_fraction=0.3, residual_share=0.3))
    server = Server(NETWORK, frame, Roots.from_seed(5).server)
    chosen = np.array([server._setting(0, block).sampled for block in range(400)])
    assert chosen.shape == (400, 3)
    assert np.all(np.diff(chosen) > 0)
    counts = np.bincount(chosen.ravel(), minlength=10)
    assert np.all(np.abs(counts - 120) < 5 * math.sqrt(400 * 0.3 * 0.7))
    assert len(np.unique(chosen, axis=0)) > 50
    assert not np.array_equal(chosen[:9], [server._setting(1, block).sampled for block in range(9)])


def test_receivers_that_were_left_off_are_no_evidence_and_certify_nothing() -> None:
    server = agreed()
    while state_of(server) is not SessionState.DONE:
        rows, _ = intents(server)
        real, whole = np.zeros(len(rows.quadratures)), np.zeros(len(rows.quadratures), dtype=np.int64)
        off = RowStatistics(
            whole.astype(np.bool_), real, real, real, real, real, whole, whole, whole, real, rows.images
        )
        server.returned(Returned(rows.layer, rows.block, off))
    assert server.verdict().kind is VerdictKind.UNDECIDED
    assert server.verdict().reason is Reason.SAMPLES


def test_light_that_only_a_cheat_returns_is_a_verdict_and_no_error() -> None:
    server = agreed()
    good = light(server)
    bright = good.statistics.sum_rr * 1e28
    (notice,) = server.returned(changed(good, sum_rr=bright))
    assert notice == VerdictNotice(VerdictKind.ABORT, Reason.INCONSISTENT)
    server = agreed()
    (notice,) = server.returned(changed(light(server), photons=good.statistics.slots * 10**13))
    assert server.aborted


@pytest.mark.parametrize("layers", [0, 1, 4])
def test_abort_by_the_client_at_any_time(layers: int) -> None:
    server = agreed()
    for _ in range(layers):
        server.returned(light(server))
    before = server.inputs_digest()
    verdict = server.verdict()
    assert server.receive(Abort("the client stopped")) == ()
    assert server.aborted
    assert server.ending == "the client stopped"
    assert server.inputs_digest() == before
    assert server.verdict() == verdict
    assert server.next_intents() is None
    server.receive(Abort("again"))
    assert server.ending == "the client stopped"


def test_abort_by_the_server() -> None:
    server = agreed()
    assert server.abort("") == (Abort("no reason given"),)
    assert server.abort("again") == ()
    assert server.aborted
    assert "aborted" in repr(server)


def records(noise: float = 0.0, steps: int | None = None) -> list[tuple[int, int, ReturnedLight]]:
    server, client = parties(NETWORK, FRAME, toy_data(5, 5), seed=1)
    agree(server, client)
    return drive(server, client, ToyLink(FRAME, noise=noise), steps).records


def test_records_that_cannot_be_restored() -> None:
    good = records()
    server = agreed()
    refuses(server, lambda: server.restore([*good, good[0]]), "repeated")
    refuses(server, lambda: server.restore(good[:3]), "block 1 is incomplete")
    refuses(server, lambda: server.restore([(7, 0, good[0][2])]), "there is no layer 7 of block 0")
    refuses(server, lambda: server.restore([(0, 3, good[0][2])]), "there is no layer 0 of block 3")
    refuses(server, lambda: server.restore([(0, 1, good[0][2]), (1, 1, good[1][2])]), "layer 0, block 1")
    server.restore(good[:2])
    assert server.verifier.blocks == ((0, 0), (1, 0))
    refuses(server, lambda: server.restore(good[2:]), "restored before")
    intents(server)
    refuses(server, lambda: server.restore([]), "restore is not allowed in state running")


@pytest.mark.parametrize("steps", [1, 3, None])
def test_inconsistent_records_abort_again(steps: int | None) -> None:
    bad = records(noise=0.0)[: 0 if steps is None else steps - 1] + records(noise=1e3, steps=1)
    if steps == 3:
        bad = [*records()[:2], *_tampered(records()[2])]
    server = new()
    server.restore(bad)
    assert server.aborted
    assert server.evidence is not None
    assert server.verdict().kind is VerdictKind.ABORT
    assert server.ending == server.verdict().explanation


def _tampered(record: tuple[int, int, ReturnedLight]) -> list[tuple[int, int, ReturnedLight]]:
    layer, block, light = record
    louder = replace(light.statistics, sum_rr=light.statistics.sum_rr * 1e4)
    return [(layer, block, replace(light, statistics=louder))]


def test_a_whole_session_can_be_restored_for_its_verdict() -> None:
    good = records()
    server = agreed()
    server.restore(good)
    assert server.state is SessionState.DONE
    assert server.verdict().kind is VerdictKind.UNDECIDED
    assert server.inputs_digest() != agreed().inputs_digest()


def test_the_amplitude_to_subtract_is_that_of_fibre_and_detector() -> None:
    parts = (
        Component("fibre", Place.FORWARD, Owner.CHANNEL, transmissivity=0.5),
        Component("back", Place.RETURN, Owner.CHANNEL, transmissivity=0.9),
        Component("receiver", Place.SERVER_RECEIVER, Owner.SERVER, transmissivity=0.8),
        Component("counter", Place.SERVER_COUNTER, Owner.SERVER, transmissivity=0.3),
    )
    server = Server(NETWORK, toy_frame(NETWORK, 5, 2, ledger=Ledger("lossy", parts)), ROOT)
    server.propose()
    server.receive(Acceptance(server.digest))
    assert intents(server)[1].expected_amplitude == pytest.approx(0.6, rel=1e-12)  # sqrt(0.5 * 0.9 * 0.8)


def test_the_digest_of_the_inputs_sees_every_row() -> None:
    def after(swap: bool) -> str:
        server = agreed()
        good = light(server)
        home = np.flatnonzero(~good.statistics.counted)[:2]
        squares = good.statistics.sum_rr.copy()
        squares[home] = (1e3, 2e3) if not swap else (2e3, 1e3)
        server.returned(changed(good, sum_rr=squares))
        return server.inputs_digest()

    # The sums over rows are the same, the records are not.
    assert after(False) == after(False)
    assert after(False) != after(True)


def test_a_client_finishes_no_block_of_the_server() -> None:
    server = agreed()
    intents(server)
    server.receive(LayerDone(0, 0))
    assert server.finished_blocks == frozenset()
