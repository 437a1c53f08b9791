"""The contract between the runner and a component: small and pure."""
