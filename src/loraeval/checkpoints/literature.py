"""What is known of each parameter's effect, with the source, and how far it may go.

``weight`` orders differences for a person who looks for a cause: 3 for what decides what can be
learned at all, 2 for a documented strong effect on the pictures, 1 for a documented weak or
indirect one. It is a ranking of where to look first, not a probability.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Evidence:
    """``effect`` in one sentence; ``sources`` are papers, issues or source files by name."""

    weight: int
    effect: str
    sources: tuple[str, ...]


EVIDENCE: dict[str, Evidence] = {
    "pretrained_model_name_or_path": Evidence(
        3, "Another base model knows other styles and reads text otherwise.",
        ("SDXL: arXiv 2307.01952",),
    ),
    "resolution": Evidence(
        3, "Sets how many latent pixels a grid cell gets and which detail the UNet can add.",
        ("SDXL, size conditioning: arXiv 2307.01952",),
    ),
    "max_token_length": Evidence(
        3, "Text beyond it is never seen: colours named late in a caption are not learned.",
        ("sd-scripts library/train_util.py, get_input_ids",),
    ),
    "caption_set": Evidence(3, "Other captions teach other words.", ()),
    "network_dim": Evidence(
        2, "Capacity of the update; more of it also memorises more.", ("LoRA: arXiv 2106.09685",)
    ),
    "network_alpha": Evidence(
        2, "Scales the update by alpha / dim, so it acts like a factor on the learning rate.",
        ("sd-scripts networks/lora.py; sd-scripts issue 98",),
    ),
    "unet_lr": Evidence(2, "Step size of the UNet's update.", ("LoRA: arXiv 2106.09685",)),
    "learning_rate": Evidence(2, "Step size where no other is given.", ("LoRA: arXiv 2106.09685",)),
    "text_encoder_lr": Evidence(
        2, "Moves the meaning of prompts; 0 leaves them as in the base model.",
        ("sd-scripts networks/lora.py, prepare_optimizer_params",),
    ),
    "optimizer_type": Evidence(
        2, "Rules how gradients become steps.", ("AdamW: arXiv 1711.05101",)
    ),
    "noise_offset": Evidence(
        2, "Lets the model move overall brightness: very dark and very bright pictures.",
        ("crosslabs.org, diffusion with offset noise", "arXiv 2412.03134"),
    ),
    "multires_noise_iterations": Evidence(
        2, "Adds low-frequency noise: more varied brightness and composition; 0.3 to 0.5 is the "
        "discount advised for small sets.",
        ("wandb report by J. Whitaker on multi-resolution noise", "sd-scripts PR 471"),
    ),
    "min_snr_gamma": Evidence(
        2, "Weighs nearly noise-free steps less; full training converged 3.4 times as fast.",
        ("arXiv 2303.09556", "sd-scripts PR 308"),
    ),
    "shuffle_caption": Evidence(
        2, "Tags change places every step, so position carries no meaning; with a cut at 75 tokens "
        "it also decides which tags are seen.",
        ("sd-scripts library/train_util.py, process_caption", "kohya_ss issue 70"),
    ),
    "keep_tokens": Evidence(
        1, "Holds the first tags in place while others are shuffled.", ("kohya_ss issue 70",)
    ),
    "train_batch_size": Evidence(
        1, "Fewer and smoother steps for the same images; compare runs by steps and samples.",
        ("sd-scripts train_network.py",),
    ),
    "gradient_accumulation_steps": Evidence(
        1, "As a larger batch: fewer, smoother steps.", ("sd-scripts train_network.py",)
    ),
    "mixed_precision": Evidence(
        1, "Rounding of the arithmetic: fp16 underflows, bf16 is coarse; rarely visible alone.",
        ("Mixed precision: arXiv 1710.03740", "sd-scripts issue 93"),
    ),
    "adaptive_noise_scale": Evidence(
        1, "Adds a share of the latent's mean to noise_offset; at 0.00357 a few per cent of it.",
        ("sd-scripts library/custom_train_functions.py, apply_noise_offset",),
    ),
    "lr_scheduler": Evidence(
        1, "Where in the cycle an epoch is saved changes it.", ("SGDR: arXiv 1608.03983",)
    ),
    "lr_scheduler_num_cycles": Evidence(
        1, "Epochs saved after a restart are still moving.", ("SGDR: arXiv 1608.03983",)
    ),
    "max_train_epochs": Evidence(1, "More steps fit closer, and then too close.", ()),
    "seed": Evidence(1, "Another order of images and noise.", ()),
}  # fmt: skip
"""Parameter to what is known; a parameter that is not here has no source at hand."""
