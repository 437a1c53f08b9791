"""The runner: components as Docker images, their data from and to Storage. Knows nothing of Airflow."""
