"""The Prefect server: one of our own or the configured one, and what a run says to it."""
