"""``python -m loraeval`` is the command ``loraeval``."""

import sys

from loraeval.cli import main

sys.exit(main())
