"""Stages filter and admit: rewards → which responses are revised, and which revisions are trained on."""

from collections import Counter
from collections.abc import Sequence
from itertools import chain

from prefect import task
from prefect.cache_policies import NO_CACHE

from figa_core.config import AdmissionConfig, FilterConfig, RevisionConfig, RevisionPromptConfig
from figa_core.config.decisions import settings_in, values_in_id, values_within
from figa_core.errors import NothingToDoError
from figa_core.filtering import Candidate, keep, most_frequent_first, resolve_thresholds
from figa_core.filtering import admit as decide_admission
from figa_core.records import Decision
from figa_core.revision.prompt import PromptTemplates
from figa_core.storage import pairs, revisions
from figa_core.storage.pairs import Admissible, RevisionRecipe, RunScores
from figa_core.storage.runs import Findings, save_findings
from tasks.results import StageCounts
from tasks.workspace import Workspace


def revision_recipe(
    revision: RevisionConfig, prompt: RevisionPromptConfig, templates: PromptTemplates
) -> RevisionRecipe:
    """What determines the revisions of a run besides its responses and references."""
    settings = [*settings_in("revision", revision), *settings_in("revision_prompt", prompt)]
    return RevisionRecipe(
        **values_within("reviser", settings),
        templates={has: templates.text(has_reference=has) for has in (False, True)},
        asked_again_max=prompt.asked_again_max,
        settings=values_in_id(settings),
    )


@task(name="filter", task_run_name="filter by thresholds", cache_policy=NO_CACHE)
def filter_responses(
    workspace: Workspace,
    run_id: str,
    config: FilterConfig,
    recipe: RevisionRecipe,
    generator: str,
    scorer: str,
) -> StageCounts:
    """Keep weak responses; each gets a revision row, which is pending unless the revision is already stored.

    Raises:
        NothingToDoError: the thresholds keep nothing.
    """
    database, scores = workspace.database, RunScores(run_id, generator, scorer)
    thresholds = resolve_thresholds(
        config.response_reward_below,
        config.reference_reward_above,
        config.reward_gap_above,
        chain.from_iterable(pairs.iter_candidates(database, scores)),
    )
    tally = _Tally()

    def decide(page: Sequence[Candidate]) -> dict[str, Decision]:
        return tally.add(keep(page, thresholds, lowest_only=config.samples_kept == "lowest"))

    pairs.replace_pairs(database, scores, decide, recipe)
    save_findings(workspace.database, run_id, Findings(thresholds=thresholds))
    result = tally.counts()
    if result.n_out == 0:
        middle = pairs.median_reward(database, scores)
        raise NothingToDoError(
            f"filter: none of {result.n_in} responses passes {thresholds}; reasons: {result.reasons}; the "
            f"median reward of the responses is {'none' if middle is None else f'{middle:.2f}'}. "
            'Widen the thresholds in [filter], or use quantiles such as "q0.7".'
        )
    return result


@task(name="admit", task_run_name="admit revisions", cache_policy=NO_CACHE)
def admit(workspace: Workspace, run_id: str, config: AdmissionConfig, scorer: str) -> StageCounts:
    """Leave out revisions that do not raise the reward; raises NothingToDoError if none is admitted."""
    database, tally = workspace.database, _Tally()

    def decide(page: Sequence[Admissible]) -> dict[str, Decision]:
        return tally.add(
            {
                row.response_id: decide_admission(
                    row.response_reward, row.revision_reward, config.reward_gain_above, row.failure
                )
                for row in page
            }
        )

    pairs.decide_admissions(database, run_id, scorer, decide)
    result = tally.counts()
    if result.n_out == 0:
        statuses = revisions.statuses(database, run_id)
        raise NothingToDoError(
            f"admit: none of {result.n_in} revisions is admitted ({result.reasons}); revisions by status: "
            f"{statuses}. Look at the reviser's answers, or lower admission.reward_gain_above."
        )
    return result


class _Tally:
    """Counts decisions page by page."""

    def __init__(self) -> None:
        self._rows, self._reasons = 0, Counter[str]()

    def add(self, decisions: dict[str, Decision]) -> dict[str, Decision]:
        """Count these and return them."""
        self._rows += len(decisions)
        self._reasons.update(d.reason for d in decisions.values() if not d.accepted)
        return decisions

    def counts(self) -> StageCounts:
        reasons = most_frequent_first(self._reasons)
        return StageCounts(self._rows, self._rows - self._reasons.total(), reasons)
