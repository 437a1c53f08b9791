"""Removes what killed runs left, and keeps the Storage small."""

from docker_runner_airflow.housekeeping import housekeeping_dag

dag = housekeeping_dag()
