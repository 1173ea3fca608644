"""Families that are told apart and named, and not rendered: video, and what has no LoRA loader.

An image-to-video family rendered at one frame is no test of what its LoRA was trained for.
"""

from __future__ import annotations

from loraeval.families.record import Family, Sign, Training

_UNET = r"(?:^|_)(?:down_blocks|up_blocks|mid_block|input_blocks|output_blocks|middle_block)_"

REFINER = Family(
    "sdxl-refiner", "the SDXL refiner", denoiser="unet",
    versions=("sdxl-refiner", "stable-diffusion-xl-v1-refiner", "stable-diffusion-xl-refiner",
              "sdxl-base-refiner", "stable-diffusion-xl-10-refiner"),
    signs=(Sign(_UNET + r".*attn2_to_[kv]$", (1280,)),),
)  # fmt: skip
KOLORS = Family(
    "kolors", "Kolors", denoiser="unet", versions=("kolors", "kwai-kolors"),
    signs=(Sign(r"encoder_hid_proj"), Sign(_UNET + r".*attn2_to_[kv]$", (2048,), sure=False)),
)  # fmt: skip
CASCADE = Family(
    "stable-cascade",
    "Stable Cascade",
    denoiser="prior",
    versions=("stable-cascade", "wuerstchen"),
    signs=(
        Sign(r"(?:down|up)_blocks_\d+_\d+_(?:attention|channelwise|kv_mapper|depthwise|mapper)"),
        Sign(r"lora_prior_unet_|^prior\."),
    ),
)
WAN = Family(
    "wan", "Wan", versions=("wan",),
    signs=(
        Sign(r"(?:^|_)blocks_\d+_(?:cross_attn|self_attn)_(?:q|k|v|o|k_img|v_img)$"),
        Sign(r"^blocks_\d+_attn[12]_(?:to|add)_", (1536, 3072, 5120)),
        Sign(r"^blocks_\d+_ffn_(?:0|2|net_0_proj|net_2)$"),
    ),
)  # fmt: skip
HUNYUAN_VIDEO = Family(
    "hunyuan-video",
    "HunyuanVideo",
    versions=("hunyuan-video", "hunyuanvideo", "hv", "framepack"),
    signs=(
        Sign(r"double_blocks\.\d+\.(?:img|txt)_attn_(?:qkv|proj)"),
        Sign(r"double_blocks_\d+_(?:img|txt)_(?:mlp_fc[12]|mod_linear)"),
        Sign(r"single_blocks_\d+_modulation_linear|token_refiner"),
        Sign(r"(?:double|single)_blocks_\d+_(?:img_attn|txt_attn|linear)", (3072,), sure=False),
        Sign(r"^(?:single_)?transformer_blocks_\d+_attn_to_", (3072,), sure=False),
    ),
)
LTX = Family(
    "ltx-video", "LTX-Video", versions=("ltx", "ltxv"),
    signs=(
        Sign(r"^transformer_blocks_\d+_attn2_to_", (2048, 4096)),
        Sign(r"^transformer_blocks_\d+_(?:audio_|video_to_audio|audio_to_video)"),
        Sign(r"^transformer_blocks_\d+_(?:attn1_to_|ff_net_0)", (2048, 4096), sure=False),
        Sign(r"patchify_proj"),
    ),
)  # fmt: skip
PIXART = Family(
    "pixart", "PixArt", versions=("pixart", "pix-art"),
    signs=(
        Sign(r"^transformer_blocks_\d+_(?:attn[12]_to_|ff_net_0)", (1152,), sure=False),
        Sign(r"^blocks_\d+_(?:attn_qkv|cross_attn_(?:q|kv)_linear|mlp_fc1)", (1152,), sure=False),
    ),
)  # fmt: skip
HIDREAM = Family(
    "hidream", "HiDream-I1", versions=("hidream", "hi-dream"),
    signs=(Sign(r"(?:double|single)_stream_blocks_\d+_block"),),
)  # fmt: skip
ANIMA = Family(
    "anima", "Anima", versions=("anima",), text_names={"te1": "te"},
    training=Training("anima_train_network.py", "anima", "anima"),
    signs=(
        Sign(r"^blocks_\d+_(?:cross_attn|self_attn)_(?:q|k|v|output)_proj"),
        Sign(r"^blocks_\d+_(?:adaln_modulation_|mlp_layer[12])|llm_adapter|text_conditioner"),
        Sign(r"^transformer_blocks_\d+_attn2_to_[kv]", (1024,)),
        Sign(r"^transformer_blocks_\d+_norm[123]_linear_[12]"),
        Sign(r"^layers_\d+_(?:self_attn|mlp)_", (1024,), sure=False, component="te1?"),
    ),
)  # fmt: skip

NAMED = (REFINER, KOLORS, CASCADE, WAN, HUNYUAN_VIDEO, LTX, PIXART, HIDREAM, ANIMA)
