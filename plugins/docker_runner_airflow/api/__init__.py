"""The HTTP API, which Airflow's own API server serves below ``/docker-runner``.

Nothing in here is imported before the API server asks the plugin for its application: FastAPI and pydantic would cost
every task process a part of a second.
"""
