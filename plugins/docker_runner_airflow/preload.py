"""Makes a worker ready before it forks task processes: what is done here is there in every task for free.

Importing this module loads what tasks load, compiles the schemas, and reads nothing of any project. It opens no
connection and starts no thread, so forking afterwards is safe. Named in ``DOCKER_RUNNER_PRELOAD`` (airflow.env).
"""

import airflow.sdk
import airflow.sdk.definitions.param
import airflow.sdk.definitions.taskgroup
import airflow.timetables.trigger
import croniter
import cryptography.fernet
import cryptography.hazmat.primitives.kdf.hkdf
import docker
import duckdb
import filelock
import jsonschema
import msgspec
import pendulum
import pystache
import requests
import tenacity
import yaml

import docker_runner.job.resolution
import docker_runner.job.steps
import docker_runner.storage.lake.lake
import docker_runner_airflow.dag_factory
import docker_runner_airflow.hooks
import docker_runner_airflow.operators
from docker_runner.project.manifest_items import manifest_decoder
from docker_runner.schemas import compile_schemas

compile_schemas()
manifest_decoder()
# Making a DAG imports what the SDK imports lazily.
airflow.sdk.DAG("preload", schedule=None)
