"""Settings of all tests."""

from __future__ import annotations

import signal

from hypothesis import settings

# How long an example takes says more about the machine than about the code.
settings.register_profile("suite", deadline=None)
settings.load_profile("suite")

# Tests press Ctrl-C, which does nothing in what a shell has started in the background.
signal.signal(signal.SIGINT, signal.default_int_handler)
