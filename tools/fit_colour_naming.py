"""Fit the naming model of ``loraeval.prompts.colour_naming`` to published counts of colour names.

    python tools/fit_colour_naming.py c3_data.json

The counts are the XKCD colour survey's (Munroe 2010; results in the public domain) in CIELAB bins
of 5 units, as Heer and Stone published them (Color Naming Models for Color Selection, Image
Editing and Palette Design, CHI 2012; the file ``data/xkcd/c3_data.json`` of their C3). Each of its
153 names counts for its head ("light blue" for blue, "blue green" for both by half) or for the
group of a further word. A multinomial logistic regression on the cubic polynomial of (L, a, b)
gives the share of namers for each group. Prints how far the fit is from the counts, and writes the
coefficients.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
from scipy.optimize import minimize

from loraeval.prompts.colour_naming import BASIC, GROUPS, features

OUT = Path(__file__).parent.parent / "src" / "loraeval" / "prompts" / "colour_naming.json"
NAMES = {
    "teal": "teal darkteal lightteal",
    "turquoise": "turquoise aqua aquamarine cyan robinseggblue darkturquoise lightturquoise",
    "lavender": "lavender lilac periwinkle",
    "violet": "violet indigo blueviolet plum mauve eggplant",
    "magenta": "magenta fuchsia darkmagenta",
    "maroon": "maroon burgundy wine brick rust",
    "tan": "tan beige khaki sand taupe cream",
    "olive": "olive mustard gold goldenrod ochre puke",
    "salmon": "salmon peach coral skin flesh",
    "lime": "lime chartreuse mint sage",
}


def weights_of(term: str) -> dict[str, float]:
    """Return the groups that a name of the survey counts for."""
    for group, names in NAMES.items():
        if term in names.split():
            return {group: 1.0}
    found = [basic for basic in BASIC if basic in term]
    found = [one for one in found if not any(one != two and one in two for two in found)]
    if found:
        return {one: 1 / len(found) for one in found}
    return {"other": 1.0}


def counts_of(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Return bin centres (n, 3) and the counts of each group (n, groups)."""
    data = json.loads(path.read_text(encoding="utf-8"))
    colours = np.array(data["color"], dtype=float).reshape(-1, 3)
    terms = data["terms"]
    pairs = np.array(data["T"], dtype=np.int64).reshape(-1, 2)
    mix = np.zeros((len(terms), len(GROUPS)))
    for row, term in enumerate(terms):
        for group, weight in weights_of(term).items():
            mix[row, GROUPS.index(group)] = weight
    table = np.zeros((len(colours), len(terms)))
    table.reshape(-1)[pairs[:, 0]] = pairs[:, 1]
    return colours, table @ mix


def fit(colours: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Return the coefficients (features, groups) that make the counts likeliest."""
    x = features(colours)
    total = np.minimum(counts.sum(axis=1), 200)  # no bin outweighs its neighbours
    share = counts / counts.sum(axis=1, keepdims=True)
    scale = total.sum()

    def loss(flat: np.ndarray) -> tuple[float, np.ndarray]:
        w = flat.reshape(x.shape[1], -1)
        z = x @ w
        z -= z.max(axis=1, keepdims=True)
        e = np.exp(z)
        p = e / e.sum(axis=1, keepdims=True)
        value = -(total[:, None] * share * np.log(p + 1e-12)).sum() / scale
        grad = x.T @ (total[:, None] * (p - share)) / scale
        return value + 1e-6 * (w**2).sum(), (grad + 2e-6 * w).reshape(-1)

    start = np.zeros(x.shape[1] * len(GROUPS))
    done = minimize(loss, start, jac=True, method="L-BFGS-B", options={"maxiter": 600})
    return np.asarray(done.x).reshape(x.shape[1], -1)


def main() -> int:
    """Fit, print and write; return 0."""
    colours, counts = counts_of(Path(sys.argv[1]))
    many = counts.sum(axis=1) >= 10
    colours, counts = colours[many], counts[many]
    w = fit(colours, counts)
    z = features(colours) @ w
    p = np.exp(z - z.max(axis=1, keepdims=True))
    p /= p.sum(axis=1, keepdims=True)
    share = counts / counts.sum(axis=1, keepdims=True)
    statistics = {}
    chroma = np.hypot(colours[:, 1], colours[:, 2])
    for at, group in enumerate(GROUPS):
        mass = counts[:, at] / counts[:, at].sum()
        light, strong = float(mass @ colours[:, 0]), float(mass @ chroma)
        spread = [
            float(np.sqrt(mass @ (colours[:, 0] - light) ** 2)),
            float(np.sqrt(mass @ (chroma - strong) ** 2)),
        ]
        statistics[group] = [round(v, 1) for v in (light, spread[0], strong, spread[1])]
        rare = share[:, at] < 0.05
        print(
            f"{group:<10} rms {np.sqrt(np.mean((p[:, at] - share[:, at]) ** 2)):.3f}"
            f"  under 5 % of namers: {rare.sum()} bins, model over 6 % in "
            f"{np.mean(p[rare, at] >= 0.06):.2%}, at most {p[rare, at].max():.2f};"
            f" most {share[:, at].max():.2f}"
        )
    table = {
        "source": "XKCD colour survey, counts by Heer and Stone (2012)",
        "namings": int(counts.sum()),
        "bins": len(colours),
        "statistics": statistics,
        "coefficients": [[round(float(v), 4) for v in row] for row in w],
    }
    OUT.write_text(json.dumps(table, separators=(",", ":")) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
