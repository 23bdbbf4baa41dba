from __future__ import annotations

import logging

# A line for every request would bury what went wrong.
logging.getLogger("httpx").setLevel(logging.WARNING)
