"""Hair, headwear, eyewear and jewellery of a portrait, each style one small drawing."""

from __future__ import annotations

import numpy as np

from loraeval.testing.portraits_shapes import Canvas, Drawer, Genes, face_size, sorted_x


def draw_hair_behind(c: Canvas, genes: Genes) -> None:
    """Draw the hair that falls behind head and shoulders' front."""
    style, a, b, side = genes.hair
    rx, ry = face_size(genes)
    if style == "bob":
        half = rx + 1 + 0.4 * a
        c.add("hair", c.box(12 - half, 7, 12 + half, 14.4 + b), -0.2)
    elif style == "long":
        c.add(
            "hair", c.box(12 - rx - 1.2 - 0.5 * a, 7, 12 + rx + 1.2 + 0.5 * a, 18.4 + 1.5 * b), -0.2
        )
    elif style == "afro":
        c.add("hair", c.ellipse(12, 8.6, rx + 2.6 + 0.6 * a, ry + 1.4 + 0.5 * b), -0.12)
    elif style == "curly":
        blobs = [
            c.ellipse(12 + (rx + 0.8) * s, 7.5 + 2.9 * k, 1.7 + 0.2 * a, 1.7)
            for s in (-1, 1)
            for k in range(2 + b)
        ]
        c.add("hair", np.minimum.reduce(blobs), -0.15)
    elif style == "pigtails":
        for s in (-1, 1):
            c.add(
                "hair", c.ellipse(12 + s * (rx + 1.8), 12 + b, 1.5 + 0.3 * a, 3.2 + 0.5 * b), -0.1
            )
    elif style == "ponytail":
        s = -1 if side % 2 else 1
        c.add("hair", c.ellipse(12 + s * (rx + 1.5), 13.5, 1.6 + 0.3 * a, 5 + 0.6 * b), -0.15)


def draw_hair(c: Canvas, genes: Genes) -> None:
    """Draw the hair on top of the head."""
    style, a, b, side = genes.hair
    rx, ry = face_size(genes)
    if style == "bald":
        return
    top = 11 - ry
    scalp = c.ellipse(12, 10.6, rx + 0.7, ry + 0.8 + 0.25 * a)
    s = -1 if side % 2 else 1
    if style == "buzz":
        c.add(
            "hair",
            np.maximum(c.ellipse(12, 10.8, rx + 0.2, ry + 0.3), c.above(7.4 + 0.3 * b)),
            -0.1,
        )
    elif style == "mohawk":
        c.add("hair", c.box(10.6 - 0.5 * (a % 2), top - 2.4 - 0.5 * b, 13.4 + 0.5 * (a % 2), 8.2))
    elif style == "parted":
        c.add("hair", np.maximum(scalp, c.above(7.8 + 0.4 * b, 0.38 * s)))
    elif style == "spiky":
        spikes = (np.abs((c.x % 3) - 1.5) - 0.75) * 1.4
        tall = np.maximum(c.ellipse(12, 10, rx + 1, ry + 2 + 0.4 * a), c.above(7.6))
        c.add("hair", np.maximum(tall, (top - c.y) + spikes))
    elif style == "bun":
        c.add("hair", c.ellipse(12 + (side - 1), top - 1.0, 2.2 + 0.4 * a, 1.9 + 0.3 * b), -0.15)
        c.add("hair", np.maximum(scalp, c.above(7.8)))
    elif style == "curly":
        wave = np.sin(c.x * np.float32(1.6 + 0.2 * a)) * np.float32(0.6)
        c.add("hair", np.maximum(c.ellipse(12, 9.8, rx + 1.2, ry + 1.0), c.above(7.6) + wave))
    elif style == "afro":
        c.add(
            "hair",
            np.maximum(c.ellipse(12, 8.6, rx + 2.6 + 0.6 * a, ry + 1.4 + 0.5 * b), c.above(7.7)),
        )
    else:  # short, bob, long, pigtails, ponytail
        c.add("hair", np.maximum(scalp, c.above(7.6 + 0.5 * (b % 2))))
        if style in ("bob", "long"):
            for k in (-1, 1):
                edge = np.abs(c.x - np.float32(12 + k * rx)) - np.float32(0.9)
                c.add("hair", np.maximum(edge, c.box(0, 6.5, 24, 12.5 + b)))
    shine = np.maximum(scalp, c.box(8 + side, top + 0.4, 10 + side, top + 2.2))
    if style not in ("mohawk", "buzz", "spiky"):
        c.add("hair", shine, 0.28)


