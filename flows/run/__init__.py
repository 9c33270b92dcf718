"""What surrounds a run's stages: opening and ending the run, its progress, and what it publishes."""
