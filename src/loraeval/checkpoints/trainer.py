"""Which trainer wrote a LoRA file, told from its metadata alone, with the evidence.

A trainer is named only where a key of its own stands in the file. Everything that is claimed
beyond what a file says (a default, a training script) needs a trainer that is known.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from loraeval.checkpoints.configs import MUSUBI_MODULES
from loraeval.checkpoints.trainers import ai_toolkit
from loraeval.outside.text import clean

SD_SCRIPTS = "sd-scripts"
MUSUBI = "musubi-tuner"


@dataclass(frozen=True, slots=True)
class Trainer:
    """``program`` is None where nothing names the trainer; ``version`` None where it is not
    recorded; ``script`` the training script where the metadata leave only one.
    """

    program: str | None
    version: str | None
    evidence: str
    script: str | None = None


_SD_VERSIONS = (
    ("sdxl", "sdxl_train_network.py"), ("sd_v1", "train_network.py"),
    ("sd_v2", "train_network.py"), ("flux", "flux_train_network.py"),
    ("chroma", "flux_train_network.py"), ("sd3", "sd3_train_network.py"),
    ("lumina", "lumina_train_network.py"), ("anima", "anima_train_network.py"),
    ("hunyuan_image", "hunyuan_image_train_network.py"),
)  # fmt: skip


def trainer_of(metadata: Mapping[str, str]) -> Trainer:
    """Return the trainer that the metadata of a file name."""
    version = ai_toolkit.software(metadata)
    if version is not None:
        return Trainer(ai_toolkit.PROGRAM, version or None, "software")
    ot = [key for key in ("ot_revision", "ot_branch", "ot_config") if key in metadata]
    if ot:
        revision = clean(metadata.get("ot_revision") or metadata.get("ot_branch") or "", 40)
        return Trainer("OneTrainer", revision or None, ot[0])
    module = metadata.get("ss_network_module", "")
    if module in MUSUBI_MODULES or "ss_num_train_items" in metadata:
        key = "ss_network_module" if module in MUSUBI_MODULES else "ss_num_train_items"
        return Trainer(MUSUBI, None, key, MUSUBI_MODULES.get(module))
    if "ss_sd_scripts_commit_hash" in metadata or (module and "ss_v2" in metadata) or (
        module.startswith(("networks.", "lycoris.")) and "ss_learning_rate" in metadata
    ):  # fmt: skip
        return _sd_scripts(metadata)
    if "global_step" in metadata and metadata.get("modelspec.implementation") == "diffusers":
        return Trainer("SimpleTuner", None, "global_step and modelspec.implementation")
    if "lora_adapter_metadata" in metadata:
        return Trainer("PEFT, by diffusers", None, "lora_adapter_metadata")
    if any(key.startswith("ss_") for key in metadata):
        return Trainer(None, None, "keys that begin with ss_, as several trainers write them")
    return Trainer(None, None, "no key of a trainer that is known")


def _sd_scripts(metadata: Mapping[str, str]) -> Trainer:
    commit = metadata.get("ss_sd_scripts_commit_hash", "")
    version = commit if commit not in ("", "(unknown)", "None") else None
    base = metadata.get("ss_base_model_version", "")
    script = next((name for start, name in _SD_VERSIONS if base.startswith(start)), None)
    key = "ss_sd_scripts_commit_hash" if commit else "ss_network_module"
    return Trainer(SD_SCRIPTS, clean(version, 60) if version else None, key, script)
