"""What must be right before a run starts or spends anything."""
