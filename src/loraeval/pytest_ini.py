"""The user's ini settings where pytest itself found none of the project's configuration files.

pytest looks for its configuration above the paths on its command line, and at that time takes the
value of a plugin's option (``--checkpoint /data/run.safetensors``) for such a path. A checkpoint
outside the project would then cost the project's ``lora_*`` settings, or bring those of the project
that it lies in. So there the file at or above the working directory is read for ours. Standard
library only.
"""

from __future__ import annotations

import configparser
import tomllib
from pathlib import Path

FILES = ("pytest.ini", ".pytest.ini", "pyproject.toml", "tox.ini", "setup.cfg")


def settings_above(folder: Path) -> dict[str, str]:
    """Return the ``lora_*`` settings of the first pytest configuration at or above ``folder``.

    Empty where there is none; a file that cannot be read counts as none, as pytest would say
    itself what is wrong with it.
    """
    for place in (folder, *folder.parents):
        for name in FILES:
            section = _section(place / name)
            if section is not None:
                return {k: str(v) for k, v in section.items() if k.startswith("lora_")}
    return {}


def _section(path: Path) -> dict[str, object] | None:
    """Return pytest's own table of a configuration file, None where it holds none."""
    try:
        text = path.read_text(encoding="utf-8")
        if path.suffix == ".toml":
            table = tomllib.loads(text).get("tool", {}).get("pytest", {}).get("ini_options")
            return dict(table) if table is not None else None
        parser = configparser.ConfigParser(interpolation=None)
        parser.read_string(text)
    except (OSError, ValueError, TypeError, AttributeError, RecursionError, configparser.Error):
        return None
    name = "tool:pytest" if path.name == "setup.cfg" else "pytest"
    return dict(parser[name]) if parser.has_section(name) else None
