"""What a base model predicts, the noise or the velocity, and whether its noise ends in pure noise.

A folder says it in its scheduler's configuration. A single file says it by the marker tensors
``v_pred`` and ``ztsnr``, or by ``modelspec.prediction_type`` in its metadata. Nothing in the
weights tells: read wrongly, images come out with burnt colours and look healthy to a machine.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loraeval.errors import CheckpointError, UsageError
from loraeval.outside.text import clean
from loraeval.render.samplers import OPTIONS

EPSILON, VELOCITY = "epsilon", "v_prediction"
ZERO_SNR = "rescale_betas_zero_snr"
_SAID = {"epsilon": EPSILON, "v": VELOCITY, "v_prediction": VELOCITY, "eps": EPSILON}
_WORDS = {EPSILON: "the noise (epsilon)", VELOCITY: "the velocity (v-prediction)"}


@dataclass(frozen=True, slots=True)
class Prediction:
    """``kind`` is ``epsilon`` or ``v_prediction``; ``zero_snr``: trained with zero terminal SNR.
    ``spacing`` is how timesteps are to be spaced. None where nothing says so.
    """

    kind: str | None = None
    zero_snr: bool | None = None
    spacing: str | None = None


def of_single_file(names: Mapping[str, Any], metadata: Mapping[str, str], where: str) -> Prediction:
    """Return what a single file says of itself. Raises ``CheckpointError`` where its tensors and
    its metadata contradict each other.
    """
    said = _SAID.get(metadata.get("modelspec.prediction_type", "").lower())
    marked = VELOCITY if "v_pred" in names else None
    if marked and said == EPSILON:
        raise CheckpointError(
            f"{clean(where)}: the marker tensor v_pred says that it predicts the velocity, its "
            "modelspec.prediction_type says epsilon; set prediction_type in the recipe's "
            "scheduler_options to the one that is right"
        )
    if "ztsnr" not in names:
        return Prediction(marked or said)
    # A schedule that ends in pure noise begins there: the last timestep must be the first.
    return Prediction(marked or said, zero_snr=True, spacing="trailing")


def of_lora(metadata: Mapping[str, str]) -> Prediction:
    """Return what a LoRA's metadata say that it was trained for."""
    said = _SAID.get(metadata.get("modelspec.prediction_type", "").lower())
    flag = metadata.get("ss_v_parameterization", "").lower()
    if flag in ("true", "false") and (flag == "true" or said is None):
        said = VELOCITY if flag == "true" else EPSILON
    zero = {"true": True, "false": False}.get(metadata.get("ss_zero_terminal_snr", "").lower())
    return Prediction(said, zero)


def of_options(options: Mapping[str, Any]) -> Prediction:
    """Return what options of a scheduler say."""
    kind, zero = options.get("prediction_type"), options.get(ZERO_SNR)
    return Prediction(None if kind is None else str(kind), None if zero is None else bool(zero))


def scheduler_options(
    base: Prediction, options: Mapping[str, Any], scheduler: str
) -> dict[str, Any]:
    """Return the options of a recipe with what the base model says filled in; the recipe's own go
    first.

    Raises ``UsageError`` where the scheduler has no zero terminal SNR and the base model needs it.
    """
    filled = dict(options)
    if base.kind is not None:
        filled.setdefault("prediction_type", base.kind)
    if base.zero_snr:
        filled.setdefault(ZERO_SNR, True)
        if filled[ZERO_SNR] and scheduler != "base" and ZERO_SNR not in OPTIONS[scheduler]:
            able = sorted(name for name, known in OPTIONS.items() if ZERO_SNR in known)
            raise UsageError(
                "the base model was trained with zero terminal SNR, which diffusers' "
                f"{scheduler} cannot render; set scheduler to one of {', '.join(able)}"
            )
        if base.spacing and (scheduler == "base" or "timestep_spacing" in OPTIONS[scheduler]):
            filled.setdefault("timestep_spacing", base.spacing)
    return filled


def compare(lora: Prediction, base: Prediction, name: str, *, chosen: bool) -> str | None:
    """Return the line to say where a LoRA was trained for another prediction than it is rendered
    with, None where nothing differs or nothing is known.

    Raises ``CheckpointError`` for another kind of prediction, unless the recipe ``chosen`` it.
    """
    kind = base.kind or EPSILON
    if lora.kind is not None and lora.kind != kind:
        text = (
            f"{clean(name)}: trained on a base model that predicts {_WORDS[lora.kind]}, rendered "
            f"on one that predicts {_WORDS.get(kind, kind)}"
        )
        if not chosen:
            raise CheckpointError(
                f"{text}; name its own base model, or set prediction_type in the recipe's "
                "scheduler_options"
            )
        return text
    if lora.zero_snr and not base.zero_snr:
        return f"{clean(name)}: trained with zero terminal SNR, rendered without it"
    return None


def of_file(path: Path) -> Prediction:
    """Return what a single safetensors file says of itself; nothing for another format."""
    if path.suffix != ".safetensors":
        return Prediction()
    from loraeval.checkpoints.header import read_header

    header = read_header(path)
    return of_single_file(header.tensors, header.metadata, str(path))
