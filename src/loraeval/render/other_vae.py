"""A VAE of its own beside a base model: a single file, or a folder of diffusers."""

from __future__ import annotations

import hashlib
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from loraeval.errors import CheckpointError
from loraeval.outside.text import clean
from loraeval.records import digest_of
from loraeval.render.base_configs import write_configs

if TYPE_CHECKING:
    from loraeval.render.store import Store

_WEIGHTS = "diffusion_pytorch_model.safetensors"


def other_vae_hash(path: Path, store: Store | None = None) -> str:
    """Return what stands for a VAE in a recipe: the SHA-256 of its file, or of its configuration
    and weights. Raises ``CheckpointError`` where there is none to load.
    """
    from loraeval.checkpoints.header import file_sha256, read_header

    sha256 = store.file_sha256 if store is not None else file_sha256
    if path.is_dir():
        files = [path / "config.json", path / _WEIGHTS]
        missing = [item.name for item in files if not item.is_file()]
        if missing:
            raise CheckpointError(
                f"{clean(path)}: expected the folder of a VAE with config.json and {_WEIGHTS}, "
                f"found no {missing[0]}"
            )
        rows = [[item.name, sha256(item)] for item in files]
        return hashlib.sha256(digest_of(rows).encode()).hexdigest()
    if not path.is_file() or path.suffix != ".safetensors":
        raise CheckpointError(f"{clean(path)}: expected a VAE as .safetensors or a folder")
    names = read_header(path).tensors
    if not any(name.startswith(("decoder.", "first_stage_model.decoder.")) for name in names):
        raise CheckpointError(f"{clean(path)}: expected a VAE, found no decoder in it")
    return sha256(path)


def load_other_vae(path: Path, family: str, dtype: Any) -> Any:
    """Return the VAE at ``path``; a single file has the widths of ``family``'s own."""
    from loraeval.render.sd_load import import_diffusers

    kind = import_diffusers().AutoencoderKL
    options = {"torch_dtype": dtype, "local_files_only": True}
    if path.is_dir():
        return kind.from_pretrained(path, use_safetensors=True, **options)
    with tempfile.TemporaryDirectory() as folder:
        config = str(write_configs(Path(folder), family))
        return kind.from_single_file(str(path), config=config, subfolder="vae", **options)
