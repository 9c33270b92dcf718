"""How the trainings of `figa compare` are run and judged."""
