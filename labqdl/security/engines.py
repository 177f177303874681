"""Engines: who says how much leaks, each with the assumptions that its figure rests on.

`labqdl` evaluates the exact Holevo bounds on the ledger. `prx-2025` and `arxiv-2024` repeat the formulas of the
protocol's authors (Sulimany et al., PRX 15, 041056; arXiv:2408.05629), as their public code has them, errors
included, so that published figures can be reproduced and compared; they are not bounds where this module says so.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from labqdl.facts import Bound, LayerFrame, Ledger, Quantity, TapKind, TapSetting
from labqdl.optics.gain_tap import tap_law
from labqdl.security.channel import client_input, client_output, data_photons, honest_channel, trusted_parts
from labqdl.security.data import best_overlap, data_leakage
from labqdl.security.holevo import weight_leakage
from labqdl.security.spectrum import Spectrum

ENGINES = ("labqdl", "prx-2025", "arxiv-2024")
"""Names of the engines, ours first."""

ANISOTROPIC = "labqdl-anisotropic"
"""Engine of `anisotropic_bound`, which needs the weights."""


def asymptotic_bounds(
    layers: Sequence[LayerFrame],
    setting: TapSetting,
    ledger: Ledger,
    *,
    weight_uses: int = 1,
    data_uses: int = 1,
    cross_use_tested: bool = False,
) -> tuple[Bound, ...]:
    """Every engine's figures at this operating point, parameters taken as known exactly.

    For each engine that can speak: weights and data of one use; for `labqdl` also the sums over `weight_uses` uses of
    the same weights and `data_uses` uses of the same data vector where these exceed 1.

    Raises
    ------
    ValueError
        Without layers, or for uses below 1.
    """
    _check(layers, weight_uses, data_uses)
    bounds: list[Bound] = []
    for engine in ENGINES:
        weights = weights_bound(engine, layers, setting, ledger)
        data = data_bound(engine, layers, setting, ledger)
        bounds.extend(bound for bound in (weights, data) if bound is not None)
        if weight_uses > 1:
            weights = weights_bound(
                engine, layers, setting, ledger, uses=weight_uses, cross_use_tested=cross_use_tested
            )
            bounds.extend([] if weights is None else [weights])
        if data_uses > 1:
            data = data_bound(engine, layers, setting, ledger, uses=data_uses)
            bounds.extend([] if data is None else [data])
    return tuple(bounds)


def weights_bound(
    engine: str,
    layers: Sequence[LayerFrame],
    setting: TapSetting,
    ledger: Ledger,
    *,
    uses: int = 1,
    cross_use_tested: bool = False,
) -> Bound | None:
    """One engine's figure for the weights, the largest over the layers; None where the engine has no formula.

    Raises
    ------
    ValueError
        For an unknown engine, no layers or uses below 1.
    """
    _check(layers, uses)
    if engine == "labqdl":
        per_layer = [
            honest_channel(mu=layer.mu, n_modes=layer.least_modes, setting=setting, ledger=ledger).leakage(
                uses, cross_use_tested=cross_use_tested
            )
            for layer in layers
        ]
        assumptions = _weight_assumptions(layers, per_layer, ledger, uses, cross_use_tested)
    elif _published(engine, setting, uses):
        added = published_added_noise(setting.amplifier_gain)
        per_layer = [
            weight_leakage(mu=layer.mu, transmissivity=1.0, excess=added / layer.least_modes) for layer in layers
        ]
        assumptions = _published_weight_assumptions(engine, layers, per_layer, setting)
    else:
        return None
    bits = max(per_layer)
    return Bound(Quantity.WEIGHTS, engine, bits / 2.0, bits, uses, None, 0, assumptions, ledger.calibrations)


def anisotropic_bound(
    layers: Sequence[LayerFrame],
    spectra: Sequence[Spectrum],
    setting: TapSetting,
    ledger: Ledger,
    *,
    uses: int = 1,
    cross_use_tested: bool = False,
) -> Bound:
    """The exact bound on the weights of a network whose directions are not equally bright, largest over the layers.

    A client that knows which directions the weights prefer can put its noise there: water-filling over what is
    assumed about the weights (docs/physics.md, "Unequal weights"), at the honest path's transmissivity and noise.

    Parameters
    ----------
    spectra:
        One a layer (`security.spectrum.layer_spectrum`).
    uses, cross_use_tested:
        As for `weights_bound`.
    """
    _check(layers, uses)
    if len(spectra) != len(layers):
        raise ValueError(f"{len(spectra)} spectra for {len(layers)} layers")
    per_layer = []
    for layer, spectrum in zip(layers, spectra, strict=True):
        charged = honest_channel(mu=layer.mu, n_modes=layer.least_modes, setting=setting, ledger=ledger)
        noise = charged.excess if cross_use_tested else uses * charged.excess
        per_layer.append(spectrum.leakage(mu=uses * charged.mu, transmissivity=charged.transmissivity, excess=noise))
    bits = max(per_layer)
    words = (
        "collective Gaussian attack at the honest path's transmissivity and noise, both taken as known",
        *directions_in_words(spectra),
        *_tiles(layers),
        *_repetition(uses, cross_use_tested),
        *_which(layers, per_layer),
    )
    return Bound(Quantity.WEIGHTS, ANISOTROPIC, bits / 2.0, bits, uses, None, 0, words, ledger.calibrations)


def directions_in_words(spectra: Sequence[Spectrum | None]) -> tuple[str, ...]:
    """What is assumed about the directions of the layers' weights; None for a layer taken as isotropic."""
    words = ["loss spread evenly over the directions; weights independent between rows"]
    if any(spectrum is not None and spectrum.known for spectrum in spectra):
        words.append(
            "noise steered to the weights' preferred directions, whose spectrum is that of the layer's own rows"
        )
    few = [str(index + 1) for index, spectrum in enumerate(spectra) if spectrum is not None and not spectrum.known]
    if few:
        words.append(f"layer {' and '.join(few)}: too few rows to tell a spectrum, so the worst of all spectra")
    equal = [str(index + 1) for index, spectrum in enumerate(spectra) if spectrum is None]
    if equal:
        words.append(f"layer {' and '.join(equal)}: weights of equal variance in all directions")
    return tuple(words)