def _beanie(c: Canvas, genes: Genes) -> None:
    _, a, b, _ = genes.headwear
    rx, ry = face_size(genes)
    dome = c.ellipse(12, 9, rx + 1.2, ry + 0.2 + 0.5 * a)
    c.add("headwear", np.maximum(dome, c.above(8)))
    c.add("headwear", c.box(12 - rx - 1.1, 6.2, 12 + rx + 1.1, 8), 0.3 if b % 2 else -0.3)
    if b > 1:
        c.add("headwear", c.ellipse(12, 9 - ry - 0.8 - 0.5 * a, 1.4, 1.2), 0.4)


def _cap(c: Canvas, genes: Genes) -> None:
    _, a, b, side = genes.headwear
    rx, ry = face_size(genes)
    s = -1 if side % 2 else 1
    c.add("headwear", np.maximum(c.ellipse(12, 8.4, rx + 1, ry - 0.6 + 0.4 * a), c.above(7.4)))
    x0, x1 = sorted((12 - s * 1.0, 12 + s * (rx + 4.2 + 0.4 * b)))
    c.add("headwear", c.box(x0, 6.4, x1, 7.8), -0.35)


def _top_hat(c: Canvas, genes: Genes) -> None:
    _, a, b, _ = genes.headwear
    rx, _ = face_size(genes)
    c.add("headwear", c.box(12 - rx + 0.2, 1.0 - 0.5 * a + 1.5, 12 + rx - 0.2, 6.4))
    c.add("headwear", c.box(12 - rx + 0.2, 4.8, 12 + rx - 0.2, 6), 0.45 if b % 2 else -0.4)
    c.add("headwear", c.box(12 - rx - 2 - 0.4 * b, 6, 12 + rx + 2 + 0.4 * b, 7.4))


def _crown(c: Canvas, genes: Genes) -> None:
    _, a, b, _ = genes.headwear
    rx, _ = face_size(genes)
    teeth = (np.abs((c.x % (2 + b % 3)) - 1) - 0.5) * 1.2
    body = c.box(12 - rx, 3.0 - 0.5 * a + 1.0, 12 + rx, 7)
    c.add("headwear", np.maximum(body, np.minimum(np.float32(5.2) - c.y, teeth) * 1.0))
    c.add("headwear", c.box(12 - rx, 5.2, 12 + rx, 7), -0.2)


def _headband(c: Canvas, genes: Genes) -> None:
    _, a, b, side = genes.headwear
    rx, _ = face_size(genes)
    c.add("headwear", c.box(12 - rx - 0.4, 6.0 - 0.3 * a, 12 + rx + 0.4, 8))
    if b:
        s = -1 if side % 2 else 1
        c.add("headwear", c.ellipse(12 + s * (rx + 0.8), 7, 1.2 + 0.2 * b, 1.6), -0.2)


def _brim_hat(c: Canvas, genes: Genes) -> None:
    _, a, b, _ = genes.headwear
    rx, ry = face_size(genes)
    c.add("headwear", np.maximum(c.ellipse(12, 7, rx + 0.4, ry - 1.2 + 0.5 * a), c.above(7)))
    c.add("headwear", c.box(12 - rx - 0.2, 5, 12 + rx + 0.2, 6.4), -0.35)
    c.add("headwear", c.ellipse(12, 7, rx + 3.6 + 0.5 * b, 1.1))


def _party_hat(c: Canvas, genes: Genes) -> None:
    _, a, b, _ = genes.headwear
    cone = np.maximum(np.abs(c.x - 12) * 1.5 - (c.y - np.float32(1.0 - 0.4 * a)), c.y - 7)
    c.add("headwear", cone * np.float32(0.6))
    c.add(
        "headwear", np.maximum(cone * np.float32(0.6), np.abs((c.y % (2 + b % 2)) - 0.5) - 0.5), 0.4
    )


def _helmet(c: Canvas, genes: Genes) -> None:
    _, a, b, _ = genes.headwear
    rx, ry = face_size(genes)
    shell = c.ellipse(12, 10, rx + 1.8, ry + 1.4 + 0.2 * a)
    opening = c.box(12 - rx + 0.3, 8, 12 + rx - 0.3, 20)
    c.add("headwear", np.maximum(np.maximum(shell, -opening), c.above(14 + b)))
    c.add("headwear", np.maximum(shell, c.box(11, 2, 13, 8)), 0.35)


def _bow(c: Canvas, genes: Genes) -> None:
    _, a, b, side = genes.headwear
    _, ry = face_size(genes)
    cx, cy = 12 + (side - 1) * 2.5, 11 - ry
    for s in (-1, 1):
        c.add("headwear", c.ellipse(cx + s * (1.9 + 0.3 * a), cy, 1.7 + 0.3 * a, 1.5 + 0.3 * b))
    c.add("headwear", c.ellipse(cx, cy, 0.8, 0.9), -0.35)


HEADWEAR: dict[str, Drawer] = {
    "beanie": _beanie, "cap": _cap, "top hat": _top_hat, "crown": _crown, "headband": _headband,
    "brim hat": _brim_hat, "party hat": _party_hat, "helmet": _helmet, "bow": _bow,
}  # fmt: skip


