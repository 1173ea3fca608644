"""LoRA files read without torch: header, anatomy, series, training parameters."""
