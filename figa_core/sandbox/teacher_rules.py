"""What the teacher does with a request: the faults it injects, the window it enforces, what it reads."""

import hashlib
import random
import re
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from figa_core.sandbox.correction import correct


class TeacherFault(StrEnum):
    """What a provider can do instead of answering."""

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
    """Draws at most one fault a request, seeded by the message and how often it came before.

    So the draw depends on no order of arrival, and a repeated request gets a new draw.
    """

    def __init__(self, shares: Mapping[TeacherFault, float], seed: int) -> None:
        """`shares` are shares of all requests, in [0, 1], at most 1 in all; else ValueError."""
        if any(share < 0 for share in shares.values()) or sum(shares.values()) > 1:
            raise ValueError(f"fault shares must be at least 0 and at most 1 in all, got {dict(shares)}")
        self._shares = dict(shares)
        self._seed = seed
        self._seen: Counter[str] = Counter()

    def draw(self, message_hash: str) -> TeacherFault | None:
        """The fault of the next request with this message, if any."""
        attempt = self._seen[message_hash]
        self._seen[message_hash] += 1
        point = random.Random(f"{self._seed}/{message_hash}/{attempt}").random()
        for fault, share in self._shares.items():
            if point < share:
                return fault
            point -= share
        return None


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a window says: seconds to wait (0: admitted), what is left of both limits, and in how many
    seconds both are whole again.
    """

    wait_s: float
    requests_left: int
    tokens_left: int
    reset_s: float


class SlidingWindow:
    """Requests and tokens of the last `window_s` seconds, against limits given per minute.

    Only admitted requests count. A request larger than the whole token limit is admitted alone.
    """

    def __init__(self, requests_per_minute: float, tokens_per_minute: float, window_s: float = 60.0) -> None:
        self._window_s = window_s
        self.max_requests = max(1, int(requests_per_minute * window_s / 60))
        self.max_tokens = max(1, int(tokens_per_minute * window_s / 60))
        self._entries: deque[tuple[float, int]] = deque()
        self._tokens = 0

    def add(self, now: float, tokens: int) -> None:
        """Count a request."""
        self._entries.append((now, tokens))
        self._tokens += tokens

    def verdict(self, now: float, wait_s: float) -> Verdict:
        """What is left at `now`, with a wait that was decided."""
        left = self.max_requests - len(self._entries), max(0, self.max_tokens - self._tokens)
        reset_s = self._entries[-1][0] + self._window_s - now if self._entries else 0.0
        return Verdict(wait_s, *left, reset_s)

    def wait_s(self, now: float, tokens: int) -> float:
        """Seconds until a request fits, 0 if it fits at `now`."""
        while self._entries and self._entries[0][0] + self._window_s <= now:  # as the waits are rounded
            self._tokens -= self._entries.popleft()[1]
        count, total = len(self._entries), self._tokens
        wait_s = 0.0
        for arrived, size in self._entries:
            if count < self.max_requests and (total + tokens <= self.max_tokens or count == 0):
                return wait_s
            wait_s = arrived + self._window_s - now
            count, total = count - 1, total - size
        return wait_s


def admit(windows: Sequence[SlidingWindow], now: float, tokens: int) -> Verdict:
    """Admit a request if every window has room for it; what is left is the first window's."""
    wait_s = max(window.wait_s(now, tokens) for window in windows)
    if wait_s == 0:
        for window in windows:
            window.add(now, tokens)
    return windows[0].verdict(now, wait_s)


_TOKEN = re.compile(r"\w+|[^\w\s]")
CUT_SHARE = 0.5
REFUSAL_TEXT = "I'm sorry, but I can't help with that."
NO_DRAFT_TEXT = "I can only correct a reply between <response> and </response>."


def count_tokens(text: str) -> int:
    """Words and punctuation marks: near enough for `usage` and limits."""
    return len(_TOKEN.findall(text))


def message_hash(text: str) -> str:
    """SHA-256 of a user message, as the request log holds it."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def section(text: str, tag: str) -> str | None:
    """What is in the last `<tag>` … `</tag>`, less one newline at each end; None without it."""
    opened = text.rfind(f"<{tag}>")
    closed = text.rfind(f"</{tag}>")
    if opened < 0 or closed < opened:
        return None
    return text[opened + len(tag) + 2 : closed].removeprefix("\n").removesuffix("\n")


def answer(user_text: str) -> str:
    """The correction of the draft in a reviser's message."""
    draft = section(user_text, "response")
    if draft is None:
        return NO_DRAFT_TEXT
    return correct(section(user_text, "conversation") or "", draft, section(user_text, "reference"))


def nonsense(message_sha: str, seed: int) -> str:
    """Words that are no correction of anything."""
    rng = random.Random(f"nonsense/{seed}/{message_sha}")
    letters = "abdefgiklmnoprstuz"
    return " ".join("".join(rng.choices(letters, k=rng.randint(2, 9))) for _ in range(40)) + "."