def _lenses(c: Canvas, genes: Genes, *, round_: bool) -> list[np.ndarray]:
    _, a, b, _ = genes.eyewear
    half = 1.9 + 0.2 * a
    made = []
    for s in (-1, 1):
        cx = 12 + s * 2.9
        if round_:
            made.append(c.ellipse(cx, 11, half, half))
        else:
            made.append(c.box(cx - half, 11 - 1.5 - 0.3 * b, cx + half, 11 + 1.5 + 0.2 * a))
    return made


def draw_eyewear(c: Canvas, genes: Genes) -> None:
    """Draw glasses and the like over the eyes."""
    style, a, b, side = genes.eyewear
    rx, _ = face_size(genes)
    temples = np.maximum(
        c.box(12 - rx - 0.4, 10, 12 + rx + 0.4, 11), np.float32(3.5) - np.abs(c.x - 12)
    )
    if style in ("round glasses", "square glasses"):
        for lens in _lenses(c, genes, round_=style[0] == "r"):
            c.add("eyewear", np.abs(lens + 0.35) - 0.5)
        c.add("eyewear", c.box(11, 10, 13, 11))
        c.add("eyewear", temples, -0.2)
    elif style == "shades":
        for lens in _lenses(c, genes, round_=a % 2 == 1):
            c.add("eyewear", lens)
        c.add("eyewear", c.box(8, 9.6 - 0.2 * b, 16, 10.4))
        c.add("eyewear", c.box(8, 10, 9, 11), 0.6)
        c.add("eyewear", temples, -0.2)
    elif style == "visor":
        c.add("eyewear", c.box(12 - rx - 0.6, 9.2 - 0.3 * a, 12 + rx + 0.6, 12.4 + 0.3 * b))
        c.add("eyewear", c.box(8, 9.8, 15, 10.9), 0.45)
    elif style == "goggles":
        c.add("eyewear", c.box(12 - rx - 0.4, 10, 12 + rx + 0.4, 12), -0.4)
        for lens in _lenses(c, genes, round_=b % 2 == 0):
            c.add("eyewear", lens - 0.3, -0.4)
            c.add("eyewear", lens + 0.5, 0.1)
    elif style in ("monocle", "eyepatch"):
        s = -1 if side % 2 else 1
        lens = c.ellipse(12 + s * 3, 11, 1.9 + 0.2 * a, 1.9 + 0.2 * b)
        if style == "monocle":
            c.add("eyewear", np.abs(lens + 0.35) - 0.5)
            c.add("eyewear", c.box(*sorted_x(12 + s * 4.4, 12 + s * 5.4, 13, 17)))
        else:
            c.add("eyewear", c.box(12 - rx, 8, 12 + rx, 8.9))
            c.add("eyewear", lens)


def draw_jewellery(c: Canvas, genes: Genes) -> None:
    """Draw earrings or something round the neck."""
    style, a, b, side = genes.jewellery
    rx, _ = face_size(genes)
    ears = (-1, 1) if side == 2 else (-1,) if side % 2 else (1,)
    if style in ("stud", "hoop", "drop earring"):
        for s in ears:
            cx = 12 + s * (rx + 0.4)
            if style == "stud":
                c.add("jewellery", c.box(cx - 0.6 - 0.2 * a, 12.4, cx + 0.6 + 0.2 * b, 13.6))
            elif style == "hoop":
                c.add("jewellery", np.abs(c.ellipse(cx, 14.4, 1.3 + 0.2 * a, 1.5 + 0.3 * b)) - 0.5)
            else:
                c.add("jewellery", c.box(cx - 0.6, 12.8, cx + 0.6, 14 + a))
                c.add("jewellery", c.ellipse(cx, 14.6 + a, 0.9 + 0.1 * b, 1.0), 0.4)
    elif style in ("necklace", "chain", "pendant"):
        ring = np.abs(c.ellipse(12, 18.6, 3.1 + 0.4 * a, 2.3 + 0.5 * b)) - 0.55
        ring = np.maximum(ring, np.float32(18.9) - c.y)
        if style == "necklace":
            ring = np.maximum(ring, np.sin(c.x * np.float32(3.1)) * np.float32(0.5) - 0.3)
        c.add("jewellery", ring)
        if style == "pendant":
            c.add("jewellery", c.ellipse(12, 21.6 + 0.5 * b, 1.2, 1.3), 0.3)
    elif style == "choker":
        c.add("jewellery", c.box(9.9, 17.6 + 0.5 * (a % 2), 14.1, 18.8 + 0.5 * (a % 2)))
        if b:
            c.add("jewellery", c.box(11.4, 18.4, 12.6, 19.8), 0.4)
