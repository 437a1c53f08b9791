"""Settings of all tests."""

from __future__ import annotations

import signal

import airflow_follow
from hypothesis import HealthCheck, settings

# How long an example takes says more about the machine than about the code.
settings.register_profile("suite", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("suite")

# An Airflow on a busy machine parses slowly; who asks for a DAG that is not there waits for longer only for that.
airflow_follow.DAG_SECONDS = 240.0
airflow_follow.NEW_FILE_SECONDS = 20.0

# Tests press Ctrl-C, which does nothing in what a shell has started in the background.
signal.signal(signal.SIGINT, signal.default_int_handler)
