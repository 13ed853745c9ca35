"""Everything that Windfall raises on purpose.

    WindfallError
    ├── ConfigError               a setting, flag or environment variable cannot be used
    ├── BrokerError               Redis did not do what it was asked
    │   ├── BrokerUnavailable     unreachable, or the connection was lost
    │   │   └── ScriptsMissing    it lacks our scripts (it restarted), and this user may not load them
    │   ├── BrokerDenied          wrong password, unknown user, or a command that the ACL forbids
    │   └── BrokerFull            out of memory with `noeviction`: nothing was written
    ├── WireError                 bytes from Redis that are not one of our messages
    │   └── UnknownContract       … or are one of another contract version
    ├── InvalidRequest            a request, row or file that cannot become a job
    │   ├── BatchCancelled        the batch was cancelled or deleted while rows were being added
    │   ├── IdTaken               another program's job already has a row's id
    │   ├── BatchFull             the batch has reached the row limit
    │   └── BatchDiffers          the batch with this id has different rows
    ├── NotFound                  no job or batch has this id
    ├── Unfinished                a batch cannot be deleted while it is running
    ├── NotConnected              a Producer is used outside of `async with` (also a RuntimeError)
    ├── WaitTimeout               no result within the given time (also a TimeoutError)
    ├── CompletionFailed          a job ended without a completion; carries its result
    └── BackendError              one attempt failed; `type` is what the ledger records
        ├── RequestRejected       this backend will never accept this request
        │   ├── ContentRefused        its moderation refuses the prompt
        │   ├── ContextLengthExceeded
        │   ├── MalformedRequest  no backend will: the request itself is invalid
        │   ├── ModelNotFound
        │   └── UnsupportedParameter
        ├── AuthenticationFailed  the key is wrong or lacks permission
        ├── QuotaExhausted        the quota or the credit is used up
        ├── RateLimited           try again later
        ├── BackendUnavailable    it failed, and certainly completed nothing
        │   ├── EngineDied        the engine process exited while it held the job
        │   └── CircuitOpen       the circuit breaker is open (defined in windfall_worker.guards.breaker)
        ├── AmbiguousOutcome      it may have been completed, and billed
        └── InvalidResponse       the response is not a completion

An exception's message is a sentence for a person: what is wrong, with which value, and what to do.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Final

if TYPE_CHECKING:
    from windfall.result import CompletionResult, Usage


class WindfallError(Exception):
    """The base class: catch this to catch everything Windfall raises."""


class ConfigError(WindfallError):
    """A setting, flag or environment variable cannot be used."""


class BrokerError(WindfallError):
    """Redis did not do what it was asked."""


class BrokerUnavailable(BrokerError):
    """Redis is unreachable, or the connection was lost."""


class ScriptsMissing(BrokerUnavailable):
    """Redis lacks our scripts, and this user may not load them. Workers load them at startup and periodically."""


class BrokerDenied(BrokerError):
    """Redis rejected the password, the user or the command."""


class BrokerFull(BrokerError):
    """Redis is out of memory (`noeviction`); the refused call wrote nothing."""


class WireError(WindfallError):
    """Bytes from Redis that are not one of our messages. `data` holds them."""

    def __init__(self, message: str, data: bytes) -> None:
        super().__init__(message)
        self.data = data


class UnknownContract(WireError):
    """A message with a contract version or a field that this program does not know. `version` is the one found."""

    def __init__(self, message: str, data: bytes, version: object) -> None:
        super().__init__(message, data)
        self.version = version


class InvalidRequest(WindfallError):
    """A request, row or file that cannot become a job.

    `line` counts from 1; `field` is a dotted path into the row. Either is None if it does not apply.
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
    """Another program's job already has the id of a row of this batch. No more rows are added; those before it run."""


class BatchFull(InvalidRequest):
    """The batch has reached the row limit; the rows added so far run."""


class BatchDiffers(InvalidRequest):
    """The rows differ from those already in the batch; none was added."""


class Unfinished(WindfallError):
    """A batch cannot be deleted while it is running, unless the caller asks for that."""


class NotFound(WindfallError):
    """No job or batch has this id, or its results have expired."""


class NotConnected(WindfallError, RuntimeError):
    """A `Producer` has no connection: it is used before its `async with` block was entered, or after its end."""


class WaitTimeout(WindfallError, TimeoutError):
    """No result arrived within the given time; the job is still in the queue or running."""


class CompletionFailed(WindfallError):
    """A job ended without a completion. `result` says why, and lists every attempt."""

    def __init__(self, result: CompletionResult) -> None:
        reason = result.error.message if result.error else "no reason was recorded"
        super().__init__(f"job {result.job_id} {result.state.value}: {reason}")
        self.result = result


#: The codes of an attempt whose whole allowance of time passed, and of one whose answer could not be read.
TIMEOUT: Final = "timeout"
UNREADABLE: Final = "unreadable"


class BackendError(WindfallError):
    """One attempt on one backend failed.

    `type` is the machine-readable kind that the ledger and the result carry; `code` narrows it where that decides
    what follows (`TIMEOUT`, `UNREADABLE`). `retry_after` is in seconds, if the backend gave a time. `status`,
    `request_id` and `param` (the field that was refused) come from HTTP backends. `usage` is what the backend reported
    before it failed: it was paid for.
    """

    type: ClassVar[str] = "backend_error"
    code: str | None = None
    param: str | None = None
    usage: Usage | None = None

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
    """This backend will never accept this request."""

    type = "invalid_request"


class ContentRefused(RequestRejected):
    """The backend's moderation refuses the prompt. It says nothing about the key or about other requests."""

    type = "content_refused"


class ContextLengthExceeded(RequestRejected):
    """The prompt (and what it asks for) is longer than the model's context. Both numbers are in tokens."""

    type = "context_length_exceeded"


class MalformedRequest(RequestRejected):
    """The request itself is invalid, so no other backend is tried, and none is paid."""

    type = "malformed_request"


class ModelNotFound(RequestRejected):
    """The backend has no model with this name."""

    type = "model_not_found"


class UnsupportedParameter(RequestRejected):
    """This backend cannot honour a parameter, which the message names."""

    type = "unsupported_parameter"


class AuthenticationFailed(BackendError):
    """The key is wrong, missing, or lacks permission."""

    type = "invalid_api_key"


class QuotaExhausted(BackendError):
    """The account's quota or credit is used up; waiting a little will not help."""

    type = "insufficient_quota"


class RateLimited(BackendError):
    """The backend asks for a later retry (`retry_after`, seconds)."""

    type = "rate_limited"


class BackendUnavailable(BackendError):
    """The backend failed, and certainly completed nothing."""

    type = "backend_unavailable"


class EngineDied(BackendUnavailable):
    """The engine process exited, or its watchdog killed it, while it held the job."""

    type = "engine_died"


class AmbiguousOutcome(BackendError):
    """The request was sent and no answer arrived: it may have been completed, and billed."""

    type = "ambiguous"


class InvalidResponse(BackendError):
    """The response is not a completion."""

    type = "invalid_response"
    code = UNREADABLE