def data_bound(
    engine: str,
    layers: Sequence[LayerFrame],
    setting: TapSetting,
    ledger: Ledger,
    *,
    uses: int = 1,
) -> Bound | None:
    """One engine's figure for the data, bits per feature of the first layer; None where it has no formula.

    Raises
    ------
    ValueError
        For an unknown engine, no layers or uses below 1.
    """
    _check(layers, uses)
    first = layers[0]
    rows = sum(layer.rows for layer in layers)
    overlap = None
    if engine == "labqdl":
        bits = network_data_leakage(layers, setting, ledger, uses=uses) / first.n_features
        overlap = layer_best_overlap(first, setting, ledger, uses=uses)
        assumptions = _data_assumptions(layers, setting, ledger, uses)
    elif not _published(engine, setting, uses):
        return None
    elif engine == "prx-2025":
        bits = prx_2025_data(setting.amplifier_gain, n_modes=first.tile_modes, rows=rows)
        assumptions = (
            "homodyne Cramér-Rao figure of one parameter: not a bound on a server with better detectors",
            f"all {rows} rows counted as if they probed the first layer's data",
            *_ignored(setting),
        )
    else:
        bits = arxiv_2024_data(setting.amplifier_gain, n_modes=first.tile_modes)
        assumptions = (
            "published formula of 2024: marginal variance of each mode, fourth power of the variance, as many"
            " measurements as modes whatever the number of rows: not a bound",
            *_ignored(setting),
        )
    return Bound(Quantity.DATA, engine, bits, None, uses, None, 0, assumptions, ledger.calibrations, overlap)


