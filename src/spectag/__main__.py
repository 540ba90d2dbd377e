"""``python -m spectag``."""

import sys

from spectag.cli.main import main

sys.exit(main())
