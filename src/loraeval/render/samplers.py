"""Samplers by the names that people use, and what each of diffusers' schedulers can be told.

A recipe names a sampler as ComfyUI does (``dpmpp_2m_karras``: the sampler, then its noise
schedule), as A1111 does (``DPM++ 2M Karras``), as sd-scripts does (``k_euler_a``), or by diffusers'
class. All of them come to a class and its options, so that one sampler has one digest whatever it
was called. Pure; a test holds the options to diffusers' own.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from loraeval.errors import UsageError


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_COMMON = _words(
    "num_train_timesteps beta_start beta_end beta_schedule trained_betas prediction_type"
)
OPTIONS: dict[str, frozenset[str]] = {
    "DPMSolverMultistepScheduler": _COMMON
    | _words(
        "solver_order thresholding dynamic_thresholding_ratio sample_max_value algorithm_type "
        "solver_type lower_order_final euler_at_final use_karras_sigmas use_exponential_sigmas "
        "use_beta_sigmas use_lu_lambdas use_flow_sigmas flow_shift final_sigmas_type "
        "lambda_min_clipped variance_type timestep_spacing steps_offset rescale_betas_zero_snr "
        "use_dynamic_shifting time_shift_type"
    ),
    "DPMSolverSinglestepScheduler": _COMMON
    | _words(
        "solver_order thresholding dynamic_thresholding_ratio sample_max_value algorithm_type "
        "solver_type lower_order_final use_karras_sigmas use_exponential_sigmas use_beta_sigmas "
        "use_flow_sigmas flow_shift final_sigmas_type lambda_min_clipped variance_type "
        "use_dynamic_shifting time_shift_type"
    ),
    "DDIMScheduler": _COMMON
    | _words(
        "clip_sample set_alpha_to_one steps_offset thresholding dynamic_thresholding_ratio "
        "clip_sample_range sample_max_value timestep_spacing rescale_betas_zero_snr"
    ),
    "DDPMScheduler": _COMMON
    | _words(
        "variance_type clip_sample thresholding dynamic_thresholding_ratio clip_sample_range "
        "sample_max_value timestep_spacing steps_offset rescale_betas_zero_snr"
    ),
    "EulerDiscreteScheduler": _COMMON
    | _words(
        "interpolation_type use_karras_sigmas use_exponential_sigmas use_beta_sigmas sigma_min "
        "sigma_max timestep_spacing timestep_type steps_offset rescale_betas_zero_snr "
        "final_sigmas_type"
    ),
    "EulerAncestralDiscreteScheduler": _COMMON
    | _words("timestep_spacing steps_offset rescale_betas_zero_snr"),
    "HeunDiscreteScheduler": _COMMON
    | _words(
        "use_karras_sigmas use_exponential_sigmas use_beta_sigmas clip_sample clip_sample_range "
        "timestep_spacing steps_offset"
    ),
    "LMSDiscreteScheduler": _COMMON
    | _words(
        "use_karras_sigmas use_exponential_sigmas use_beta_sigmas timestep_spacing steps_offset"
    ),
    "PNDMScheduler": _COMMON
    | _words("skip_prk_steps set_alpha_to_one timestep_spacing steps_offset"),
    "UniPCMultistepScheduler": _COMMON
    | _words(
        "solver_order thresholding dynamic_thresholding_ratio sample_max_value predict_x0 "
        "solver_type lower_order_final disable_corrector solver_p use_karras_sigmas "
        "use_exponential_sigmas use_beta_sigmas use_flow_sigmas flow_shift timestep_spacing "
        "steps_offset final_sigmas_type rescale_betas_zero_snr use_dynamic_shifting "
        "time_shift_type sigma_min sigma_max shift_terminal"
    ),
    "DEISMultistepScheduler": _COMMON
    | _words(
        "solver_order thresholding dynamic_thresholding_ratio sample_max_value algorithm_type "
        "solver_type lower_order_final use_karras_sigmas use_exponential_sigmas use_beta_sigmas "
        "use_flow_sigmas flow_shift timestep_spacing steps_offset use_dynamic_shifting "
        "time_shift_type"
    ),
    "KDPM2DiscreteScheduler": _COMMON
    | _words(
        "use_karras_sigmas use_exponential_sigmas use_beta_sigmas timestep_spacing steps_offset"
    ),
    "KDPM2AncestralDiscreteScheduler": _COMMON
    | _words(
        "use_karras_sigmas use_exponential_sigmas use_beta_sigmas timestep_spacing steps_offset"
    ),
    "LCMScheduler": _COMMON
    | _words(
        "original_inference_steps clip_sample clip_sample_range set_alpha_to_one steps_offset "
        "thresholding dynamic_thresholding_ratio sample_max_value timestep_spacing "
        "timestep_scaling rescale_betas_zero_snr"
    ),
    "TCDScheduler": _COMMON
    | _words(
        "original_inference_steps clip_sample clip_sample_range set_alpha_to_one steps_offset "
        "thresholding dynamic_thresholding_ratio sample_max_value timestep_spacing "
        "timestep_scaling rescale_betas_zero_snr"
    ),
}
"""Options by scheduler class, of diffusers 0.42; ``base`` in a recipe takes the scheduler of the
base model's own configuration instead."""

