"""What errors of stores' libraries mean; those of libraries that are not installed here are imitated."""

import errno

import pytest

from figa_core.artifacts.trouble import Trouble, is_place_missing, trouble_of


def _named(name: str, **attributes: object) -> Exception:
    """An error of a class of this name."""
    error = type(name, (Exception,), {})("why")
    for each, value in attributes.items():
        setattr(error, each, value)
    return error


def _boto(status: int, code: str) -> OSError:
    """As s3fs raises it: an error of its own, caused by botocore's."""
    error = OSError(errno.EIO, "why")
    response = {"ResponseMetadata": {"HTTPStatusCode": status}, "Error": {"Code": code}}
    error.__cause__ = _named("ClientError", response=response)
    return error


def _because(error: Exception, cause: BaseException) -> Exception:
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    "error",
    [
        _boto(503, "SlowDown"),
        _boto(500, "InternalError"),
        _boto(500, "Unknown"),
        _boto(429, "TooMany"),
        _boto(408, "Late"),
        _boto(400, "RequestTimeout"),
        _named("HttpError", code=503),
        _named("HttpError", code="500"),
        _named("HttpResponseError", status_code=429),
        _named("ClientPayloadError"),
        _because(_named("ClientPayloadError"), _named("ContentLengthError", code=400)),
        _because(OSError("why"), _named("ServiceRequestError")),
        ConnectionResetError(104, "reset"),
        TimeoutError(),
        OSError(errno.ESTALE, "stale file handle"),
        _because(RuntimeError("why"), OSError(errno.ETIMEDOUT, "late")),
    ],
    ids=repr,
)
def test_it_passes(error: Exception) -> None:
    assert trouble_of(error) is Trouble.PASSES


@pytest.mark.parametrize(
    "error",
    [
        _boto(400, "ExpiredToken"),
        _boto(403, "InvalidAccessKeyId"),
        _boto(403, "403"),
        _named("ClientResponseError", status=401),
        _named("NoCredentialsError"),
        _because(OSError("why"), _named("RefreshError")),
    ],
    ids=repr,
)
def test_the_keys_are_refused(error: Exception) -> None:
    assert trouble_of(error) is Trouble.KEYS


@pytest.mark.parametrize(
    "error",
    [
        _boto(403, "AccessDenied"),
        _boto(404, "NoSuchBucket"),
        _boto(400, "InvalidBucketName"),
        _boto(501, "NotImplemented"),
        _named("HttpError", code=404),
        FileNotFoundError(errno.ENOENT, "gone"),
        PermissionError(errno.EACCES, "no"),
        OSError(errno.ENOSPC, "full"),
        ValueError("why"),
    ],
    ids=repr,
)
def test_it_would_fail_again(error: Exception) -> None:
    assert trouble_of(error) is Trouble.LASTS


def test_the_clock_is_wrong() -> None:
    assert trouble_of(_boto(403, "RequestTimeTooSkewed")) is Trouble.CLOCK


def test_a_missing_bucket_is_told_from_a_missing_file() -> None:
    azures = _because(
        FileNotFoundError("why"), _named("ResourceNotFoundError", error_code="ContainerNotFound")
    )
    assert is_place_missing(azures)
    assert is_place_missing(_boto(404, "NoSuchBucket"))
    assert not is_place_missing(_boto(404, "NoSuchKey"))
    assert not is_place_missing(FileNotFoundError("why"))
