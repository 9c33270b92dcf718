"""A flow whose model is worse than its base, in a process of its own: python -m tests.flows.run.judged_run"""

import asyncio

from prefect import flow

from figa_core.errors import WorseModelError
from figa_core.report.data import ModelScores, ReportData
from flows.run.verdict import failed_by_its_model, require_not_worse

NAME = "judged by a test"
BASE = ModelScores("base", {"a": 1.0, "b": 2.0, "c": 3.0})
WORSE = ModelScores("FIGA", {"a": 0.0, "b": 0.9, "c": 2.1}, directory="/w/model")
DATA = ReportData("w", "run", "now", base=BASE, main=WORSE)


@flow(name=NAME, persist_result=False)
@failed_by_its_model
async def judged() -> str:
    require_not_worse(DATA, WORSE, "all is stored")
    return "better"


if __name__ == "__main__":
    try:
        asyncio.run(judged())
    except WorseModelError as error:
        print(f"caught {error.result}")