def network_data_leakage(layers: Sequence[LayerFrame], setting: TapSetting, ledger: Ledger, *, uses: int = 1) -> float:
    """Exact bound on a data vector after `uses` uses, all layers together, bits in total.

    The first layer returns copies of the same direction at every use. Hidden vectors carry the client's own noise and
    differ from use to use, so that what they tell is added.
    """
    first, *later = layers
    hidden = math.fsum(layer_data_leakage(layer, setting, ledger) for layer in later)
    return layer_data_leakage(first, setting, ledger, uses=uses) + uses * hidden


def layer_best_overlap(layer: LayerFrame, setting: TapSetting, ledger: Ledger, *, uses: int = 1) -> float | None:
    """Largest mean squared overlap of any guess with one layer's data vector, from its own rows (security.data).

    None at a net gain off 1, where displaced light is no number of copies. With tiles: of a server that knows their
    norms and the phases between them.
    """
    law = tap_law(setting, ledger)
    if abs(law.net_gain - 1.0) > 1e-12:
        return None
    return best_overlap(photons_per_row=data_photons(law, ledger), rows=layer.rows * uses, n_modes=layer.least_modes)


def layer_data_leakage(layer: LayerFrame, setting: TapSetting, ledger: Ledger, *, uses: int = 1) -> float:
    """Exact Holevo bound on the data vector of one layer after `uses` uses, bits in total (security.data).

    Every tile of the vector is probed by all rows, and the sum is over tiles; their norms stay with the client.
    """
    law = tap_law(setting, ledger)
    stray = abs(law.net_gain - 1.0) ** 2 * layer.mu * client_input(ledger) * client_output(ledger)
    return layer.tiles * data_leakage(
        photons_per_row=data_photons(law, ledger),
        rows=layer.rows * uses,
        n_modes=layer.tile_modes,
        gain_mismatch_photons=stray,
    )


def published_added_noise(gain: float) -> float:
    """eta = 2 (G-1)/G of a quantum-limited amplifier behind which a tap of 1/G restores unit gain, SNU."""
    return 2.0 * (gain - 1.0) / gain


def arxiv_2024_data(gain: float, *, n_modes: int, power: int = 4) -> float:
    """Data leakage of the authors' first public code, bits per real symbol; kept with its errors.

    1/2 log2[1 + 4 (eta^2/n) / (1 + eta/n)^4]. The Fisher information about u of a Gaussian of variance s = 1 + eta u^2
    is F = (ds/du)^2/(2 s^2) = 2 eta^2 u^2/s^2; the code divides by s^4 instead (`power` 2 is the corrected form),
    doubles F as "quantum", takes n measurements whatever the number of rows, and evaluates 1/2 log2(1 + 2 n F/n)
    at u^2 = 1/n.
    """
    added = published_added_noise(gain)
    return 0.5 * math.log1p(4.0 * added**2 / n_modes / (1.0 + added / n_modes) ** power) / math.log(2.0)


def prx_2025_data(gain: float, *, n_modes: int, rows: int) -> float:
    """Data leakage of the authors' later public code: 1/2 log2(1 + (M/n) 4 (G-1)^2/(G (3G-2))), bits per symbol.

    4 (G-1)^2/(G (3G-2)) = eta^2/(1+eta): the Fisher information of homodyning all modes for one real parameter.
    """
    information = 4.0 * (gain - 1.0) ** 2 / (gain * (3.0 * gain - 2.0))
    return 0.5 * math.log1p(rows / n_modes * information) / math.log(2.0)


def _check(layers: Sequence[LayerFrame], *uses: int) -> None:
    if not layers:
        raise ValueError("a bound needs at least one layer")
    if min(uses) < 1:
        raise ValueError(f"uses must be at least 1, got {min(uses)!r}")


def _published(engine: str, setting: TapSetting, uses: int) -> bool:
    """Whether one of the authors' engines has a formula: amplifier and tap, one use."""
    if engine not in ENGINES:
        raise ValueError(f"no engine called {engine!r}; there are {', '.join(ENGINES)}")
    return setting.kind is TapKind.AMPLIFIER and uses == 1


