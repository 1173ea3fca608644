"""Targets of tools/fuzz.py that look at what comes out: terminal text, HTML, files on disk.

A stranger's text goes through a whole command or page; a control character on the terminal, or a
tag in the page that is not the page's own, is a failure like a traceback.
"""

from __future__ import annotations

import contextlib
import io
import json
import tempfile
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

HOSTILE = [
    b"plain",
    b"\x1b[2J\x1b]0;owned\x07",
    b"</script><script>alert(1)</script>",
    b'"><img src=x onerror=alert(1)>',
    "\u202etxt.exe\u2028next\u0000".encode(),
    b"{{ 7*7 }}{% raw %}${x}`id`$(id)",
    b"../../../../etc/passwd",
    b"javascript:alert(1)",
]
"""What strangers write where a name belongs."""

HOSTILE_WORDS = ["<", ">", "</script>", "<!--", "&", '"', "'", "onload=", "\x1b[31m", "\x9b",
                 "\u202e", "\n", "\r", "\x07", "{{", "}}", "../", "%0a", "::error::"]  # fmt: skip

_TAGS = """
html head meta link title style body main header footer section nav h1 h2 h3 h4 p div span a ul ol
li dl dt dd table thead tbody tfoot tr th td caption code pre strong em b i small sub sup br
hr button label input select option figure figcaption img canvas svg details summary dialog
form aside output script template time kbd abbr fieldset legend colgroup col mark path
"""
OWN_TAGS = frozenset(_TAGS.split())
"""Tags that our own pages use."""


class PageProblemError(AssertionError):
    """A page that a stranger's text has changed."""


class _Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.problems: list[str] = []
        self.scripts = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.scripts += tag == "script"
        if tag not in OWN_TAGS:
            self.problems.append(f"a tag <{tag[:40]}>")
        for name, value in attrs:
            if name.startswith("on"):
                self.problems.append(f"an attribute {name[:40]}")
            if name in ("href", "src", "action") and not str(value).startswith(
                ("#", "data:", "images/")
            ):
                self.problems.append(f"{name}={str(value)[:60]}")


def check_page(html: str, scripts: int | None = None) -> None:
    """Raise where ``html`` holds a foreign tag, an event attribute, an outside address, or another
    number of scripts than ``scripts``.
    """
    page = _Page()
    page.feed(html)
    page.close()
    if scripts is not None and page.scripts != scripts:
        page.problems.append(f"{page.scripts} scripts, not {scripts}")
    if page.problems:
        raise PageProblemError("; ".join(page.problems[:3]))


def check_terminal(text: str) -> None:
    """Raise where ``text`` holds anything but printable characters and line breaks."""
    bad = sorted({c for c in text if c != "\n" and not c.isprintable()})
    if bad:
        raise PageProblemError(f"unprintable on the terminal: {bad[:5]!r}")


def run_command(words: list[str]) -> tuple[int, str]:
    """Run a command line in this process; return its exit code and all that it printed."""
    from loraeval.cli import main

    out = io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
        code = main(words)
    return code, out.getvalue()


def metadata(path: Path) -> object:
    """Show a LoRA whose metadata says the input everywhere: inspect, params as text and HTML."""
    import numpy as np

    from loraeval.testing.kohya_files import write_safetensors

    text = path.read_bytes().decode("utf-8", "replace")
    stem = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q"
    tensors = {
        f"{stem}.lora_down.weight": np.ones((2, 320), np.float32),
        f"{stem}.lora_up.weight": np.ones((320, 2), np.float32),
        text[:200] or "x": np.ones(1, np.float32),
    }
    names = ("output_name", "tag_frequency", "dataset_dirs", "network_args", "optimizer",
             "sd_model_name", "training_comment", "network_module", "learning_rate", "resolution",
             "epoch")  # fmt: skip
    said = {f"ss_{name}": text for name in names} | {"modelspec.title": text, text[:50]: text}
    file = path.with_name("shown.safetensors")
    write_safetensors(file, tensors, said)
    for words in (
        ["inspect"],
        ["inspect", "--json"],
        ["params"],
        ["params", "--format", "markdown"],
    ):
        code, shown = run_command([*words, str(file)])
        check_terminal(shown)
        if code not in (0, 2):
            raise PageProblemError(f"exit {code}")
    code, shown = run_command(["params", str(file), str(file), "--format", "html"])
    if code == 0:
        check_page(shown, scripts=0)
    return code


