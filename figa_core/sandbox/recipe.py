"""What decides a sandbox, and its content id: equal recipes give the same directory."""

from dataclasses import asdict, dataclass

from figa_core.ids import content_id
from figa_core.sandbox import corpus, preferences, vocabulary, world
from figa_core.sandbox.vocabulary import Style

RECIPE_VERSION = 1
"""To be raised when sandboxes are made in another way that shows neither in the world nor in the recipe."""


@dataclass(frozen=True, slots=True)
class SandboxRecipe:
    """Seed, sizes and training lengths of one sandbox; tests make smaller ones than the defaults."""

    seed: int = 0
    n_prompts: int = 3000
    base_steps: int = 310
    reward_steps: int = 300
    pairs_judged: int = 300  # held-out preference pairs for the reward model's accuracy
    prompts_sampled: int = 120  # requests on which the base model's verifier score is reported

    def sandbox_id(self) -> str:
        """Hash of this recipe and of the world: its words, fault rates and shares."""
        return content_id("sandbox", RECIPE_VERSION, settings=asdict(self), world=_world())


DEFAULT_RECIPE = SandboxRecipe()


def _world() -> dict[str, object]:
    phrases = {
        name: asdict(value) if isinstance(value, Style) else value
        for name, value in vars(vocabulary).items()
        if name.isupper() and name != "SLOT_OF_WORD" and not name.startswith("_")
    }
    shares = {
        f"{module.__name__}.{name}": value
        for module in (world, corpus, preferences)
        for name, value in vars(module).items()
        if name.isupper() and isinstance(value, float)
    }
    return {"phrases": phrases, "shares": shares, "rates": world.FAULT_RATES}
