"""Everything that Windfall raises on purpose.

    WindfallError
    ├── ConfigError               a setting, flag or environment variable cannot be used
    ├── BrokerError               Redis did not do what was asked
    │   ├── BrokerUnavailable     not reachable, or it went away
    │   │   └── ScriptsMissing    it restarted and has no scripts, and this user may not load them
    │   ├── BrokerDenied          wrong password, unknown user, or a command the ACL forbids
    │   └── BrokerFull            out of memory with `noeviction`: nothing was written
    ├── WireError                 bytes from Redis that are no message of ours
    │   └── UnknownContract       … or are one of another contract version
    ├── InvalidRequest            a request, row or file that cannot become a job
    │   ├── BatchCancelled        the batch was cancelled or deleted while rows were being added
    │   ├── IdTaken               another program's job has the id of a row
    │   ├── BatchFull             a batch has as many rows as the limit allows
    │   └── BatchDiffers          a batch of that id has other rows
    ├── NotFound                  no job or batch of that id
    ├── Unfinished                a batch that still runs is not deleted
    ├── WaitTimeout               the result did not come in the time given (also a TimeoutError)
    ├── CompletionFailed          a job ended without a completion; carries its result
    └── BackendError              one attempt failed; `type` is what the ledger records
        ├── RequestRejected       this backend will never do this request
        │   ├── ContextLengthExceeded
        │   ├── MalformedRequest  no backend will: the request itself is wrong
        │   ├── ModelNotFound
        │   └── UnsupportedParameter
        ├── AuthenticationFailed  the key is wrong or may not do this
        ├── QuotaExhausted        the quota or the money is gone
        ├── RateLimited           come back later
        ├── BackendUnavailable    it failed, and nothing was completed
        │   ├── EngineDied        the engine process ended while it held the job
        │   └── CircuitOpen       the breaker let nobody through (defined in windfall_worker.guards.breaker)
        ├── AmbiguousOutcome      it may have been completed, and paid for
        └── InvalidResponse       what came back is no completion

An exception's message is a sentence for a person: what is wrong, with which value, what to do.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from windfall.result import CompletionResult


class WindfallError(Exception):
    """The root: catch this to catch all of ours."""


class ConfigError(WindfallError):
    """A setting, flag or environment variable cannot be used."""


class BrokerError(WindfallError):
    """Redis did not do what was asked of it."""


class BrokerUnavailable(BrokerError):
    """Redis cannot be reached, or went away."""


class ScriptsMissing(BrokerUnavailable):
    """Redis has not our scripts, and this user may not load them: workers do, at their start and again and again."""


class BrokerDenied(BrokerError):
    """Redis refused the password, the user or the command."""


class BrokerFull(BrokerError):
    """Redis is out of memory under `noeviction`; nothing of the refused call was written."""


class WireError(WindfallError):
    """Bytes from Redis that are no message of ours. `data` holds them."""

    def __init__(self, message: str, data: bytes) -> None:
        super().__init__(message)
        self.data = data


class UnknownContract(WireError):
    """A message of a contract version, or with a field, that this program does not know. `version` is the one found."""

    def __init__(self, message: str, data: bytes, version: object) -> None:
        super().__init__(message, data)
        self.version = version


class InvalidRequest(WindfallError):
    """A request, row or file that cannot become a job.

    `line` counts from 1; `field` is a dotted path into the row; either is None where it does not apply.
    """

    def __init__(self, reason: str, *, line: int | None = None, field: str | None = None) -> None:
        place = [f"line {line}"] if line is not None else []
        place += [f"field {field!r}"] if field else []
        super().__init__(f"{', '.join(place)}: {reason}" if place else reason)
        self.reason = reason
        self.line = line
        self.field = field


class BatchCancelled(InvalidRequest):
    """The batch was cancelled, or deleted, while rows were being added."""


class IdTaken(InvalidRequest):
    """A job of another program has the id of a row of this batch, which takes no more; the rows before it run."""


class BatchFull(InvalidRequest):
    """The batch has as many rows as the limit allows; those that are in run."""


class BatchDiffers(InvalidRequest):
    """The rows are not those that the batch has already; none was added."""


class Unfinished(WindfallError):
    """A batch that still runs is not deleted, unless that is asked for."""


class NotFound(WindfallError):
    """No job or batch of that id: it never was, or its results were kept no longer."""


class WaitTimeout(WindfallError, TimeoutError):
    """The result did not come in the time given; the job goes on."""


class CompletionFailed(WindfallError):
    """A job ended without a completion. `result` says why, with every attempt."""

    def __init__(self, result: CompletionResult) -> None:
        reason = result.error.message if result.error else "no reason was recorded"
        super().__init__(f"job {result.job_id} {result.state.value}: {reason}")
        self.result = result


class BackendError(WindfallError):
    """One attempt on one backend failed.

    `type` is the machine-readable kind that the ledger and the result carry. `retry_after` is in seconds, where the
    backend named a time. `status` and `request_id` come from HTTP backends.
    """

    type: ClassVar[str] = "backend_error"

    def __init__(
        self,
        message: str,
        *,
        type: str | None = None,  # noqa: A002 - the word of the contract
        retry_after: float | None = None,
        status: int | None = None,
        request_id: str | None = None,
    ) -> None:
        super().__init__(message)
        self.kind = type or self.type
        self.retry_after = retry_after
        self.status = status
        self.request_id = request_id


class RequestRejected(BackendError):
    """This backend will never do this request."""

    type = "invalid_request"


class ContextLengthExceeded(RequestRejected):
    """The prompt (and what it asks for) is longer than the model's context. Both numbers are in tokens."""

    type = "context_length_exceeded"


class MalformedRequest(RequestRejected):
    """The request itself is wrong, so no other backend is asked, and none is paid."""

    type = "malformed_request"


class ModelNotFound(RequestRejected):
    """The backend has no model of that name."""

    type = "model_not_found"


class UnsupportedParameter(RequestRejected):
    """A parameter that this backend cannot honour, named in the message."""

    type = "unsupported_parameter"


class AuthenticationFailed(BackendError):
    """The key is wrong, missing, or may not do this."""

    type = "invalid_api_key"


class QuotaExhausted(BackendError):
    """The quota or the money of the account is gone; waiting a little will not help."""

    type = "insufficient_quota"


class RateLimited(BackendError):
    """The backend asks to come back later (`retry_after`, seconds)."""

    type = "rate_limited"


class BackendUnavailable(BackendError):
    """The backend failed, and certainly completed nothing."""

    type = "backend_unavailable"


class EngineDied(BackendUnavailable):
    """The engine process ended, or was ended by its watchdog, while it held the job."""

    type = "engine_died"


class AmbiguousOutcome(BackendError):
    """The request was sent and no answer came: it may have been completed, and paid for."""

    type = "ambiguous"


class InvalidResponse(BackendError):
    """What came back is no completion."""

    type = "invalid_response"
