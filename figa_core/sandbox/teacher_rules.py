"""How the teacher treats a request: the faults it injects, the limits it enforces, and its answers."""

import hashlib
import random
import re
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from enum import StrEnum

from figa_core.sandbox.correction import correct, spoil
from figa_core.sandbox.grading import grade
from figa_core.sandbox.judging import compared, highest_score, judge, prefer

MODEL = "sandbox-teacher"
_TOKEN = re.compile(r"\w+|[^\w\s]")


class TeacherFault(StrEnum):
    """Everything a provider may do instead of answering well."""

    RATE_LIMIT = "429"
    QUOTA = "quota"
    SERVER_ERROR = "500"
    UNAVAILABLE = "503"
    TIMEOUT = "timeout"
    RESET = "reset"
    MALFORMED_JSON = "malformed_json"
    EMPTY_CHOICES = "empty_choices"
    REFUSAL = "refusal"
    LENGTH = "length"
    NONSENSE = "nonsense"
    DUPLICATE = "duplicate"


class FaultPlan:
    """Draws at most one fault per request, seeded by the message and how often it came before.

    So a draw does not depend on the order of arrival, and a repeated request gets a new draw.
    """

    def __init__(self, shares: Mapping[TeacherFault, float], seed: int) -> None:
        """`shares` are shares of all requests. ValueError if one is negative or their sum exceeds 1."""
        if any(share < 0 for share in shares.values()) or sum(shares.values()) > 1:
            raise ValueError(f"fault shares must be at least 0 and at most 1 in all, got {dict(shares)}")
        self._shares, self._seed = dict(shares), seed
        self._seen: Counter[str] = Counter()

    def draw(self, message_hash: str) -> TeacherFault | None:
        """The fault for the next request with this message, if any."""
        attempt = self._seen[message_hash]
        self._seen[message_hash] += 1
        point = random.Random(f"{self._seed}/{message_hash}/{attempt}").random()
        for fault, share in self._shares.items():
            if point < share:
                return fault
            point -= share
        return None


class SlidingWindow:
    """Requests and tokens of the last `window_s` seconds, against limits given per minute.

    Only admitted requests count. A request larger than the whole token limit is admitted alone.
    """

    def __init__(self, requests_per_minute: float, tokens_per_minute: float, window_s: float) -> None:
        self._window_s = window_s
        self.max_requests = max(1, int(requests_per_minute * window_s / 60))
        self.max_tokens = max(1, int(tokens_per_minute * window_s / 60))
        self._entries: deque[tuple[float, int]] = deque()
        self._tokens = 0

    def count(self, now: float, tokens: int) -> None:
        self._entries.append((now, tokens))
        self._tokens += tokens

    def left(self, now: float) -> tuple[int, int, float]:
        """Requests and tokens left at `now`, and seconds until both limits are whole again."""
        reset_s = self._entries[-1][0] + self._window_s - now if self._entries else 0.0
        return self.max_requests - len(self._entries), max(0, self.max_tokens - self._tokens), reset_s

    def wait_s(self, now: float, tokens: int) -> float:
        """Seconds until a request fits, 0 if it fits at `now`."""
        while self._entries and self._entries[0][0] + self._window_s <= now:  # rounded as the waits are
            self._tokens -= self._entries.popleft()[1]
        count, total = len(self._entries), self._tokens
        wait_s = 0.0
        for arrived, size in self._entries:
            if count < self.max_requests and (total + tokens <= self.max_tokens or count == 0):
                return wait_s
            wait_s = arrived + self._window_s - now
            count, total = count - 1, total - size
        return wait_s


def admit(windows: Sequence[SlidingWindow], now: float, tokens: int) -> float:
    """Admit a request if every window has room for it, or else return the seconds to wait."""
    wait_s = max(window.wait_s(now, tokens) for window in windows)
    if wait_s == 0:
        for window in windows:
            window.count(now, tokens)
    return wait_s


def count_tokens(text: str) -> int:
    """Words and punctuation marks: close enough for `usage` and limits."""
    return len(_TOKEN.findall(text))


def message_hash(text: str) -> str:
    """SHA-256 of a user message, as in the request log."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def section(text: str, tag: str) -> str | None:
    """The content of the last `<tag>` … `</tag>` without one newline at each end; None without the tag."""
    opened, closed = text.rfind(f"<{tag}>"), text.rfind(f"</{tag}>")
    if opened < 0 or closed < opened:
        return None
    return text[opened + len(tag) + 2 : closed].removeprefix("\n").removesuffix("\n")


def answer(user_text: str, mistakes: float = 0.0, seed: int = 0) -> str:
    """The correction of the draft in a reviser's message, or a judge's or grader's answer about it.

    That share of the drafts, `mistakes`, is made worse instead: always the same ones for a `seed`.
    """
    if (pair := compared(user_text)) is not None:
        return prefer(section(user_text, "conversation") or "", *pair)
    draft, revision = section(user_text, "response"), section(user_text, "revision")
    if draft is None:
        return "I can only correct a reply between <response> and </response>."
    conversation, reference = section(user_text, "conversation") or "", section(user_text, "reference")
    if (highest := highest_score(user_text)) is not None:
        return judge(conversation, draft, highest)
    if revision is not None:
        return grade(user_text, conversation, revision, reference)
    point = random.Random(f"mistake/{seed}/{message_hash(conversation + draft)}").random()
    return spoil(conversation, draft) if point < mistakes else correct(conversation, draft, reference)


def nonsense(message_sha: str, seed: int) -> str:
    """Made-up words that correct nothing."""
    rng = random.Random(f"nonsense/{seed}/{message_sha}")
    letters = "abdefgiklmnoprstuz"
    return " ".join("".join(rng.choices(letters, k=rng.randint(2, 9))) for _ in range(40)) + "."
