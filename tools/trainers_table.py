"""Write the table of docs/training-parameters.md: which trainer's what is read, by whose name.

python tools/trainers_table.py            # prints it
python tools/trainers_table.py --write    # puts it between the page's marks
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from pathlib import Path

from loraeval.checkpoints.table import parameter_table, training_scripts, version_read
from loraeval.checkpoints.trainers import ai_toolkit, diffusion_pipe, onetrainer, peft, simpletuner
from loraeval.checkpoints.trainers.names import Name

PAGE = Path(__file__).resolve().parent.parent / "docs" / "training-parameters.md"
BEGIN, END = "<!-- trainers:begin -->\n", "<!-- trainers:end -->"

ROWS = (
    "network_dim", "network_alpha", "adapter", "learning_rate", "unet_lr", "text_encoder_lr",
    "optimizer_type", "lr_scheduler", "lr_warmup_steps", "max_train_steps", "max_train_epochs",
    "train_batch_size", "gradient_accumulation_steps", "resolution", "mixed_precision",
    "save_precision", "noise_offset", "min_snr_gamma", "min_timestep", "timestep_sampling",
    "discrete_flow_shift", "caption_extension", "caption_dropout_rate", "shuffle_caption",
    "keep_tokens", "repeats", "pretrained_model_name_or_path", "seed",
)  # fmt: skip
"""Parameters in the order of the table."""

COLUMNS: tuple[tuple[str, tuple[Name, ...]], ...] = (
    ("ai-toolkit", ai_toolkit.NAMES),
    ("OneTrainer", onetrainer.NAMES),
    ("SimpleTuner", simpletuner.NAMES),
    ("diffusion-pipe", (*diffusion_pipe.NAMES, *diffusion_pipe.DATASET_NAMES)),
    ("diffusers' examples", peft.DIFFUSERS_NAMES),
    ("PEFT", peft.NAMES),
)


def table() -> str:
    """Return the table and the lines above it."""
    scripts = training_scripts().values()
    lines = []
    for program in ("sd-scripts", "musubi-tuner"):
        names = sorted(s.name.removesuffix("_train_network.py") for s in scripts
                       if s.program == program)  # fmt: skip
        names = ["train_network" if name == "train_network.py" else name for name in names]
        flags = {flag for s in scripts if s.program == program for flag in s.flags}
        lines.append(f"- {program} {version_read(program)}: {len(flags)} flags of "
                     f"{len(names)} training scripts ({', '.join(names)}).")  # fmt: skip
    lines += ["", "| parameter | " + " | ".join(name for name, _ in COLUMNS) + " |"]
    lines.append("| --- " * (len(COLUMNS) + 1) + "|")
    assert all(name in parameter_table() for name in ROWS)
    for row in ROWS:
        cells = [_own(names, row) for _, names in COLUMNS]
        lines.append(f"| {row} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _own(names: Iterable[Name], common: str) -> str:
    found = [f"`{name.own.replace('[].', '')}`" for name in names if name.common == common]
    return ", ".join(dict.fromkeys(found)) or "–"


def main() -> None:
    """Print the table, or write it into the page."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--write", action="store_true", help="into docs/training-parameters.md")
    if not parser.parse_args().write:
        print(table(), end="")
        return
    page = PAGE.read_text("utf-8")
    head, _, rest = page.partition(BEGIN)
    PAGE.write_text(f"{head}{BEGIN}{table()}{END}{rest.partition(END)[2]}", "utf-8")


if __name__ == "__main__":
    main()
