import json
import os
import signal
import subprocess
import sys
import time

import openai
import psutil
import pytest

from figa_core.errors import EngineError
from figa_core.processes.children import child_environment
from figa_core.sandbox.teacher_process import TeacherProcess
from figa_core.sandbox.teacher_rules import TeacherFault, message_hash

MODEL = "sandbox-teacher"
TEXT = (
    "Fix.\n<conversation>\nuser: I am Anna. My order is a red lamp, marked lost, to Oslo in 4 days.\n"
    "</conversation>\n<response>\nDear Anna, your blue lamp is lost. It will reach Oslo in 4 days. "
    "Kind regards, your support team.\n</response>"
)
CORRECTED = "Dear Anna, your red lamp is lost. It will reach Oslo in 4 days. Kind regards, your support team."


def client(teacher: TeacherProcess, key: str = "any", timeout: float = 10) -> openai.OpenAI:
    return openai.OpenAI(base_url=teacher.base_url, api_key=key, max_retries=0, timeout=timeout)


def ask(teacher: TeacherProcess, text: str = TEXT, model: str = MODEL, **options):
    with client(teacher, **options) as api:
        return api.chat.completions.create(model=model, messages=[{"role": "user", "content": text}])


@pytest.fixture(scope="module")
def teacher():
    with TeacherProcess() as running:
        yield running


def test_the_openai_client_gets_a_correction_with_usage(teacher):
    answer = ask(teacher)
    assert answer.choices[0].message.content == CORRECTED
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage is not None
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens
    assert answer.usage.completion_tokens == 24


def test_the_model_is_listed_and_other_models_are_not_found(teacher):
    with client(teacher) as api:
        assert [model.id for model in api.models.list()] == [MODEL]
    with pytest.raises(openai.NotFoundError, match="does not exist"):
        ask(teacher, model="gpt-nothing")


def test_every_request_is_logged_with_the_hash_of_its_message_and_its_outcome(teacher):
    before = teacher.requests()
    ask(teacher, text="hello")
    assert teacher.requests() == before + 1
    line = json.loads(teacher.log.read_text().splitlines()[-1])
    assert line["message_sha256"] == message_hash("hello")
    assert line["outcome"] == "answered"


def test_a_body_that_is_not_a_chat_request_is_a_bad_request(teacher):
    with client(teacher) as api, pytest.raises(openai.BadRequestError):
        api.post("/chat/completions", cast_to=object, body={"model": MODEL})


def test_a_wrong_key_is_refused():
    key = {"TEACHER_KEY": "right"}
    with TeacherProcess(api_key_env="TEACHER_KEY", environment=key) as teacher:
        assert ask(teacher, key="right").choices[0].message.content == CORRECTED
        with pytest.raises(openai.AuthenticationError):
            ask(teacher, key="wrong")


def test_the_rate_limit_answers_429_with_the_time_to_wait():
    with TeacherProcess(requests_per_minute=3, tokens_per_minute=10_000, burst_factor=0) as teacher:
        with client(teacher) as api:
            raw = api.chat.completions.with_raw_response.create(
                model=MODEL, messages=[{"role": "user", "content": TEXT}]
            )
        assert raw.headers["x-ratelimit-limit-requests"] == "3"
        assert raw.headers["x-ratelimit-remaining-requests"] == "2"
        assert raw.headers["x-ratelimit-reset-requests"] == raw.headers["x-ratelimit-reset-tokens"] == "1m0s"
        ask(teacher)
        ask(teacher)
        with pytest.raises(openai.RateLimitError) as refused:
            ask(teacher)
        assert 50 <= int(refused.value.response.headers["retry-after"]) <= 60
        assert refused.value.code == "rate_limit_exceeded"


def test_a_second_allows_at_most_twice_its_share_of_the_minute():
    with TeacherProcess(requests_per_minute=60) as teacher:
        ask(teacher)
        ask(teacher)
        with pytest.raises(openai.RateLimitError) as refused:
            ask(teacher)
        assert refused.value.response.headers["retry-after"] == "1"
        assert refused.value.response.headers["x-ratelimit-remaining-requests"] == "58"


def test_the_token_limit_is_enforced():
    with TeacherProcess(tokens_per_minute=100) as teacher:
        ask(teacher)
        with pytest.raises(openai.RateLimitError):
            ask(teacher)


FAILURES = {
    TeacherFault.RATE_LIMIT: openai.RateLimitError,
    TeacherFault.QUOTA: openai.RateLimitError,
    TeacherFault.SERVER_ERROR: openai.InternalServerError,
    TeacherFault.UNAVAILABLE: openai.InternalServerError,
    TeacherFault.TIMEOUT: openai.APITimeoutError,
    TeacherFault.RESET: openai.APIConnectionError,
    TeacherFault.MALFORMED_JSON: json.JSONDecodeError,
}


@pytest.mark.parametrize("fault", FAILURES)
def test_a_failure_reaches_the_client_as_a_providers_would(fault):
    with TeacherProcess(faults={fault: 1.0}) as teacher:
        with pytest.raises(FAILURES[fault]):
            ask(teacher, timeout=0.5)
        assert json.loads(teacher.log.read_text())["outcome"] == fault


@pytest.mark.parametrize(
    ("fault", "finish"),
    [
        (TeacherFault.REFUSAL, "content_filter"),
        (TeacherFault.LENGTH, "length"),
        (TeacherFault.NONSENSE, "stop"),
    ],
)
def test_a_useless_answer_is_still_a_completion(fault, finish):
    with TeacherProcess(faults={fault: 1.0}) as teacher:
        choice = ask(teacher).choices[0]
    assert choice.finish_reason == finish
    assert choice.message.content != CORRECTED


@pytest.mark.parametrize(("fault", "times"), [(TeacherFault.DUPLICATE, 2), (TeacherFault.EMPTY_CHOICES, 0)])
def test_an_answer_can_have_its_choice_twice_or_not_at_all(fault, times):
    with TeacherProcess(faults={fault: 1.0}) as teacher:
        answer = ask(teacher)
    assert [choice.message.content for choice in answer.choices] == [CORRECTED] * times
    assert answer.usage is not None
    assert answer.usage.completion_tokens == 24


def test_a_request_is_logged_before_it_is_answered():
    with TeacherProcess(latency_s=30) as teacher:
        with pytest.raises(openai.APITimeoutError):
            ask(teacher, timeout=0.5)
        os.kill(teacher.pid, signal.SIGKILL)
        assert teacher.requests() == 1


def test_the_error_of_a_teacher_that_cannot_start_has_the_reason():
    with pytest.raises(EngineError, match="NO_SUCH_KEY"), TeacherProcess(api_key_env="NO_SUCH_KEY"):
        pass


def test_the_teacher_dies_with_its_parent(tmp_path):
    script = (
        "import time\nfrom figa_core.sandbox.teacher_process import TeacherProcess\n"
        "teacher = TeacherProcess().start()\nprint(teacher.pid, flush=True)\ntime.sleep(60)\n"
    )
    command = [sys.executable, "-c", script]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, env=child_environment(TMPDIR=str(tmp_path))
    ) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        parent.kill()
        parent.wait()
        for _ in range(250):
            if not _runs(pid):
                return
            time.sleep(0.02)
        pytest.fail(f"the teacher {pid} outlived its parent")


def _runs(pid: int) -> bool:
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
