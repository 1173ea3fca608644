"""Prompt sets and the caption grammar."""

from loraeval.prompts.caption import parse_caption
from loraeval.prompts.sets import read_prompts

__all__ = ["parse_caption", "read_prompts"]
