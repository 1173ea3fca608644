"""How the demo world is trained; run by ``tools/train_demo.py``."""

from loraeval import torchvision_ops

torchvision_ops.install()
