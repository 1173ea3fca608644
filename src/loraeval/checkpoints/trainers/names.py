"""One table a trainer: its own name of a setting, the common one, and how its words are meant.

The same tables read settings, write experiment plans back in the trainer's own syntax, and make
the table of the documentation.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from loraeval.checkpoints.script_facts import ScriptFacts, give
from loraeval.checkpoints.values import Value, number


@dataclass(frozen=True, slots=True)
class Name:
    """``own`` is a path with dots (``[]`` goes into each element of a list), ``common`` the name
    of the parameter, ``how`` the rule that takes the trainer's words to the common ones.
    """

    own: str
    common: str
    how: str = ""


_DTYPES = {
    "float16": "fp16", "fp16": "fp16", "half": "fp16", "float_16": "fp16",
    "bfloat16": "bf16", "bf16": "bf16", "bfloat_16": "bf16",
    "float32": "float", "fp32": "float", "float": "float", "float_32": "float", "no": "float",
}  # fmt: skip
_OPTIMIZERS = {
    "adamw": "AdamW", "adamw8bit": "AdamW8bit", "lion": "Lion", "lion8bit": "Lion8bit",
    "adafactor": "AdaFactor", "prodigy": "Prodigy", "dadaptadam": "DAdaptAdam", "came": "CAME",
    "sgd": "SGDNesterov",
}  # fmt: skip


def _dtype(value: Any) -> Value:
    return _DTYPES.get(str(value).lower().removeprefix("torch."), str(value))


def _precision(value: Any) -> Value:
    found = _dtype(value)
    return "no" if found == "float" else found


def _optimizer(value: Any) -> Value:
    plain = str(value).lower().replace("_", "").replace("-", "")
    known = _OPTIMIZERS.get(plain)
    return known if known and known != "SGDNesterov" else str(value)


def _timestep(value: Any) -> Value:
    share = number(value)
    return None if share is None else int(1000 * share)


def _extension(value: Any) -> Value:
    text = str(value)
    return text if text.startswith(".") else f".{text}"


def _sizes(value: Any) -> Value:
    """Several sizes are several squares, or pairs of width and height; never one rectangle."""
    items = value.split(",") if isinstance(value, str) else value
    rows = items if isinstance(items, (list, tuple)) else [items]
    found = []
    for row in rows:
        pair = row if isinstance(row, (list, tuple)) and len(row) == 2 else (row, row)
        if all(number(side) is not None for side in pair):
            found.append("x".join(str(number(side)) for side in pair))
        elif isinstance(row, str) and row.strip():
            found.append(row.strip())
    return " / ".join(found) or None


HOW: dict[str, Callable[[Any], Value]] = {
    "dtype": _dtype,
    "precision": _precision,
    "optimizer": _optimizer,
    "lower": lambda value: str(value).lower(),
    "thousandths": _timestep,
    "extension": _extension,
    "sizes": _sizes,
    "not": lambda value: (not value) if isinstance(value, bool) else None,
    "on": lambda value: str(value).lower() not in ("off", "false", "none", "0", ""),
    "positive": lambda value: value if (number(value) or 0) > 0 else None,
}
"""Rules by name: the trainer's word to the common one; None where it says nothing."""


def dig(tree: Any, path: Sequence[str]) -> Iterator[Any]:
    """Yield what stands at a path; each element's where the path goes through a list."""
    if not path:
        yield tree
        return
    head, rest = path[0], path[1:]
    if head == "[]":
        for item in tree if isinstance(tree, list) else ():
            yield from dig(item, rest)
    elif isinstance(tree, Mapping) and head in tree:
        yield from dig(tree[head], rest)


def take(facts: ScriptFacts, tree: Mapping[str, Any], names: Sequence[Name]) -> None:
    """Put the settings of ``tree`` into ``facts``; several data sets that differ are listed."""
    for name in names:
        found = []
        for raw in dig(tree, name.own.split(".")):
            value = HOW[name.how](raw) if name.how else raw
            if value is not None and value != "" and value not in found:
                found.append(value)
        if len(found) == 1:
            give(facts, name.common, found[0], name.own)
        elif found:
            give(facts, name.common, " / ".join(map(str, found)), name.own)
            facts.warnings.append(f"{name.own} differs between data sets: all values are listed")


def arguments(table: Any, *, without: Sequence[str] = ()) -> str | None:
    """Return the settings of an optimizer as sd-scripts writes them: ``k=v k=v``, sorted."""
    if not isinstance(table, Mapping):
        return None
    words = []
    for key, value in table.items():
        if key in without or value is None or isinstance(value, dict):
            continue
        text = ",".join(map(str, value)) if isinstance(value, list) else str(value)
        words.append(f"{key}={text}")
    return " ".join(sorted(words)) or None


def written(names: Sequence[Name], values: Mapping[str, Value]) -> dict[str, Any]:
    """Return a tree of own names with the values of the common ones: for an experiment plan.

    What a rule changed is written in the common word where it has no way back.
    """
    tree: dict[str, Any] = {}
    for name in names:
        if name.common not in values or values[name.common] is None:
            continue
        parts = name.own.split(".")
        place: Any = tree
        for part, after in zip(parts, [*parts[1:], ""], strict=True):
            if part == "[]":
                continue
            if after == "":
                place.setdefault(part, _back(name.how, values[name.common]))
            elif after == "[]":
                rows = place.setdefault(part, [{}])
                place = rows[0]
            else:
                place = place.setdefault(part, {})
    return tree


def _back(how: str, value: Value) -> Any:
    if how == "not" and isinstance(value, bool):
        return not value
    if how == "thousandths" and isinstance(value, (int, float)):
        return value / 1000
    if how == "dtype" and value == "float":
        return "float32"
    if how == "sizes":
        sides = [part.partition("x") for part in str(value).split(" / ")]
        squares = [int(a) for a, _, b in sides if a == b and a.isdecimal()]
        return (squares if len(squares) > 1 else squares[0]) if squares else value
    return value
