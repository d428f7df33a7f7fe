"""One thread for every test: their operations are small, and threads that share them mostly wait for each other."""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported; child processes have it too
