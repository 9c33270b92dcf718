"""An engine for tests of what is around engines."""

# Its source, so that processes of their own can have it, too. A sample is its row's prompt and seed, a reward
# the number of tokens. It notes in MODEL/drawn who drew what, and dies at a row as MODEL/fatal says.
ECHO = """
import os, signal
from figa_core.inference.engine import Engine, register_engine
from figa_core.ports import Generation, RowFailure
from figa_core.records import FinishReason

class Echo(Engine):
    def __init__(self, tell): pass
    def generator(self, settings, scratch): return Model(settings)
    def scorer(self, settings, scratch): return Model(settings)

class Model:
    def __init__(self, settings): self.settings = settings
    def generate(self, requests):
        for row in requests:
            fatal = self.settings.model / "fatal"
            if fatal.exists() and fatal.read_text() == row.request_id:
                fatal.unlink()
                os.kill(os.getpid(), signal.SIGKILL)
            with (self.settings.model / "drawn").open("a") as file:
                print(row.request_id, file=file)
            if not row.prompt_ids[0]:
                yield [RowFailure(row.request_id, "nothing to say")]
            else:
                yield [Generation(row.request_id, (*row.prompt_ids, row.seed), FinishReason.STOP)]
    def score(self, requests):
        yield [(row.subject_id, len(row.token_ids) / 3) for row in requests]

"""
