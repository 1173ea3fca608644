"""Whether a request may be made at all."""

from __future__ import annotations

import os

_YES = {"1", "ON", "YES", "TRUE"}
"""What huggingface_hub takes for true."""


def offline_asked(flag: bool = False) -> bool:
    """Say whether the user forbade any request: by ``--offline``, or by HF_HUB_OFFLINE."""
    return flag or os.environ.get("HF_HUB_OFFLINE", "").strip().upper() in _YES
