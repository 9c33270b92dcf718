"""Stages filter and admit: rewards → which responses are revised, which revisions are trained on."""

from dataclasses import asdict

from prefect import task
from prefect.cache_policies import NO_CACHE

from figa_core.config import AdmissionConfig, FilterConfig, RevisionConfig
from figa_core.errors import NothingToDoError
from figa_core.filtering import admit as decide_admission
from figa_core.filtering import count_reasons, keep, resolve_thresholds
from figa_core.records import Stage
from figa_core.revision.prompt import PromptTemplates
from figa_core.storage import revisions
from tasks.results import StageResult
from tasks.workspace import Workspace


@task(name="filter", task_run_name="filter by thresholds", cache_policy=NO_CACHE)
def filter_responses(
    workspace: Workspace,
    run_id: str,
    config: FilterConfig,
    revision: RevisionConfig,
    templates: PromptTemplates,
    generator: str,
    scorer: str,
) -> StageResult:
    """Keep weak responses; each kept one gets a revision row, pending unless the work is known.

    Raises:
        NothingToDoError: the thresholds keep nothing.
    """
    candidates = workspace.store.candidates(run_id, generator, scorer)
    thresholds = resolve_thresholds(
        config.response_reward_below, config.reference_reward_above, config.reward_gap_above, candidates
    )
    decisions = keep(candidates, thresholds, lowest_only=config.samples_kept == "lowest")
    recipe = {
        "model": revision.model,
        "temperature": revision.temperature,
        "max_tokens": revision.max_tokens,
    }
    texts = {has: templates.text(has_reference=has) for has in (False, True)}
    workspace.store.save_keep_decisions(run_id, scorer, candidates, decisions, recipe, texts)
    workspace.store.save_run_settings(run_id, {"thresholds": asdict(thresholds)})
    reasons = count_reasons(decisions)
    kept = len(decisions) - sum(reasons.values())
    if kept == 0:
        rewards = sorted(c.response_reward for c in candidates)
        middle = f"{rewards[len(rewards) // 2]:.2f}" if rewards else "none"
        raise NothingToDoError(
            f"filter: none of {len(candidates)} responses passes {thresholds}; reasons: {reasons}; "
            f"the median reward "
            f'of the responses is {middle}. Widen [filter], or use quantiles such as "q0.7".'
        )
    return StageResult(Stage.FILTER, len(candidates), kept, reasons)


@task(name="admit", task_run_name="admit revisions", cache_policy=NO_CACHE)
def admit(workspace: Workspace, run_id: str, config: AdmissionConfig, scorer: str) -> StageResult:
    """Leave out revisions that do not raise the reward, with the reason.

    Raises:
        NothingToDoError: not one revision is admitted.
    """
    rows = workspace.store.admissible(run_id, scorer)
    decisions = {
        row.response_id: decide_admission(row.response_reward, row.revision_reward, config.reward_gain_above)
        for row in rows
    }
    workspace.store.save_admissions(run_id, decisions)
    reasons = count_reasons(decisions)
    admitted = len(rows) - sum(reasons.values())
    if admitted == 0:
        statuses = revisions.statuses(workspace.store.database, run_id)
        raise NothingToDoError(
            f"admit: none of {len(rows)} revisions is admitted ({reasons}); revisions by status: {statuses}. "
            "Look at the reviser's answers, or set admission.reward_gain_above."
        )
    return StageResult(Stage.ADMIT, len(rows), admitted, reasons)
