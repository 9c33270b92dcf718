"""What `make evidence` compares, in every domain: fixed before any result was seen."""

from dataclasses import dataclass
from typing import Any

Method = str | dict[str, Any]

_PAIRS = 96

METHODS: tuple[Method, ...] = (
    {"objective": "figa", "label": "FIGA (default, γ 0.3)"},
    "sft_revised",
    {"objective": "figa", "label": "FIGA, γ 0 (the paper's)", "gamma": 0.0},
    "sft",
    {"objective": "figa", "label": "FIGA, γ 1", "gamma": 1.0},
    "dpo",
    {"objective": "figa", "label": "FIGA, KL 0.3", "gamma": 0.0, "kl_weight": 0.3},
    "apo_zero",
)
"""As `[compare] methods` takes them."""

ANCHORS: tuple[Method, ...] = (
    {"objective": "figa", "label": "γ 0 (the paper's)", "gamma": 0.0},
    {"objective": "figa", "label": "γ 0.1", "gamma": 0.1},
    {"objective": "figa", "label": "γ 0.3 (default)"},
    {"objective": "figa", "label": "γ 1", "gamma": 1.0},
    {"objective": "figa", "label": "γ 0.3, fading over 4 tokens", "gamma_fade_tokens": 4.0},
    {"objective": "figa", "label": "γ 0, KL 0.3", "gamma": 0.0, "kl_weight": 0.3},
    {"objective": "figa", "label": "γ 0, β 0", "gamma": 0.0, "beta": 0.0},
    {"objective": "figa", "label": "γ 0, unique negatives", "gamma": 0.0, "negatives": "unique"},
    {"objective": "figa", "label": "γ 0, gate 2", "gamma": 0.0, "negative_nll_max": 2.0},
    {"objective": "unlikelihood", "label": "unlikelihood, γ 0", "gamma": 0.0},
    "sft_revised",
)
"""What holds the unchanged tokens: long trainings at one rate, in which no alarm ends any."""

SCHEMES: tuple[Method, ...] = (
    {"objective": "figa", "label": "Levenshtein (default)"},
    {"objective": "figa", "label": "bag of words", "scheme": "bag_of_words"},
    {"objective": "figa", "label": "reward-scaled", "scheme": "reward_scaled"},
    {"objective": "figa", "label": "LLM, graded", "scheme": "llm_graded"},
    {"objective": "figa", "label": "LLM, binary", "scheme": "llm_binary"},
    "sft_revised",
)
"""What decides on the weights of the edited tokens."""

REINFORCED: tuple[Method, ...] = (
    {"objective": "figa", "label": "FIGA (default, γ 0.3)"},
    "grpo",
    "rloo",
    "ppo",
)
"""Methods that learn from rewards, with the tokens that the pairs cost."""


@dataclass(frozen=True, slots=True)
class Experiment:
    """One comparison.

    Attributes:
        name: of its files. One that is only the domain's name compares all methods.
        domain: see `figa_core.domains`.
        prompts: how many; four tenths of them are held out.
        settings: by section, besides those of evidence.toml.
    """

    name: str
    domain: str
    prompts: int
    settings: dict[str, dict[str, Any]]

    @property
    def overrides(self) -> dict[str, dict[str, Any]]:
        """Its settings, with those that follow from the domain."""
        own = {"evaluation": {"verifier": f"figa_core.domains.{self.domain}:verify"}}
        sections = (*own, *(name for name in self.settings if name not in own))
        return {name: own.get(name, {}) | self.settings.get(name, {}) for name in sections}


def _methods(domain: str, prompts: int) -> Experiment:
    compare = {"methods": METHODS, "learning_rates": (3e-5, 1e-4), "sweep_seeds": 1, "pairs": (_PAIRS,)}
    return Experiment(domain, domain, prompts, {"compare": compare})


def _anchors(domain: str, prompts: int) -> Experiment:
    compare = {"methods": ANCHORS, "learning_rates": (3e-5,), "seeds": (0,), "against": "first"}
    settings = {"compare": compare | {"pairs": (_PAIRS,)}, "training": {"epochs": 3}, "alarms": {"stops": ()}}
    return Experiment(f"{domain}-anchors", domain, prompts, settings)


def _schemes(domain: str, prompts: int) -> Experiment:
    compare = {"methods": SCHEMES, "learning_rates": (3e-5,), "against": "first", "pairs": (_PAIRS,)}
    grader = {"model": "sandbox-teacher", "requests_per_minute": 6000, "tokens_per_minute": 3_000_000}
    return Experiment(f"{domain}-schemes", domain, prompts, {"compare": compare, "grader": grader})


def _reinforced(domain: str, prompts: int) -> Experiment:
    compare = {"methods": REINFORCED, "learning_rates": (1e-5, 3e-5), "seeds": (0,), "against": "first"}
    return Experiment(f"{domain}-rl", domain, prompts, {"compare": compare | {"pairs": (_PAIRS,)}})


EXPERIMENTS = (
    _methods("structured", 300),
    _methods("arithmetic", 300),
    _methods("support", 300),
    _anchors("structured", 300),
    _schemes("support", 300),  # the one domain whose teacher grades words
    _reinforced("support", 300),  # and the one with a reward model that was trained on preferences
)
