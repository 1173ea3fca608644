"""From checked fields to ``Prompt`` and ``PromptSet``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache

from loraeval.errors import PromptError
from loraeval.outside.text import clean
from loraeval.prompts.caption import parse_caption
from loraeval.prompts.limits import (
    MAX_PROMPTS,
    MAX_TAGS,
    OVERRIDES,
    check_id,
    check_override,
    check_text,
)
from loraeval.records import Caption, Prompt, PromptSet


@lru_cache(maxsize=1024)
def caption_of(text: str) -> Caption:
    """Return ``parse_caption(text)``; the same text recurs once an epoch in a manifest."""
    return parse_caption(text)


def build_prompt(
    where: str, *, prompt_id: object, text: object, negative: object = "", tags: object = (),
    overrides: Mapping[str, object] | None = None, empty: bool = False,
) -> Prompt:  # fmt: skip
    """Return a prompt of checked fields; raise ``PromptError`` starting with ``where``."""
    words = check_text(text, where, empty=empty).strip()
    if not isinstance(tags, (list, tuple)) or len(tags) > MAX_TAGS:
        raise PromptError(f"{where}: tags must be a list of at most {MAX_TAGS} words")
    return Prompt(
        id=check_id(prompt_id, where),
        text=words,
        caption=caption_of(words),
        negative=check_text(negative or "", where, "negative", empty=True).strip(),
        tags=tuple(check_text(tag, where, "a tag") for tag in tags),
        overrides={
            key: check_override(key, value, where)
            for key in OVERRIDES
            if (value := (overrides or {}).get(key)) is not None
        },
    )


def build_set(
    name: str, prompts: Iterable[Prompt], where: str, notes: tuple[str, ...] = ()
) -> PromptSet:
    """Return the prompts as a set; raise ``PromptError`` for none, too many, or a double id."""
    seen: dict[str, Prompt] = {}
    for prompt in prompts:
        if prompt.id in seen:
            raise PromptError(
                f"{where}: two prompts have the id {clean(repr(prompt.id))}; give each its own"
            )
        seen[prompt.id] = prompt
        if len(seen) > MAX_PROMPTS:
            raise PromptError(f"{where}: more than {MAX_PROMPTS} prompts; split the set")
    if not seen:
        raise PromptError(f"{where}: expected at least one prompt, found none")
    return PromptSet(name, tuple(seen.values()), notes)