_2M, _2S = "DPMSolverMultistepScheduler", "DPMSolverSinglestepScheduler"


@dataclass(frozen=True, slots=True)
class Sampler:
    """A class of diffusers with its options; ``noisy``: its steps draw noise, which is seeded by
    image; ``aliases`` are other names of it, written as ``plain`` does.
    """

    scheduler: str
    options: Mapping[str, Any]
    aliases: tuple[str, ...] = ()
    noisy: bool = False


SAMPLERS: dict[str, Sampler] = {
    "euler": Sampler("EulerDiscreteScheduler", {}),
    "euler_a": Sampler("EulerAncestralDiscreteScheduler", {}, ("euler_ancestral",), noisy=True),
    "heun": Sampler("HeunDiscreteScheduler", {}),
    "lms": Sampler("LMSDiscreteScheduler", {}),
    "ddim": Sampler("DDIMScheduler", {}),
    "ddpm": Sampler("DDPMScheduler", {}, noisy=True),
    "pndm": Sampler("PNDMScheduler", {}, ("plms",)),
    "dpm_2": Sampler("KDPM2DiscreteScheduler", {}, ("dpm2",)),
    "dpm_2_a": Sampler(
        "KDPM2AncestralDiscreteScheduler", {}, ("dpm2_a", "dpm_2_ancestral"), noisy=True
    ),
    "dpmsolver": Sampler(
        _2M, {"algorithm_type": "dpmsolver", "final_sigmas_type": "sigma_min"}
    ),
    "dpmpp_2m": Sampler(_2M, {}, ("dpmsolverpp",)),
    "dpmpp_2m_sde": Sampler(
        _2M, {"algorithm_type": "sde-dpmsolver++"}, ("dpmpp_2m_sde_gpu",), noisy=True
    ),
    "dpmpp_3m_sde": Sampler(
        _2M, {"algorithm_type": "sde-dpmsolver++", "solver_order": 3}, ("dpmpp_3m_sde_gpu",),
        noisy=True,
    ),
    "dpmpp_2s": Sampler(_2S, {}, ("dpmsingle",)),
    "dpmpp_sde": Sampler(
        _2S, {"algorithm_type": "sde-dpmsolver++"}, ("dpmpp_sde_gpu",), noisy=True
    ),
    "uni_pc": Sampler(
        "UniPCMultistepScheduler", {"solver_type": "bh1", "final_sigmas_type": "sigma_min"},
        ("unipc",),
    ),
    "uni_pc_bh2": Sampler("UniPCMultistepScheduler", {"solver_type": "bh2"}),
    "deis": Sampler("DEISMultistepScheduler", {}),
    "lcm": Sampler("LCMScheduler", {}, noisy=True),
    "tcd": Sampler("TCDScheduler", {}, noisy=True),
}  # fmt: skip
"""Samplers by ComfyUI's names. The two that end at the smallest noise level divide by the last."""

