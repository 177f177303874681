"""The page of the reproduction in Markdown; every figure on it comes from `labqdl.api.reproduction`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from labqdl.api.reproduction import ALL_ROWS, MODELS, N_MODES, ROWS, Reproduction

COMMAND = "labqdl reproduce --page docs/reproduction.md --figures docs/_static/reproduction"


def markdown(found: Reproduction, figures: Sequence[tuple[str, str]] = ()) -> str:
    """The whole page; `figures` are pairs of a file's name, as the page shall refer to it, and a caption."""
    parts = [_opening(found), _gains(found), _headline(found)]
    if found.accuracy:
        parts.append(_accuracy(found))
    parts += [_mistakes(found), _pictures(figures)]
    return "\n\n".join(part for part in parts if part) + "\n"


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
    lines += ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join(lines)


def _opening(found: Reproduction) -> str:
    return f"""# The paper's figures beside ours

Made by `{COMMAND}`: nothing on this page is typed in. It repeats what the protocol's authors published
(K. Sulimany *et al.*, Phys. Rev. X **15**, 041056 (2025), arXiv:2408.05629, and their public code of 2024 and 2025)
with their own formulas, errors included, and puts the exact numbers beside them. Derivations are on the page
[Physics](physics.md); what is proven and under which assumptions is on the page [Threat model](threat-model.md).

All tables: {N_MODES} complex modes a row, {ROWS} rows in the first layer and {ALL_ROWS} in both, a quantum-limited
amplifier with a balanced tap, no loss, one use, weights of equal variance, parameters taken as known (asymptotic, no
calibration enters). mu counts photons per mode at the server's output."""


def _gains(found: Reproduction) -> str:
    rows = [
        (
            f"{row.gain:g}",
            f"{row.client_noise:.6f}",
            f"{row.added_noise:.6f}",
            f"{row.excess:.4e}",
            f"{row.f2:.4f}",
            f"{row.weights_per_mode:.6f}",
            f"{row.weights_per_weight:.6f}",
            f"{row.data_2024:.6f}",
            f"{row.data_2024_mended:.6f}",
            f"{row.data_2025:.6f}",
            f"**{row.data_exact:.6f}**",
            f"{row.overlap:.4f}",
        )
        for row in found.gains
    ]
    header = (
        "G",
        "DX² (SNU)",
        "eta (SNU)",
        "eps (SNU)",
        "F²",
        "weights, bit per mode",
        "bit per weight",
        "data 2024",
        "2024, power mended",
        "data 2025",
        "data, exact",
        "best overlap",
    )
    return (
        "## Leakage over the gain\n\nAt mu = 4. The authors' figures for the weights agree with the exact Holevo bound "
        'of this setting; their abstract\'s\n"bit per weight symbol" is the one per complex mode. Their figures for '
        "the data (bit per real symbol of x) do not bound\nwhat a server with a photon counter learns; the exact one "
        "does, for every measurement and every prior. *Best overlap* is\nthe largest mean squared overlap of the "
        "server's guess with the data vector.\n\n" + table(header, rows)
    )


def _headline(found: Reproduction) -> str:
    rows = [
        (
            row.name,
            f"{row.mu:g}",
            f"{row.gain:g}",
            f"{row.f2_db:.2f}",
            f"{100 * row.pipeline:.2f} %",
            f"{100 * row.curve_half:.1f} %",
            f"**{100 * row.curve:.1f} %**",
            f"{row.weights_per_weight:.4f}",
            f"{row.data_2025:.4f}",
            f"**{row.data_exact:.4f}**",
        )
        for row in found.headline
    ]
    header = (
        "point",
        "mu",
        "G",
        "F² (dB)",
        "their pipeline",
        "their curve at mu/DX²",
        "their curve at 2mu/DX²",
        "bit per weight",
        "data 2025",
        "data, exact",
    )
    return (
        "## Accuracy that follows for their own network\n\nThe errors in signal-to-noise ratio and fit partly cancel: "
        "the claim of more than 96 % survives and is conservative.\nThe claim about the data does not.\n\n"
        + table(header, rows)
    )


def _accuracy(found: Reproduction) -> str:
    rows = []
    for row in found.accuracy:
        cells = [f"{row.f2_db:g}", f"{100 * row.authors:.1f} %"]
        for name in MODELS:
            mean, low, high = row.ours[name]
            cells.append(f"{100 * mean:.2f} % ({100 * low:.2f} to {100 * high:.2f})")
        rows.append(cells)
    return (
        "## Accuracy against F²\n\nThe authors' curve was taken on 10,000 validation digits with one draw of the noise "
        f"a point; ours on the first {found.images:,}\ntest digits, mean of {found.draws} draws, in brackets the 95 % "
        "interval over the images (Clopper and Pearson). `mnist-plain` was\ntrained without noise, as theirs was, "
        "`mnist-robust` for it.\n\n" + table(("F² (dB)", "authors", *(f"`{name}`" for name in MODELS)), rows)
    )


def _mistakes(found: Reproduction) -> str:
    rows = [
        (
            each.name,
            each.where,
            each.what,
            "" if each.published is None else f"{each.published:.6g}",
            "" if each.corrected is None else f"{each.corrected:.6g}",
            each.unit,
            each.effect,
        )
        for each in found.mistakes
    ]
    return (
        "## Errors in the public code, and what they change\n\nAt mu = 4, G = 2 unless the row says otherwise.\n\n"
        + table(("#", "where", "what is wrong", "as published", "corrected", "unit", "effect"), rows)
    )


def _pictures(figures: Sequence[tuple[str, str]]) -> str:
    return "\n\n".join(f"```{{figure}} {file}\n:width: 100%\n\n{caption}\n```" for file, caption in figures)
