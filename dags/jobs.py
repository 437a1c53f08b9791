"""Runs any configuration, for jobs that the HTTP API starts."""

from docker_runner_airflow.jobs_dag import jobs_dag

dag = jobs_dag()
