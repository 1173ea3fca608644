"""Images that exist already: manifests and folders taken to renders."""

from loraeval.sources.folders import find_renders
from loraeval.sources.manifest import read_renders
from loraeval.sources.problems import problem_words

__all__ = ["find_renders", "problem_words", "read_renders"]
