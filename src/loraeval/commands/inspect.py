"""Read a LoRA file without torch: format, family, ranks, scale, what was trained, is it whole.

Reads the header and a few tensors; small files, and any with --verify, are read whole once.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from loraeval.outside.runner import quoted_json

if TYPE_CHECKING:
    from loraeval.checkpoints.anatomy import Anatomy
    from loraeval.checkpoints.parameters import Parameters


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``loraeval inspect``."""
    parser.add_argument("file", type=Path, metavar="FILE", help="a LoRA file (.safetensors)")
    parser.add_argument("--verify", action="store_true", help="read all numbers: hash, NaN, zeros")
    parser.add_argument(
        "--script",
        type=Path,
        metavar="PATH",
        help="the run's script, TOML or GUI JSON, for what is not stored",
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--all", action="store_true", help="every parameter, not stored ones too")


def run(args: argparse.Namespace) -> int:
    """Print what the file is; return 0."""
    from loraeval.checkpoints.anatomy import AUTO_BYTES, anatomy_of
    from loraeval.checkpoints.from_file import parameters_of_anatomy
    from loraeval.checkpoints.header import read_header
    from loraeval.checkpoints.norms import block_norms, norm_lines, norms_json
    from loraeval.checkpoints.scripts import read_script

    facts = read_script(args.script) if args.script is not None else None
    header = read_header(args.file)
    whole = args.verify or header.data_bytes <= AUTO_BYTES
    if whole:
        import numpy  # noqa: F401, ICN001 - the scan of all numbers is faster with it
    anatomy = anatomy_of(header, deep=True if args.verify else None)
    norms = block_norms(header, exact=True if args.verify else None) if whole else None
    parameters = parameters_of_anatomy(anatomy, facts) if anatomy.components else None
    if args.json:
        tree = anatomy_json(anatomy)
        tree["parameters"] = parameters.to_json() if parameters is not None else None
        tree["norms"] = norms_json(norms) if norms is not None else None
        sys.stdout.write(quoted_json(json.dumps(tree, indent=1, ensure_ascii=True)) + "\n")
        return 0
    lines = list(_anatomy_lines(anatomy))
    if norms is not None:
        lines += norm_lines(norms, most=1000 if args.all else 14)
    elif anatomy.components:
        lines.append("moved         not computed for a file of this size; use --verify")
    if parameters is not None:
        lines += parameter_lines(parameters, everything=args.all)
    sys.stdout.write("\n".join(lines) + "\n")
    return 0


def anatomy_json(anatomy: Anatomy) -> dict[str, Any]:
    """Return an anatomy as a JSON object; keys of tables are text."""
    from dataclasses import asdict

    tree = asdict(anatomy)
    tree["path"] = str(anatomy.path)
    tree["module_counts"] = anatomy.module_counts
    tree["trains_text_encoder"] = anatomy.trains_text_encoder
    tree["series_position"] = _position(anatomy)
    for part in tree["components"]:
        for name in ("ranks", "alphas", "scales"):
            part[name] = {str(key): count for key, count in part[name].items()}
    tree.pop("metadata")
    return tree


def _anatomy_lines(anatomy: Anatomy) -> list[str]:
    from loraeval.outside.text import clean

    def row(name: str, text: object) -> str:
        return f"{name:<13} {clean(text, 300)}"

    lines = [
        row("file", f"{anatomy.path.name} ({anatomy.file_bytes:,} bytes)"),
        row("format", f"{anatomy.format}: {anatomy.format_evidence}"),
        row("base", f"{anatomy.family}: {anatomy.family_evidence}"),
        row("trainer", _trainer(anatomy)),
        row("dtype", ", ".join(f"{kind} ({n})" for kind, n in anatomy.dtypes.items()) or "none"),
    ]
    for part in anatomy.components:
        text = f"{part.modules} modules, rank {_histogram(part.ranks)}"
        text += f", alpha {_histogram(part.alphas)}, scale {_histogram(part.scales)}"
        if part.convolutions:
            text += f", {part.convolutions} convolutions"
        trained = {True: "trained", False: "NOT trained (all zero)", None: "training not told"}
        lines.append(row(part.name, f"{text}, {trained[part.trained]}"))
    size = anatomy.size_note
    if anatomy.expected_bytes is not None:
        size = f"{anatomy.expected_bytes:,} bytes expected for these ranks: {size}"
    lines.append(row("size", size))
    recorded = "" if anatomy.hash_state != "not checked" else " (use --verify)"
    lines.append(row("hash", f"sshs_model_hash {anatomy.hash_state}{recorded}"))
    looked = "all tensors" if anatomy.checked == "all" else "a sample of tensors"
    bad = (
        f"{len(anatomy.nonfinite)} tensors with NaN or infinity" if anatomy.nonfinite else "finite"
    )
    lines.append(row("numbers", f"{bad} ({looked} read)"))
    position = _position(anatomy)
    if position:
        lines.append(row("series", position))
    changed = (("resized", anatomy.resized), ("merged", anatomy.merged))
    lines += [row(name, text) for name, text in changed if text]
    if anatomy.unsupported:
        lines.append(row("not rendered", f"{len(anatomy.unsupported)} keys of a kind that is not "
                         f"merged, such as {anatomy.unsupported[0]}"))  # fmt: skip
    if anatomy.unknown_keys:
        lines.append(row("unknown keys", f"{len(anatomy.unknown_keys)}, such as "
                         f"{anatomy.unknown_keys[0]}"))  # fmt: skip
    lines += [row("note", note) for note in anatomy.notes]
    folder = anatomy.path.parent
    beside = sorted(p.name for p in folder.glob("config_lora-*.toml"))
    beside += [name for name in ("adapter_config.json",) if (folder / name).is_file()]
    if beside:
        lines.append(row("note", f"{beside[-1]} lies beside it: give it with --script"))
    return lines


def _trainer(anatomy: Anatomy) -> str:
    from loraeval.checkpoints.trainer import trainer_of

    found = trainer_of(anatomy.metadata)
    if found.program is None:
        return f"not known ({found.evidence}): nothing is claimed beyond what stands in the file"
    version = f" {found.version}" if found.version else ", version not recorded"
    return f"{found.program}{version} ({found.evidence})"


def _histogram(table: Any) -> str:
    if not table:
        return "none"
    if len(table) == 1:
        return f"{next(iter(table)):g}"
    return ", ".join(f"{value:g} ({count})" for value, count in table.items())


def _position(anatomy: Anatomy) -> str | None:
    """Where the file stands in its run, from its own metadata and its name."""
    from loraeval.checkpoints.series import describe_position

    return describe_position(anatomy.path, anatomy.metadata)


def parameter_lines(parameters: Parameters, *, everything: bool) -> list[str]:
    """Return the parameters of one run as lines: value and source, group by group."""
    from loraeval.checkpoints.table import GROUPS, spec_of
    from loraeval.checkpoints.values import shown_as
    from loraeval.outside.text import clean

    lines: list[str] = []
    width = max((len(name) for name in parameters.values), default=0)
    rows = [(spec_of(name), name, entry) for name, entry in parameters.values.items()]
    for group, title in GROUPS.items():
        chosen = [
            (name, entry) for spec, name, entry in rows
            if spec.group == group and (everything or entry.source not in ("default", "not stored"))
        ]  # fmt: skip
        if chosen:
            lines += ["", title]
        for name, entry in chosen:
            value = clean(shown_as(name, entry.value), 44) if entry.known else "?"
            lines.append(f"  {name:<{width}} {value:<22} {entry.source}: {clean(entry.detail, 80)}")
            for claim in entry.conflicts:
                told = f"{clean(claim.source)} says {clean(shown_as(name, claim.value), 44)}"
                lines.append(f"  {'':<{width}} but {told} ({clean(claim.detail)})")
    if parameters.not_stored and not everything:
        count = len(parameters.not_stored)
        more = "--all lists them, and the run's script tells them: --script PATH"
        lines += ["", f"{count} more parameters are not known from this; {more}"]
    lines += [f"warning: {clean(text, 300)}" for text in parameters.warnings]
    lines += [
        f"no effect: {clean(name)} ({clean(why)})" for name, why in parameters.ignored.items()
    ]
    return lines
