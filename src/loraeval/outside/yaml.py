"""YAML from strangers, parsed within bounds of time and memory."""

from __future__ import annotations

from typing import Any

MAX_DEPTH = 30
MAX_NODES = 50_000


def loads(text: str) -> Any:
    """Return what ``text`` holds: plain values, lists and tables, never objects.

    Raises ``ValueError`` in one line for what is not YAML, for a node that points at another one
    (an alias: a few lines of them can stand for billions of values), for a key that stands twice,
    for tags, and for nesting too deep. Numbers without a point (``1e-4``) stay text, as the
    format's version 1.1 has them.
    """
    import yaml

    count = depth = 0
    try:
        for event in yaml.parse(text, Loader=yaml.SafeLoader):
            count += 1
            if isinstance(event, yaml.AliasEvent):
                raise ValueError("an alias (*name); write the value itself")
            if isinstance(event, (yaml.MappingStartEvent, yaml.SequenceStartEvent)):
                depth += 1
            elif isinstance(event, (yaml.MappingEndEvent, yaml.SequenceEndEvent)):
                depth -= 1
            if depth > MAX_DEPTH or count > MAX_NODES:
                raise ValueError("it is nested too deeply or too long")
        loader = _loader()(text)
        try:
            return loader.get_single_data()
        finally:
            loader.dispose()
    except (yaml.YAMLError, RecursionError, OverflowError) as error:
        raise ValueError(str(error).replace("\n", " ")[:200] or "it is not YAML") from error


def _loader() -> Any:
    """Return a loader that refuses keys that stand twice: readers would differ on them."""
    import yaml

    class Loader(yaml.SafeLoader):  # type: ignore[misc]
        def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
            keys = [key.value for key, _ in node.value]
            if len({str(key) for key in keys}) < len(keys):
                raise ValueError("a key stands twice in a table")
            found: dict[Any, Any] = super().construct_mapping(node, deep)
            return found

    return Loader
