"""``python -m spectag``."""

import sys

from spectag.cli import main

sys.exit(main())
