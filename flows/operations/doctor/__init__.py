"""`figa doctor`: whether an installation, its Prefect server with pools and workers, and a workspace work."""
