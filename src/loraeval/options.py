"""The options that both doors share: the command line as ``--NAME``, pytest as ``--lora-NAME``.

One row an option; argparse groups, pytest options and ini names are made from it, and texts are
read and checked by it as soon as they are given. Standard library only.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from loraeval.errors import UsageError
from loraeval.outcome import UNDECIDED

MAX_SEEDS = 1000
"""More seeds a prompt than this are a typing error."""

MAX_SEED_DIGITS = 18
"""A seed of so many digits surely fits the 64 bits that random generators take."""

PYTEST = "--lora-"
"""What stands before an option's name in pytest."""

Group = Literal["what is gated", "what is measured", "how it is rendered", "how sure it must be"]


@dataclass(frozen=True, slots=True)
class Option:
    """One option. ``read`` makes its value of a text and raises ``UsageError``; ``flag`` takes no
    text; ``pytest`` is its name there, where it is another.
    """

    name: str
    metavar: str
    help: str
    group: Group
    read: Callable[[str], Any] = str
    choices: tuple[str, ...] = ()
    flag: bool = False
    pytest: str | None = None

    @property
    def field(self) -> str:
        """Its name in a ``Request`` and in argparse's name space."""
        return self.name.replace("-", "_")

    @property
    def pytest_flag(self) -> str:
        """How pytest's command line spells it."""
        return f"{PYTEST}{self.pytest or self.name}"

    @property
    def ini(self) -> str:
        """How pytest's configuration calls it."""
        return self.pytest_flag.removeprefix("--").replace("-", "_")

    def value(self, text: str) -> Any:
        """Return what ``text`` means; raise ``UsageError`` saying what was expected."""
        if self.flag:
            return read_flag(text)
        if self.choices and text not in self.choices:
            raise UsageError(f"expected {', '.join(self.choices)}, found {text!r}")
        return self.read(text)


def read_flag(text: str) -> bool:
    """Read yes or no, in the words that configuration files use."""
    word = text.strip().lower()
    if word in ("1", "true", "yes", "on"):
        return True
    if word in ("0", "false", "no", "off"):
        return False
    raise UsageError(f"expected true or false, found {text!r}")


def read_count(text: str) -> int:
    """Read a whole number of 1 or more."""
    try:
        value = int(text)
    except ValueError:
        value = 0
    if value < 1:
        raise UsageError(f"expected a whole number of 1 or more, found {text!r}")
    return value


