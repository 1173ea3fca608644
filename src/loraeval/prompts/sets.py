"""Reading prompt sets, in every form that people have them."""

from __future__ import annotations

import difflib
import re
from pathlib import Path

from loraeval.errors import PromptError
from loraeval.outside.text import MAX_FILE_BYTES, clean, read_text
from loraeval.prompts.image_metadata import parse_csv
from loraeval.prompts.json_lines import parse_json_lines
from loraeval.prompts.kohya_folder import read_caption_folder
from loraeval.prompts.limits import MAX_MANIFEST_BYTES
from loraeval.prompts.sample_lines import parse_sample_lines
from loraeval.prompts.sample_tables import parse_json
from loraeval.prompts.toml_file import parse_toml
from loraeval.records import PromptSet

_PARSERS = {
    ".toml": parse_toml,
    ".jsonl": parse_json_lines,
    ".ndjson": parse_json_lines,
    ".txt": parse_sample_lines,
    ".json": parse_json,
    ".csv": parse_csv,
}


def read_prompts(path_or_name: str | Path) -> PromptSet:
    """Read a prompt set.

    ``path_or_name`` is the name of a set that ``prompts/NAME.toml`` holds (in the working folder,
    else among loraeval's own), a TOML file, a folder of images with captions, a JSON Lines file
    (of prompts, a renders manifest, or an image folder's metadata, also as CSV), a ``.txt`` file
    of sd-scripts' or A1111's prompts, or trainers' sample prompts in TOML and JSON. Raises
    ``PromptError`` with file and place for whatever is not a prompt set.
    """
    path = Path(path_or_name)
    try:
        exists = path.exists()
    except (OSError, ValueError):  # a name too long, a NUL
        exists = False
    named = _named(str(path_or_name)) if isinstance(path_or_name, str) else None
    if named is not None and not path.is_file():  # a set called as a folder here wins over it
        path = named
    elif not exists:
        raise _unknown(str(path_or_name))
    if path.is_dir():
        return read_caption_folder(path)
    parse = _PARSERS.get(path.suffix.lower())
    if parse is None:
        raise PromptError(
            f"{clean(path)}: expected a prompt set: a .toml, .jsonl, .json, .csv or .txt file, "
            "or a folder of captioned images"
        )
    most = MAX_MANIFEST_BYTES if parse is parse_json_lines else MAX_FILE_BYTES
    return parse(read_text(path, PromptError, most), path.stem, clean(path))


def prompt_folders() -> list[Path]:
    """Return the folders where sets are looked up by name: the user's own, then loraeval's."""
    here = Path(__file__).resolve()
    places = [Path("prompts"), here.parent / "data", here.parents[3] / "prompts"]
    return [place for place in places if place.is_dir()]


def _named(name: str) -> Path | None:
    if re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", name):
        for folder in prompt_folders():
            path = folder / f"{name}.toml"
            if path.is_file():
                return path
    return None


def _unknown(name: str) -> PromptError:
    sets = sorted({path.stem for folder in prompt_folders() for path in folder.glob("*.toml")})
    close = difflib.get_close_matches(name[:100], sets, n=1)
    hint = f"did you mean {close[0]}?" if close else f"known sets: {', '.join(sets) or 'none'}"
    return PromptError(f"{clean(name)}: no such prompt set, neither a path nor a name; {hint}")
