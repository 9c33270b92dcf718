"""The Prefect server, our own or the configured one, and what runs send to it."""