SCHEDULES: dict[str, Mapping[str, Any]] = {
    "karras": {"use_karras_sigmas": True},
    "exponential": {"use_exponential_sigmas": True},
    "beta": {"use_beta_sigmas": True},
    "normal": {"timestep_spacing": "linspace"},
    "sgm_uniform": {"timestep_spacing": "trailing"},
    "simple": {"timestep_spacing": "trailing"},
}
"""Noise schedules by name, as diffusers' documentation maps them."""

NOISY = frozenset(sampler.scheduler for sampler in SAMPLERS.values() if sampler.noisy) - {_2M, _2S}
_NAMES = {name: name for name in SAMPLERS} | {
    alias: name for name, sampler in SAMPLERS.items() for alias in sampler.aliases
}


def plain(name: str) -> str:
    """Return a name in small letters as ComfyUI writes it.

    >>> plain("DPM++ 2M Karras"), plain("k_euler_a"), plain("SGM Uniform")
    ('dpmpp_2m_karras', 'euler_a', 'sgm_uniform')
    """
    return re.sub(r"[\s\-]+", "_", name.strip().lower().replace("++", "pp")).removeprefix("k_")


def resolve_sampler(
    name: str, options: Mapping[str, Any], where: str = "recipe"
) -> tuple[str, dict[str, Any]]:
    """Return the class and the options that a recipe's ``scheduler`` and ``scheduler_options`` come
    to; an option of the recipe goes before one of the name.

    >>> resolve_sampler("DPM++ 2M Karras", {})
    ('DPMSolverMultistepScheduler', {'use_karras_sigmas': True})

    Raises ``UsageError`` that starts with ``where`` for an unknown name, a noise schedule that this
    sampler does not have in diffusers, and options that the class does not take.
    """
    given = dict(options)
    if name == "base":
        return name, given
    if name in OPTIONS:
        return name, _checked(name, given, where)
    text = plain(str(name))
    schedule = next((word for word in SCHEDULES if text.endswith(f"_{word}")), None)
    stem = text.removesuffix(f"_{schedule}") if schedule else text
    if stem not in _NAMES:
        near = difflib.get_close_matches(text, [*_NAMES, *OPTIONS], 1)
        hint = f"did you mean {near[0]}" if near else f"known are {', '.join(SAMPLERS)}"
        raise UsageError(f"{where}: unknown sampler {name!r}; {hint}")
    sampler = SAMPLERS[_NAMES[stem]]
    named = {**sampler.options, **(SCHEDULES[schedule] if schedule else {})}
    missing = sorted(set(named) - OPTIONS[sampler.scheduler])
    if missing:
        raise UsageError(
            f"{where}: diffusers' {sampler.scheduler} has no {missing[0]}, so {stem} cannot be "
            f"combined with {schedule}; take another schedule or sampler"
        )
    return sampler.scheduler, _checked(sampler.scheduler, {**named, **given}, where)


def draws_noise(scheduler: str, options: Mapping[str, Any]) -> bool:
    """Return whether the steps of a class with its options draw noise."""
    return scheduler in NOISY or str(options.get("algorithm_type", "")).startswith("sde")


def _checked(scheduler: str, options: dict[str, Any], where: str) -> dict[str, Any]:
    for option in options:
        if option not in OPTIONS[scheduler]:
            near = difflib.get_close_matches(option, OPTIONS[scheduler], 1)
            hint = (
                f"did you mean {near[0]}"
                if near
                else (f"it takes {', '.join(sorted(OPTIONS[scheduler]))}")
            )
            raise UsageError(
                f"{where}: {scheduler} has no option {option!r} in scheduler_options; {hint}"
            )
    return options
