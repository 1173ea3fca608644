"""Every error that loraeval raises on purpose.

LoraevalError                 one sentence: what was expected, what came, what to do
├── UsageError                a wrong option or argument
├── InputError                a file from outside that cannot be read or trusted
│   ├── PromptError           prompt sets, captions folders, sample-prompt lines
│   ├── ImageError            images and folders of images
│   ├── CheckpointError       LoRA and base-model files
│   ├── ScoresError           scores files and renders manifests
│   └── BaselineError         baselines and profiles
├── StaleError                two things that must not be compared (digests differ)
├── MissingExtraError         an optional package that is not installed
├── RenderError               a render that could not be made as the recipe says
└── StoreError                the render store on disk

The command line prints the message and exits with ``exit_code``; pytest shows it as the reason
of the failure. Anything else that escapes is a bug and keeps its traceback.
"""

from __future__ import annotations


class LoraevalError(Exception):
    """Base of all errors made on purpose; its text is one sentence for the user."""

    exit_code: int = 2


class UsageError(LoraevalError):
    """A wrong option, argument or combination of them."""


class InputError(LoraevalError):
    """A file from outside that cannot be read, or that does not hold what it must."""


class PromptError(InputError):
    """A prompt set that cannot be read."""


class ImageError(InputError):
    """An image that cannot be read safely."""


class CheckpointError(InputError):
    """A LoRA or base-model file that cannot be read or does not fit."""


class ScoresError(InputError):
    """A scores file or renders manifest that cannot be read."""


class BaselineError(InputError):
    """A baseline or profile that is missing or cannot be read."""


class StaleError(LoraevalError):
    """Scores that must not be compared: a digest, encoder or metric version differs."""


class MissingExtraError(LoraevalError):
    """An optional package that this command needs is not installed."""

    def __init__(self, package: str, extra: str, purpose: str) -> None:
        super().__init__(
            f"{purpose} needs the package {package}, which is not installed; "
            f"install it with: pip install 'loraeval[{extra}]'"
        )


class RenderError(LoraevalError):
    """A render that could not be made as the recipe says."""


class StoreError(LoraevalError):
    """The render store on disk cannot be used."""
