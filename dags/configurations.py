"""One Airflow DAG per configuration of the project directory."""

from docker_runner_airflow.dag_factory import build_dags

globals().update(build_dags())