def read_rate(low: float, high: float, words: str) -> Callable[[str], float]:
    """Return the reader of a number from ``low`` to ``high``, both excluded; ``words`` say so."""

    def read(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not low < value < high:
            raise UsageError(f"expected a number {words}, found {text!r}")
        return value

    return read


def read_names(text: str) -> tuple[str, ...]:
    """Read a comma-separated list of names.

    >>> read_names("palette, grid")
    ('palette', 'grid')
    """
    return tuple(name.strip() for name in text.split(","))


def read_seeds(text: str) -> tuple[int, ...]:
    """Read a list of seeds, ranges among them; raise ``UsageError`` for anything else.

    >>> read_seeds("1,2,5-8")
    (1, 2, 5, 6, 7, 8)
    """
    seeds: list[int] = []
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        if not first.isdecimal() or (dash and not last.isdecimal()):
            raise UsageError(f"expected whole numbers like 1,2,5-8, found {part.strip()!r}")
        if max(map(len, (first.strip(), last.strip()))) > MAX_SEED_DIGITS:
            raise UsageError(
                f"expected seeds below 10 to the power {MAX_SEED_DIGITS}, found {part.strip()!r}"
            )
        found = range(int(first), int(last if dash else first) + 1)
        if not found or len(seeds) + len(found) > MAX_SEEDS:
            raise UsageError(f"expected 1 to {MAX_SEEDS} seeds, found {text!r}")
        seeds.extend(found)
    return tuple(dict.fromkeys(seeds))


def read_lattice(text: str) -> tuple[int, int] | str | None:
    """Read ``24x24``, ``none`` or ``caption``; raise ``UsageError`` for anything else.

    >>> read_lattice("24x24"), read_lattice("none"), read_lattice("caption")
    ((24, 24), None, 'caption')
    """
    word = text.strip().lower()
    if word in {"none", "caption"}:
        return None if word == "none" else "caption"
    columns, cross, rows = word.partition("x")
    if cross and columns.isdecimal() and rows.isdecimal() and int(columns) > 1 and int(rows) > 1:
        return int(columns), int(rows)
    raise UsageError(f"expected a lattice as COLUMNSxROWS, none or caption, found {text!r}")


_GATED: Group = "what is gated"
_MEASURED: Group = "what is measured"
_RENDERED: Group = "how it is rendered"
_SURE: Group = "how sure it must be"

OPTIONS: tuple[Option, ...] = (
    Option("baseline", "NAME", "baseline to gate against: one of baselines/, or a path", _GATED),
    Option(
        "renders", "MANIFEST", "use these images instead of rendering (manifest or folder)", _GATED
    ),
    Option(
        "choose-epoch",
        "",
        "render one run's epochs side by side, drop hopeless ones early, gate the best",
        _GATED,
        flag=True,
    ),
    Option(
        "out",
        "DIR",
        "write the run's folder with its report here (default: nothing outside the store)",
        _GATED,
        pytest="report",
    ),
    Option(
        "scorers",
        "NAMES",
        "comma-separated (default: palette,grid,style,realism,health)",
        _MEASURED,
        read_names,
    ),
    Option("reference", "DIR", "images in the style, for style; several as A:B", _MEASURED),
    Option(
        "encoder",
        "SPEC",
        "auto, none, efficientnet-lite0, open_clip:NAME/TAG, or a local folder (default auto)",
        _MEASURED,
    ),
    Option(
        "lattice",
        "CxR",
        "expected cells, e.g. 24x24; none; or caption: as each prompt says (default)",
        _MEASURED,
        read_lattice,
    ),
    Option("offline", "", "make no request at all", _MEASURED, flag=True),
    Option("base-model", "PATH_OR_ID", "diffusers folder, .safetensors file or hub id", _RENDERED),
    Option("prompts", "SET", "a set of prompts/, or a path (default: the baseline's)", _RENDERED),
    Option("recipe", "NAME", "one of recipes/, or a path (default: the baseline's)", _RENDERED),
    Option(
        "seeds",
        "LIST",
        "comma-separated, a-b for a range (default: the recipe's)",
        _RENDERED,
        read_seeds,
    ),
    Option("store", "DIR", "store of renders (default .loraeval/store)", _RENDERED),
    Option("devices", "LIST", "auto, cpu, or cuda:0,cuda:1 (default auto)", _RENDERED),
    Option("workers", "N", "use N of the devices", _RENDERED, read_count),
    Option("ray", "ADDRESS", "render through Ray: local, or a cluster", _RENDERED),
    Option("batch-size", "N", "images a batch (default: what fits memory)", _RENDERED, read_count),
    Option(
        "compile",
        "WHEN",
        "torch.compile (default auto)",
        _RENDERED,
        choices=("auto", "always", "never"),
    ),
    Option(
        "alpha",
        "RATE",
        "chance of failing a good or passing a bad checkpoint (default 0.05)",
        _SURE,
        read_rate(0, 0.5000001, "above 0 and at most 0.5"),
    ),
    Option(
        "power",
        "RATE",
        "chance of a decision that advice on more images aims at (default 0.8)",
        _SURE,
        read_rate(0.4999999, 1, "from 0.5 to below 1"),
    ),
    Option("max-images", "N", "stop after N images a checkpoint", _SURE, read_count),
    Option("min-images", "N", "no verdict before N images", _SURE, read_count),
    Option(
        "bad-share",
        "T",
        "rise of the share of bad images that is not accepted (default 0.1)",
        _SURE,
        read_rate(0, 1, "above 0 and below 1"),
    ),
    Option(
        "strict",
        "",
        "keep alpha also where images collapse to any level; takes more images",
        _SURE,
        flag=True,
    ),
    Option(
        "allow-partial",
        "",
        "let a part of the plan's images pass, and show it",
        _SURE,
        flag=True,
    ),
    Option(
        "inconclusive",
        "AS",
        "what an undecided gate counts as; skip is neither: exit code 3, a skipped test "
        "(default: skip, under pytest fail)",
        _SURE,
        choices=UNDECIDED,
    ),
)
"""Every shared option, in the order of the help."""

GROUPS: tuple[Group, ...] = (_GATED, _MEASURED, _RENDERED, _SURE)

BY_NAME: dict[str, Option] = {option.name: option for option in OPTIONS}


def option_table(door: Literal["command line", "pytest"]) -> str:
    """Return the table of options as one door spells them, a line an option."""
    lines = []
    for option in OPTIONS:
        flag = f"--{option.name}" if door == "command line" else option.pytest_flag
        values = "|".join(option.choices) or option.metavar
        lines.append(f"{flag} {values}".strip() + f": {option.help}")
    return "\n".join(lines)
