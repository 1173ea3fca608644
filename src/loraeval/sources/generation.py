"""How an image was made, from what A1111 and ComfyUI write into their PNG files."""

from __future__ import annotations

import re
import zlib
from dataclasses import dataclass
from pathlib import Path

from loraeval.checkpoints.file_names import Place, place_of
from loraeval.images.png_text import PngText, png_text
from loraeval.outside.text import clean
from loraeval.sources.comfyui import graph_of

KEYS = ("parameters", "prompt")
"""Keywords of the texts: A1111 and its kin write the first, ComfyUI the second."""

MAX_PROMPT = 10_000


@dataclass(frozen=True, slots=True)
class Generation:
    """What a program says of an image: texts, ``seed``, ``steps``, ``sampler``, the size asked
    for, the base ``model`` and the LoRAs with their strengths. None where it does not say.
    """

    tool: str
    prompt: str
    negative: str = ""
    seed: int | None = None
    steps: int | None = None
    sampler: str | None = None
    guidance_scale: float | None = None
    width: int | None = None
    height: int | None = None
    model: str | None = None
    loras: tuple[tuple[str, float], ...] = ()
    enlarged: bool = False

    @property
    def prompt_id(self) -> str:
        """The same for the same texts: images of one prompt find each other by it."""
        words = re.sub(r"[^\w]+", "-", self.prompt.lower()).strip("-")[:40].strip("-")
        code = zlib.crc32(f"{self.prompt}\0{self.negative}".encode("utf-8", "surrogatepass"))
        return f"{words or 'prompt'}-{code:08x}"

    @property
    def lora(self) -> tuple[str, Place | None] | None:
        """The LoRA that the image shows, with its place in its run: the only one, or the only one
        whose name is numbered.
        """
        found = [(name, place_of(name)) for name, _ in self.loras]
        numbered = [pair for pair in found if pair[1] is not None]
        for pairs in (found, numbered):
            if len(pairs) == 1:
                return pairs[0]
        return None


def generation_of(path: Path) -> tuple[Generation | None, PngText | None]:
    """Return what a PNG file says of its making and its size; None where it says nothing.

    Only chunks are read, within bounds; a text that is not understood is passed over.
    """
    found = png_text(path, KEYS)
    if found is None:
        return None, None
    if "parameters" in found.texts:
        made = a1111(found.texts["parameters"])
        if made is not None:
            return made, found
    if "prompt" in found.texts:
        graph = graph_of(found.texts["prompt"])
        if graph is not None:
            return Generation("ComfyUI", **graph), found
    return None, found


_LORA = re.compile(r"<(?:lora|lyco|hypernet):([^:<>]{1,200})(?::([-0-9.]{1,12}))?[^<>]{0,100}>")
_SETTING = re.compile(
    r'\s*([A-Za-z][\w /-]{0,60}):\s*("(?:[^"\\]|\\.){0,2000}"|[^,\n]{0,500})(?:,|$)'
)
_ENLARGERS = ("Hires", "SD upscale", "Ultimate SD", "Postprocess")
_SIZE = re.compile(r"(\d{1,5})x(\d{1,5})")


def a1111(text: str) -> Generation | None:
    """Read the text that A1111, Forge and their kin write: prompt, ``Negative prompt:``, and a
    last line that begins with ``Steps:``. None for any other text.
    """
    lines = text.strip()[: 8 * MAX_PROMPT].split("\n")
    at = next((i for i in range(len(lines) - 1, -1, -1) if lines[i].startswith("Steps: ")), None)
    if at is None:
        return None
    settings: dict[str, str] = {}
    for match in _SETTING.finditer(lines[at][:8000]):
        settings.setdefault(match[1].strip(), match[2].strip().strip('"'))
    start = next((i for i in range(at) if lines[i].startswith("Negative prompt:")), at)
    prompt = "\n".join(lines[:start])[:MAX_PROMPT]
    negative = "\n".join(lines[start:at]).removeprefix("Negative prompt:")[:MAX_PROMPT]
    loras = tuple(
        (name.strip(), 1.0 if _number(weight) is None else float(weight))
        for name, weight in _LORA.findall(prompt)
    )
    size = _SIZE.fullmatch(settings.get("Size", ""))
    return Generation(
        "A1111",
        _one_line(_LORA.sub("", prompt)),
        _one_line(_LORA.sub("", negative)),
        _count(settings.get("Seed")),
        _count(settings.get("Steps")),
        clean(settings["Sampler"], 60) if "Sampler" in settings else None,
        _number(settings.get("CFG scale", "")),
        int(size[1]) if size else None,
        int(size[2]) if size else None,
        clean(settings["Model"], 120) if "Model" in settings else None,
        loras,
        any(
            key.startswith(("Hires", "SD upscale", "Ultimate SD", "Postprocess"))
            for key in settings
        ),
    )


def _one_line(text: str) -> str:
    plain = " ".join(text.split())
    plain = re.sub(r"\s+,", ",", plain)
    return re.sub(r"(,\s*){2,}", ", ", plain).strip(" ,")[:MAX_PROMPT]


def _count(text: str | None) -> int | None:
    return int(text) if text is not None and text.isdecimal() and len(text) < 20 else None


def _number(text: str) -> float | None:
    plain = re.fullmatch(r"-?\d{0,6}(\.\d{0,9})?", text) and text.strip("-.")
    return float(text) if plain else None