def _which(layers: Sequence[LayerFrame], per_layer: Sequence[float]) -> tuple[str, ...]:
    if len(layers) == 1:
        return ()
    worst = max(range(len(layers)), key=lambda index: per_layer[index])
    return (f"the largest of {len(layers)} layers' figures (layer {worst + 1})",)


def _ignored(setting: TapSetting) -> tuple[str, ...]:
    balanced = math.isclose(setting.amplifier_gain * setting.tap_transmissivity, 1.0, rel_tol=1e-9)
    build = (
        "quantum-limited amplifier" if balanced else "quantum-limited amplifier with a balanced tap (this one is not)"
    )
    return (f"{build}; loss, technical noise and detectors of the ledger ignored", "one use")


def _published_weight_assumptions(
    engine: str, layers: Sequence[LayerFrame], per_layer: Sequence[float], setting: TapSetting
) -> tuple[str, ...]:
    words: tuple[str, ...] = ()
    if engine == "arxiv-2024":
        words = ("the published figure per 'weight symbol' is the one per complex mode",)
    return (
        *words,
        "collective Gaussian attack on independent weights of equal variance; lossless link (T = 1)",
        *_ignored(setting),
        *_which(layers, per_layer),
    )


def _weight_assumptions(
    layers: Sequence[LayerFrame],
    per_layer: Sequence[float],
    ledger: Ledger,
    uses: int,
    cross_use_tested: bool,
) -> tuple[str, ...]:
    words = [
        "collective Gaussian attack at the honest path's transmissivity and noise, both taken as known",
        "weights independent and of equal variance, noise not steered to informative directions",
        "phase noise charged in full, whoever owns it",
    ]
    parts = trusted_parts(ledger)
    charged = (*parts.charged_forward, *parts.charged_back)
    if charged:
        words.append(f"charged to the client: {', '.join(component.name for component in charged)}")
    aside = [c.name for c in (*parts.forward, *parts.back) if c.transmissivity < 1 or c.excess or c.electronic_noise]
    if aside:
        words.append(f"set aside as trusted: {', '.join(aside)}")
    words += [*_tiles(layers), *_repetition(uses, cross_use_tested)]
    return (*words, *_which(layers, per_layer))


def _tiles(layers: Sequence[LayerFrame]) -> tuple[str, ...]:
    """What it means that rows are cut into tiles."""
    cut = [layer.tiles for layer in layers if layer.tiles > 1]
    if not cut:
        return ()
    return (
        f"rows cut into tiles ({', '.join(map(str, cut))} a row): the tap's noise once a tile, and the client learns "
        "every partial sum",
    )


def _repetition(uses: int, cross_use_tested: bool) -> tuple[str, ...]:
    """What is assumed about many uses of the same weights."""
    if uses == 1:
        return ()
    where = (
        "its noise on their sum held to that of one use by the cross-use test"
        if cross_use_tested
        else "all its noise on their sum (no cross-use test)"
    )
    return (
        f"the client keeps {uses:,} uses of the same weights coherently, {where}",
        "what the function itself tells after many queries is not counted",
    )


def _data_assumptions(layers: Sequence[LayerFrame], setting: TapSetting, ledger: Ledger, uses: int) -> tuple[str, ...]:
    words = [
        "any prior and any measurement, by a server that sent coherent states and owns all beyond the client",
        "client's transmission independent of its data; no light outside of the amplifier's mode",
    ]
    if abs(tap_law(setting, ledger).net_gain - 1.0) > 1e-12:
        words.append("net gain off 1 discloses photons in proportion to the mean energy of isotropic weights")
    if len(layers) > 1:
        words.append(f"summed over {len(layers)} layers, hidden vectors charged to the data")
    if any(layer.tiles > 1 for layer in layers):
        words.append("summed over the tiles of each vector, whose norms stay with the client")
    if uses > 1:
        words.append(f"{uses:,} uses of the same data vector")
    return tuple(words)
