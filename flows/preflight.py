"""The checks before a run starts or spends anything. All of them are cheap and always made.

A new check is a function in `flows/checks/` and a line in `CHECKS`.
"""

from collections.abc import Callable

from figa_core.config import PipelineConfig
from figa_core.config.file import ReadSettings
from figa_core.errors import ConfigError
from figa_core.findings import Check, Finding, problems_text, run_checks
from flows.checks import (
    artifacts,
    control_tokens,
    grader,
    harness,
    judge,
    lora,
    memory,
    models,
    prompts,
    reviser,
    rewards,
    room,
    servers,
    settings,
    thinking,
    trackers,
    verifier,
    workspace,
)
from flows.checks.facts import Facts, say_nothing

INTERPRETER = "the interpreter"
WORKSPACE = "workspace.path"
GENERATION_MODEL = "generation.model"
REWARD_MODEL = "reward.model"
PROMPTS = "prompts.path"
TEMPLATES = "revision_prompt"
GRADER = "grader"
VERIFIER = "evaluation.verifier"
REWARDS = "rewards"

CHECKS: tuple[Check[Facts], ...] = (
    Check(INTERPRETER, settings.check_interpreter),
    Check("the settings", settings.check_settings),
    Check(WORKSPACE, workspace.check_directory),
    Check(GENERATION_MODEL, models.check_generation_model, after=(INTERPRETER,)),
    Check("the file system of workspace.path", workspace.check_file_system),
    Check("the base model of generation.model", lora.check_adapter, after=(GENERATION_MODEL,)),
    Check("training.lora", lora.check_updates, after=(GENERATION_MODEL,)),
    Check("storage.artifacts", artifacts.check_store),
    Check("room in workspace.path", room.check_room, after=(WORKSPACE, GENERATION_MODEL)),
    Check("the memory of the training", memory.check_memory, after=(GENERATION_MODEL,)),
    Check("generation.thinking", thinking.check_thinking, after=(GENERATION_MODEL,)),
    Check("the context of generation.model", models.check_generation_lengths, after=(GENERATION_MODEL,)),
    Check("the words before answers", models.check_words, after=(GENERATION_MODEL,)),
    Check(REWARD_MODEL, models.check_reward_model, after=(INTERPRETER,)),
    Check("the context of reward.model", models.check_reward_lengths, after=(REWARD_MODEL,)),
    Check(REWARDS, rewards.check_roles),
    Check("the engines", models.check_engines),
    Check("the servers", servers.check_servers),
    Check("the workers", servers.check_workers),
    Check("generation.serving", servers.check_serving),
    Check(PROMPTS, prompts.check_rows),
    Check("the settings for prompts", prompts.check_uses, after=(PROMPTS,)),
    Check(TEMPLATES, reviser.check_templates),
    Check(
        "the chat templates on the prompts",
        models.check_templates_on_prompts,
        after=(GENERATION_MODEL, REWARD_MODEL, PROMPTS),
    ),
    Check(
        "the control tokens in the prompts",
        control_tokens.check_control_tokens,
        after=(GENERATION_MODEL, PROMPTS),
    ),
    Check("the key of revision", reviser.check_key),
    Check("the reviser's limits", reviser.check_room, after=(PROMPTS, TEMPLATES)),
    Check(GRADER, grader.check_grader),
    Check("the key of grader", grader.check_key, after=(GRADER,)),
    Check("grader.template", grader.check_template),
    Check("the fields for rewards", rewards.check_fields, after=(PROMPTS,)),
    Check("reward programs", rewards.check_programs, after=(REWARDS, PROMPTS)),
    Check("judges", rewards.check_judges, after=(REWARDS,)),
    Check("evaluation.judge", judge.check_judge, after=(PROMPTS,)),
    Check("evaluation.harness", harness.check_environment),
    Check("the tasks of evaluation.harness", harness.check_tasks, after=("evaluation.harness",)),
    Check(
        "thoughts in evaluation.harness",
        harness.check_thoughts,
        after=("evaluation.harness", GENERATION_MODEL),
    ),
    Check("tracking.to", trackers.check_libraries),
    Check(VERIFIER, verifier.check_import),
    Check("the verifier's values", verifier.check_values, after=(VERIFIER, PROMPTS)),
)


def check(
    config: PipelineConfig,
    *,
    needs_key: bool = True,
    planning: bool = False,
    say: Callable[[str], None] = say_nothing,
) -> list[Finding]:
    """Refuse a config that cannot work; returns the warnings.

    `needs_key`: whether the run will call the reviser; `planning`: nothing will be trained here. `say` is
    called before a check that may take long.

    Raises:
        ConfigError: everything that is wrong with the settings, the models, the prompts, the keys, the
            rewards, the verifier or the templates, in one message.
    """
    found = run_checks(CHECKS, Facts(config, needs_key, say, planning))
    problems = [finding for finding in found if finding.is_problem]
    if problems:
        raise ConfigError(problems_text(problems))
    return found


def usable(settings: ReadSettings, *, needs_key: bool = True) -> PipelineConfig:
    """The settings that were read, if each is valid by itself; `check` is still needed.

    Raises:
        ConfigError: some settings are invalid; the message includes what the checks find in the others.
    """
    if not settings.problems or settings.config is None:
        return settings.usable()
    others = [
        finding
        for finding in run_checks(CHECKS, Facts(settings.config, needs_key))
        # Skip problems with the default that replaces a wrong setting.
        if finding.is_problem and not any(wrong in str(finding) for wrong in settings.wrong)
    ]
    raise ConfigError(settings.text() + (f"\n{problems_text(others)}" if others else ""))