def scores(path: Path) -> object:
    """Gate and summarise a scores file whose every name is the input."""
    from fuzz_targets import _baseline_files

    text = path.read_bytes().decode("utf-8", "replace")[:2000]
    folder = path.parent / "fuzz"
    if not folder.exists():
        folder.mkdir()
        for name, data in _baseline_files().items():
            (folder / name).write_bytes(data)
    row = {"image": text, "run": text, "checkpoint": text, "epoch": 1, "prompt_id": text, "seed": 3,
           "scores": {"palette": 0.5, "grid": None, text[:90]: 0.25},
           "details": {"grid": {"reason": text}, text[:90]: {text[:90]: text}},
           "versions": {"palette": text[:90]}, "encoder": text}  # fmt: skip
    path.with_name("scores.jsonl").write_text(json.dumps(row) + "\n", "utf-8", newline="\n")
    for extra in ([], ["--json"]):
        code, shown = run_command(["gate", "--baseline", str(folder), "--scores",
                                   str(path.with_name("scores.jsonl")), *extra])  # fmt: skip
        if not extra:
            check_terminal(shown)
    return code


def page(path: Path) -> object:
    """Write the report of rows whose prompts, details and titles are the input."""
    from loraeval.records import Checkpoint, Comparison, ScoreRow, Verdict
    from loraeval.report.data import BaselineView, RunReport
    from loraeval.report.html import write_report

    text = path.read_bytes().decode("utf-8", "replace")[:2000]
    palette = {"wanted": [{"hex": text[:40], "attribute": text, "text": text, "delta_e": 3.0}],
               "reason": text, text[:40]: text}  # fmt: skip
    details = {"palette": palette, "grid": {"reason": text}}
    row = ScoreRow(text, text, text, 1, text, 3, {"palette": 0.5, "grid": None}, details)
    said = Comparison("palette", "fail", text, 0.1, 1, "prompt", -0.2, -0.3, -0.1)
    told = {text: text}
    verdict = Verdict(Checkpoint(text, file=text), text, "fail", (said,), text)
    data = RunReport(text, (row,), (verdict,), BaselineView(text, (row,)),
                     prompts=told, recipe=told, versions=told, hashes=told,
                     provenance=told)  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        html = write_report(Path(folder), data).read_text("utf-8")
    check_page(html, scripts=html.count("<script>") + html.count('<script type="application/json"'))
    return html


def store_png(path: Path) -> object:
    """Let a store meet the input where a render of its own should lie."""
    from loraeval.render.store import Store

    key = "ab" * 32
    store = Store(path.parent / "store")
    place = store.path(key)
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(path.read_bytes())
    found = store.find(key)
    if found is None and place.exists():
        raise PageProblemError("a damaged file was kept")
    store.forget([key])
    store.close()
    return found


def png_seeds() -> list[bytes]:
    """Return a whole PNG as the store writes it, and some that only look like it."""
    import numpy as np

    from loraeval.render.store import encode_png

    said: dict[str, Any] = {
        "key": "ab" * 32, "recipe": "r", "checkpoint": "c", "run": "r", "epoch": 1,
        "prompt_id": "p", "prompt": "p", "seed": 1, "bytes": 0, "sha256": "", "health": "ok",
        "made": 1.0, "used": 1.0, "details": "{}",
    }  # fmt: skip
    pixels = np.zeros((8, 8, 3), np.uint8)
    texts = [
        said,
        {**said, "seed": None},
        {**said, "seed": [1]},
        {**said, "key": "cd" * 32},
        [1],
        {},
    ]
    return [encode_png(pixels, json.dumps(text)) for text in texts]


def reference_seeds() -> list[bytes]:
    """Return a reference of eight made-up images, as a baseline carries it."""
    import numpy as np

    from loraeval.scorers.copies import SIDE
    from loraeval.scorers.reference import ReferenceSet
    from loraeval.scorers.reference_view import view_of

    rng = np.random.default_rng(0)
    own, bank = (rng.normal(size=(n, 4)).astype(np.float32) for n in (8, 20))
    names = tuple(f"i{n}" for n in range(8))
    thumbnails = rng.integers(0, 256, (8, SIDE, SIDE, 3)).astype(np.uint8)
    return [ReferenceSet("e@0", names, view_of(own, bank), thumbnails).to_json().encode()]
