"""Everything that knows Airflow: operators, the DAG factory, hooks and the plugin."""
