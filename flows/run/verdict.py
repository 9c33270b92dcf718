"""How a flow ends whose model is worse than its base: as Failed, with a message about the model.

The state keeps the name "Failed": the events of a run's end, and automations that wait
for them, go by it.
"""

import functools
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, ParamSpec, TypeVar, cast

from prefect.states import Failed

from figa_core.errors import WorseModelError
from figa_core.report.comparison import verdict_on
from figa_core.report.data import ModelScores, ReportData
from figa_core.report.sentences import verdict_sentence

_P = ParamSpec("_P")
_T = TypeVar("_T")

_ABOUT_THE_RUN = (
    "The run itself went well and everything is stored: a Retry repeats nothing and ends the same way. "
    "Keep the base model, or change the training's settings and run again."
)


def require_not_worse(data: ReportData, model: ModelScores | None, result: object) -> None:
    """Raises WorseModelError, with the run's `result`, if this model is worse than its base."""
    if model is not None and (found := verdict_on(data.base, model)).do_not_use:
        raise WorseModelError(f"{verdict_sentence(model, found, data.base)} {_ABOUT_THE_RUN}", result)


def failed_by_its_model(flow: Callable[_P, Awaitable[_T]]) -> Callable[_P, Coroutine[Any, Any, _T]]:
    """Decorates a flow's function, below `@flow`: a WorseModelError ends it as Failed, without a traceback.

    A caller in this process gets the error itself.
    """

    @functools.wraps(flow)
    async def run(*args: _P.args, **kwargs: _P.kwargs) -> _T:
        try:
            return await flow(*args, **kwargs)
        except WorseModelError as error:
            return cast(_T, Failed(message=str(error), data=error))  # Prefect ends the flow in this state

    return run
