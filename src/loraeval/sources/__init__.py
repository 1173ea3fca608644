"""Images that exist already: manifests and folders taken to renders."""

from loraeval.sources.folders import find_renders
from loraeval.sources.manifest import read_renders

__all__ = ["find_renders", "read_renders"]
