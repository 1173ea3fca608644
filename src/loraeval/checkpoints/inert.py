"""Parameters that have no effect in a run because another one switches them off."""

from __future__ import annotations

from collections.abc import Callable

from loraeval.checkpoints.parameters import Parameters
from loraeval.checkpoints.values import Value, number
from loraeval.families import of_training


def _off(value: Value) -> bool:
    return value is None or value is False or value == "" or number(value) == 0


def _needs(*names: str) -> Callable[[Parameters], str | None]:
    """Inert where every one of ``names`` is known to be off."""

    def rule(run: Parameters) -> str | None:
        if all(run.known(name) and _off(run[name]) for name in names if name in run.values):
            known = [name for name in names if name in run.values]
            return f"{' and '.join(known)} off" if known else None
        return None

    return rule


def _needs_value(name: str, *values: str) -> Callable[[Parameters], str | None]:
    """Inert where ``name`` is known and none of ``values``."""

    def rule(run: Parameters) -> str | None:
        if run.known(name) and str(run[name]) not in values:
            return f"{name} is {run[name]}"
        return None

    return rule


def _bucket_size(run: Parameters) -> str | None:
    reason = _needs("enable_bucket")(run)
    if reason is None and run["bucket_no_upscale"] is True:
        return "bucket_no_upscale ignores it"
    return reason


def _prior(run: Parameters) -> str | None:
    if run.known("num_reg_images") and number(run["num_reg_images"]) == 0:
        return "no regularization images"
    return _needs("reg_data_dir")(run) if not run.known("num_reg_images") else None


def _fallback_rate(run: Parameters) -> str | None:
    if run["unet_lr"] is not None and run["text_encoder_lr"] is not None:
        return "unet_lr and text_encoder_lr are both given"
    return None


def _clip_skip(run: Parameters) -> str | None:
    family = of_training(run["base_model_version"] or run["training_script"])
    if family is None or family.training is None or family.training.clip_skip:
        return None
    return f"{family.title} ignores it"


def _text_rate(run: Parameters) -> str | None:
    return "only the UNet was trained" if run["network_train_unet_only"] is True else None


def _steps(run: Parameters) -> str | None:
    if run.values.get("max_train_steps") and run.values["max_train_steps"].source == "recorded":
        return None
    return "max_train_epochs decides" if run["max_train_epochs"] is not None else None


_HUBER = _needs_value("loss_type", "huber", "smooth_l1")
_SHUFFLE = _needs("shuffle_caption", "caption_tag_dropout_rate", "token_warmup_step")

RULES: dict[str, Callable[[Parameters], str | None]] = {
    "keep_tokens": _SHUFFLE,
    "keep_tokens_separator": _SHUFFLE,
    "token_warmup_min": _needs("token_warmup_step"),
    "bucket_reso_steps": _needs("enable_bucket"),
    "bucket_no_upscale": _needs("enable_bucket"),
    "min_bucket_reso": _bucket_size,
    "max_bucket_reso": _bucket_size,
    "multires_noise_discount": _needs("multires_noise_iterations"),
    "adaptive_noise_scale": _needs("noise_offset"),
    "noise_offset_random_strength": _needs("noise_offset"),
    "ip_noise_gamma_random_strength": _needs("ip_noise_gamma"),
    "huber_schedule": _HUBER,
    "huber_c": _HUBER,
    "huber_scale": _HUBER,
    "prior_loss_weight": _prior,
    "lr_scheduler_num_cycles": _needs_value(
        "lr_scheduler", "cosine_with_restarts", "cosine_with_min_lr", "warmup_stable_decay"
    ),
    "lr_scheduler_power": _needs_value("lr_scheduler", "polynomial"),
    "lr_scheduler_timescale": _needs_value("lr_scheduler", "inverse_sqrt"),
    "lr_scheduler_min_lr_ratio": _needs_value(
        "lr_scheduler", "cosine_with_min_lr", "warmup_stable_decay"
    ),
    "learning_rate": _fallback_rate,
    "text_encoder_lr": _text_rate,
    "clip_skip": _clip_skip,
    "max_train_steps": _steps,
    "scale_v_pred_loss_like_noise_pred": _needs("v_parameterization"),
    "base_weights_multiplier": _needs("base_weights"),
}
"""Parameter name to the rule that says why it has no effect in a run, None where it has."""


def inert_reason(name: str, run: Parameters) -> str | None:
    """Return why ``name`` has no effect in ``run``, None where it has or that is not known."""
    rule = RULES.get(name)
    return rule(run) if rule is not None else None
