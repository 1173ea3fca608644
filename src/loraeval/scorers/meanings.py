"""What each metric asks, in one line: for people who read a profile or a table."""

from __future__ import annotations

MEANINGS = {
    "palette": "are the caption's colours there, and little else?",
    "palette.attributes": "share of the caption's attributes that have the right colour",
    "palette.leak": "no colour of one attribute appears on another",
    "palette.coverage": "share of the wanted colours that are there",
    "palette.precision": "share of the cells that a wanted colour explains",
    "palette.background": "has the background its colour?",
    "palette.binding": "have eyes, lips, skin and hair their colours?",
    "palette.colours": "as many distinct colours as the reference images have?",
    "grid": "is there a pixel lattice, and is it even?",
    "grid.size": "has the lattice the expected number of cells?",
    "style": "as near to the reference images as they are to each other?",
    "style.text": "does the picture show what the prompt says? (an encoder that reads text)",
    "style.memorisation": "is the picture no copy of a reference image, however changed?",
    "style.leak": "does a prompt without the trigger still look as without the LoRA?",
    "style.copies": "share of the images that are no copies of a reference image",
    "style.mmd": "are the images spread as the reference images are?",
    "style.precision": "share of the images that lie among the reference images",
    "style.recall": "share of the reference images that lie among the images",
    "style.diversity": "do images of one prompt differ from seed to seed?",
    "realism": "pixel art (1) or a photograph (0)?",
    "realism.clip": "what CLIP calls it: pixel art (1) or something else (0)",
    "realism.drift": "did the LoRA move the picture away from a photograph (over 0.5)?",
    "prompt": "does the picture show what the prompt says? (an encoder that reads text)",
    "prompt.follow": "is what the training images lack still drawn as well as by the base model?",
    "health": "is the file whole: not black, flat, clipped, of the wrong size?",
}
"""Metric to the question that it answers; 1 is yes."""


def meaning_of(metric: str) -> str:
    """Return what ``metric`` asks; of a third party's, where to look."""
    scorer, _, label = metric.partition(".")
    if metric in MEANINGS:
        return MEANINGS[metric]
    if scorer == "style":
        return f"style as the further encoder {label} sees it"
    return f"of the scorer {scorer}: see its documentation"
