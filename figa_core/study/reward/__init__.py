"""How much the quality of the reward model matters: a run repeated with reward models degraded on purpose."""
