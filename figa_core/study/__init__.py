"""Studies of a run that has been made: what its data did to the model, and why."""
