"""Charts as files: PNG, SVG, and the script that draws them in a page.

altair makes the specification, vl-convert draws it; both come with the extra ``charts``.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from loraeval.errors import MissingExtraError
from loraeval.outside.files import write_bytes_atomically, write_text_atomically

if TYPE_CHECKING:
    from types import ModuleType

PIXEL_RATIO = 2.0
"""Pixels of the PNG for each CSS pixel."""


LONGEST_TEXT = 400
"""Characters of one text in a chart; laying out thousands of odd ones takes many seconds."""


def save_chart(chart: Any, folder: Path, stem: str) -> tuple[Path, Path]:
    """Write ``chart`` as ``stem.png`` and ``stem.svg``; equal charts give equal bytes.

    Raises ``MissingExtraError`` without the extra ``charts``.
    """
    spec = chart.to_json(indent=None)
    png, svg = folder / f"{stem}.png", folder / f"{stem}.svg"
    write_bytes_atomically(png, chart_png(spec))
    write_text_atomically(svg, chart_svg(spec))
    return png, svg


def chart_png(spec: str) -> bytes:
    """Return a Vega-Lite specification, as JSON, drawn as PNG."""
    spec = drawable(spec)
    return bytes(_converter().vegalite_to_png(spec, scale=PIXEL_RATIO, allowed_base_urls=[]))


def chart_svg(spec: str) -> str:
    """Return a Vega-Lite specification, as JSON, drawn as SVG."""
    spec = drawable(spec)
    return str(_converter().vegalite_to_svg(spec, allowed_base_urls=[])) + "\n"


def drawable(spec: str) -> str:
    """Return a specification whose texts hold no character that XML forbids.

    The renderer ends the whole process at one (a control character, half a surrogate pair), and a
    run's name comes from a stranger's file.
    """
    return json.dumps(_drawable(json.loads(spec)))


def _drawable(value: Any) -> Any:
    if isinstance(value, dict):
        return {_drawable(key): _drawable(part) for key, part in value.items()}
    if isinstance(value, list):
        return [_drawable(part) for part in value]
    if isinstance(value, str) and not (value.isprintable() and len(value) <= LONGEST_TEXT):
        value = value if len(value) <= LONGEST_TEXT else value[:LONGEST_TEXT] + "…"
        return "".join(
            c if c.isprintable() or c == "\n" else c.encode("unicode_escape").decode()
            for c in value
        )
    return value


@cache
def chart_script() -> str:
    """Return the JavaScript that draws such a specification in a page: vega-embed and all it
    needs, for a ``<script>`` tag, no address of any network in use.
    """
    return str(_converter().javascript_bundle())


def altair_module() -> ModuleType:
    """Return altair; raises ``MissingExtraError`` without the extra ``charts``."""
    try:
        import altair as alt
    except ImportError as error:
        raise MissingExtraError("altair", "charts", "the epoch chart") from error
    return alt


def _converter() -> ModuleType:
    try:
        import vl_convert
    except ImportError as error:
        raise MissingExtraError("vl-convert-python", "charts", "the epoch chart") from error
    return vl_convert
