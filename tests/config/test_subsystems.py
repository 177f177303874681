"""Subsystems and the frame of a station file: what fills a role, and every mistake with its line."""

from __future__ import annotations

import pytest

from labqdl.config.document import parse
from labqdl.config.station import StationFile, read_station_file
from labqdl.config.subsystems import Filling
from labqdl.errors import InputError
from labqdl.facts.ledger import Owner

HEAD = '[station]\nname = "table"\n' + "".join(
    f'[instruments.{name}]\ndriver = "a"\nresource = "R{name}"\n'
    for name in ("laser", "awg", "awg_c", "dig", "gate", "lock")
)
PARTS = '[components.iq]\nkind = "other"\n[components.tree]\nkind = "other"\n[components.back]\nkind = "other"\n'
SENDER = (
    '[subsystems.sender]\nkind = "transmitter"\nowner = "server"\nlaser = "laser"\ni = "awg.output 1"\n'
    'q = "awg.channel 2"\nmodulator = "iq"\namplitude = "0.5 V"\n'
)
RECEIVER = (
    '[subsystems.receiver]\nkind = "homodyne-receiver"\nowner = "client"\nx = "dig.input 1"\ngate = "gate"\n'
    'lock = "lock"\nrange = "400 mV"\n'
)
TREE = (
    '[subsystems.tree]\nkind = "time-bin-interferometer"\nowner = "client"\nforward = "tree"\ninverse = "back"\n'
    'stages = ["awg_c.output 1", "awg_c.output 2"]\nphase = "awg_c.output 3"\n'
    'inverse_stages = ["awg_c.output 4", "awg_c.output 5"]\ninverse_phase = "awg_c.output 6"\n'
)


def read(text: str) -> StationFile:
    return read_station_file(parse((HEAD + PARTS + text).encode(), source="s.toml"))


def test_roles_are_filled() -> None:
    station = read(SENDER + RECEIVER + TREE + '[frame]\nn_modes = 4\nbin_rate = "6.25 MHz"\npilot_every = 8\n')
    sender = station.subsystems["sender"]
    assert (sender.kind, sender.owner, sender.settings["amplitude"]) == ("transmitter", Owner.SERVER, 0.5)
    assert sender.roles["i"] == Filling("awg", 1)
    assert sender.roles["q"] == Filling("awg", 2)
    assert sender.roles["laser"] == Filling("laser")
    assert "gate" not in sender.roles
    assert sender.settings["marker"] == 1
    assert station.subsystems["receiver"].settings["range"] == pytest.approx(0.4)
    assert station.subsystems["tree"].roles["stages"] == (Filling("awg_c", 1), Filling("awg_c", 2))
    assert str(sender.roles["i"]) == "awg.channel 1"
    assert station.frame is not None
    layout = station.frame.layout(3, 5)
    assert (layout.n_modes, layout.images, layout.rows, layout.pilot_every) == (4, 3, 5, 8)


def test_without_the_tables_there_are_none() -> None:
    station = read("")
    assert station.subsystems == {}
    assert station.frame is None


@pytest.mark.parametrize(
    ("text", "key", "words"),
    [
        (SENDER.replace('"transmitter"', '"transmiter"'), "kind", "Did you mean 'transmitter'?"),
        (SENDER.replace('"server"', '"client"'), "owner", "no transmitter is the client's"),
        (SENDER + 'stages = ["awg.output 1"]\n', "stages", "a transmitter has no key 'stages'"),
        (SENDER.replace('laser = "laser"', 'laser = "lasr"'), "laser", "Did you mean 'laser'?"),
        (SENDER.replace('"awg.output 1"', '"awg"'), "i", "is not a channel of an instrument"),
        (SENDER.replace('laser = "laser"', 'laser = "laser.output 1"'), "laser", "is not an instrument"),
        (SENDER.replace('"iq"', '"laser"'), "modulator", "there is no component 'laser'"),
        (SENDER.replace('modulator = "iq"\n', ""), "sender", "has no modulator"),
        (SENDER.replace("amplitude", "amplitud"), "amplitud", "Did you mean 'amplitude'?"),
        (SENDER.replace("0.5 V", "0.5 A"), "amplitude", "a voltage"),
        (TREE.replace('"awg_c.output 2"', '"awg_c.output x"'), "stages", "is not a channel"),
        (SENDER + RECEIVER.replace("dig.input 1", "awg.input 1"), "receiver", "is the server's already"),
        ('[frame]\nn_modes = 4\nbin_rate = "6 s"\n', "bin_rate", "a frequency"),
        ('[frame]\nbin_rate = "6 MHz"\n', "n_modes", "is missing"),
    ],
    ids=lambda value: value if isinstance(value, str) and len(value) < 12 else "",
)
def test_mistakes(text: str, key: str, words: str) -> None:
    with pytest.raises(InputError) as caught:
        read(text)
    assert caught.value.key is not None
    assert key in caught.value.key
    assert words in str(caught.value)
    assert caught.value.line is not None


def test_all_mistakes_are_found_at_once() -> None:
    problems: list[InputError] = []
    text = HEAD + PARTS + SENDER.replace('"iq"', '"nothing"').replace('"laser"', '"lazer"')
    read_station_file(parse(text.encode(), source="s.toml"), problems=problems)
    assert len(problems) == 2
