"""``python -m loraeval`` is the command ``loraeval``."""

from loraeval.cli import entry

entry()
