"""The way of a job: what to run, its steps, its folders."""
