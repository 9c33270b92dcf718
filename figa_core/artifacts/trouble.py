"""What an error of a store's library means: it passes, or the keys or the clock are refused, or none of it.

Libraries of several stores raise errors of their own, which are not imported here: they are known by their
names, by the HTTP status that they carry, and by `errno`. What is not known does not pass.
"""

import errno
from collections.abc import Iterator
from enum import Enum, auto


class Trouble(Enum):
    """What to do about an error."""

    PASSES = auto()
    """The store is away, overloaded or broke off: the same call may succeed in a while."""
    KEYS = auto()
    """The credentials have expired or are refused."""
    CLOCK = auto()
    """The clock of this machine is too far from the store's for its signatures to be taken."""
    LASTS = auto()
    """Anything else: the call would fail again."""


_PASSING_STATUS = frozenset((408, 425, 429))
_UNAUTHORIZED = 401
_SERVER_FAULT = 500
_NOT_IMPLEMENTED = 501
_PASSING_CODES = frozenset(
    (
        "SlowDown", "Throttling", "ThrottlingException", "RequestLimitExceeded", "RequestTimeout",
        "InternalError", "ServiceUnavailable", "OperationAborted", "IncompleteBody", "BadDigest",
        "XAmzContentSHA256Mismatch",
    )
)  # fmt: skip
_KEYS_CODES = frozenset(
    (
        "ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired", "RequestExpired", "InvalidToken",
        "InvalidAccessKeyId", "InvalidClientTokenId", "SignatureDoesNotMatch", "401", "403",
    )
)  # fmt: skip
_PLACE_CODES = frozenset(("NoSuchBucket", "ContainerNotFound"))
_CLOCK_CODES = frozenset(("RequestTimeTooSkewed", "RequestInTheFuture"))
_KEYS_TYPES = frozenset(
    (
        "NoCredentialsError", "PartialCredentialsError", "CredentialRetrievalError", "TokenRetrievalError",
        "UnauthorizedSSOTokenError", "SSOTokenLoadError", "RefreshError", "DefaultCredentialsError",
        "ClientAuthenticationError",
    )
)  # fmt: skip
_PASSING_TYPES = frozenset(
    (
        "HTTPClientError", "ConnectionError", "ConnectTimeoutError", "IncompleteReadError",
        "ResponseStreamingError", "ResponseParserError", "ClientConnectionError", "ClientPayloadError",
        "TimeoutError", "ServiceRequestError", "ServiceResponseError", "TransportError",
    )
)  # fmt: skip
_PASSING_ERRNOS = frozenset(
    (
        errno.EAGAIN, errno.EBUSY, errno.EINTR, errno.EIO, errno.EREMOTEIO, errno.ESTALE, errno.ETIMEDOUT,
        errno.ENETDOWN, errno.ENETUNREACH, errno.EHOSTDOWN, errno.EHOSTUNREACH, errno.EPIPE,
    )
)  # fmt: skip


def trouble_of(error: BaseException) -> Trouble:
    """What an error of a store's library means. An answer of the store counts more than the error's type."""
    chain = list(_chain(error))
    for each in chain:
        status, code = _answer(each)
        if code in _CLOCK_CODES:
            return Trouble.CLOCK
        names = {kind.__name__ for kind in type(each).__mro__}
        if code in _KEYS_CODES or status == _UNAUTHORIZED or names & _KEYS_TYPES:
            return Trouble.KEYS
        if code in _PASSING_CODES or status in _PASSING_STATUS or names & _PASSING_TYPES:
            return Trouble.PASSES
        if status is not None:
            passes = status >= _SERVER_FAULT and status != _NOT_IMPLEMENTED
            return Trouble.PASSES if passes else Trouble.LASTS
    passes = any(isinstance(each, OSError) and each.errno in _PASSING_ERRNOS for each in chain)
    return Trouble.PASSES if passes else Trouble.LASTS


def is_place_missing(error: BaseException) -> bool:
    """Whether an error that a file is missing says that the whole bucket or container is."""
    return any(_code(each) in _PLACE_CODES for each in _chain(error))


def _code(error: BaseException) -> str:
    return _answer(error)[1] or str(getattr(error, "error_code", ""))  # the latter is azure's


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The error and its causes; libraries translate each other's."""
    seen: BaseException | None = error
    while seen is not None:
        yield seen
        seen = seen.__cause__


def _answer(error: BaseException) -> tuple[int | None, str]:
    """The HTTP status and the store's own code of an error, as far as it has them."""
    response = getattr(error, "response", None)
    if isinstance(response, dict):  # botocore's
        status = response.get("ResponseMetadata", {}).get("HTTPStatusCode")
        code = response.get("Error", {}).get("Code")
        return _number(status), str(code)
    # gcsfs, aiohttp and azure
    for name in ("status_code", "status", "code"):
        if (found := _number(getattr(error, name, None))) is not None:
            return found, ""
    return None, ""


def _number(value: object) -> int | None:
    if isinstance(value, int) or (isinstance(value, str) and value.isdecimal()):
        return int(value)
    return None
