"""Every way in which an HTTP call can fail, as one of our errors. This is the only place where httpx is translated.

Statuses (below 500, `type` and `code` of the body win over the status where they say more):

    3xx                                     InvalidResponse: completions are not redirected, so base_url is wrong
    400 and other 4xx                       RequestRejected; or what the body says: ContextLengthExceeded,
                                              UnsupportedParameter, ModelNotFound, QuotaExhausted, …
    401 403 407                             AuthenticationFailed; ContentRefused where 403 is a moderation's
    402                                     QuotaExhausted
    404                                     ModelNotFound; RequestRejected (not_found) where no JSON error comes with it
    408 409 425                             BackendUnavailable: nothing was begun
    429                                     RateLimited; QuotaExhausted where the body says that the money is gone;
                                              RequestRejected (request_too_large) where the request exceeds the limit
    504 524                                 AmbiguousOutcome: a gateway gave up waiting, the completion may have gone on
    other 5xx                               BackendUnavailable

Exceptions (`sent`: the request's body was on its way):

    ConnectError ConnectTimeout PoolTimeout ProxyError WriteTimeout          BackendUnavailable: nothing was begun
    UnsupportedProtocol LocalProtocolError InvalidURL CookieConflict         RequestRejected: no endpoint can get it
    ReadTimeout                                                              AmbiguousOutcome
    ReadError WriteError CloseError NetworkError TransportError,             AmbiguousOutcome when sent, else
      RemoteProtocolError "disconnected" or with a body begun                  BackendUnavailable
    AnswerTooLarge (ours)                                                    AmbiguousOutcome: it was made, and cut
    RemoteProtocolError otherwise, DecodingError, TooManyRedirects, SSEError InvalidResponse
    StreamError and all below it, RequestError, HTTPError, HTTPStatusError   BackendUnavailable

Answers with a status of 200 that are not completions:

    a web page, other text, JSON but no object, no choices                   InvalidResponse: none was made there
    an error object, also in a stream                                        its type, code or status; InvalidResponse
    JSON that begins like an answer and does not end                         AmbiguousOutcome: it was made, and cut
    a body or stream that ends before its end                                AmbiguousOutcome: it was made, and cut
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator
from typing import Final

import httpx
import httpx_sse
from pydantic import SecretStr

from windfall.errors import (
    AmbiguousOutcome,
    AuthenticationFailed,
    BackendError,
    BackendUnavailable,
    ContentRefused,
    ContextLengthExceeded,
    InvalidResponse,
    ModelNotFound,
    QuotaExhausted,
    RateLimited,
    RequestRejected,
)
from windfall_worker.cloud.answer_limits import AnswerTooLarge
from windfall_worker.cloud.faults import Fault, fault_in_text
from windfall_worker.cloud.retry_after import retry_after

#: Characters of an endpoint's own message that go into an error: it may repeat the prompt, which is private.
LONGEST_MESSAGE: Final = 300
#: Characters of an endpoint's id of a request that are kept.
LONGEST_ID: Final = 256

#: The type of an error about a request that alone exceeds the endpoint's rate limit.
TOO_LARGE: Final = "request_too_large"

#: Everything that httpx and httpx-sse raise; the table above says what becomes of each.
FOREIGN: Final = (
    httpx.HTTPError,
    httpx.InvalidURL,
    httpx.CookieConflict,
    httpx.StreamError,
    httpx_sse.SSEError,
)
#: Failures of sendings that the endpoint cannot have got.
NEVER_SENT: Final = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError, httpx.WriteTimeout)
_OUR_FAULT = (httpx.UnsupportedProtocol, httpx.LocalProtocolError, httpx.InvalidURL, httpx.CookieConflict)
_NO_ANSWER = (httpx.DecodingError, httpx.TooManyRedirects, httpx_sse.SSEError)

_BY_STATUS: Final[dict[int, type[BackendError]]] = {
    401: AuthenticationFailed,
    402: QuotaExhausted,
    403: AuthenticationFailed,
    407: AuthenticationFailed,
    408: BackendUnavailable,
    409: BackendUnavailable,
    425: BackendUnavailable,
    429: RateLimited,
    504: AmbiguousOutcome,
    524: AmbiguousOutcome,
}
#: The statuses with which a moderation refuses a prompt.
_MODERATED: Final = frozenset({400, 403, 422, 451})
_ADVICE: Final[dict[type[BackendError], str]] = {
    AuthenticationFailed: "check the key and what it may do",
    QuotaExhausted: "the account's quota or credit is used up",
}


class ErrorMapper:
    """Translates for one endpoint. `name` is how errors call it; the key is cut out of everything that it says."""

    def __init__(self, name: str, key: SecretStr) -> None:
        self.name = name
        self._key = key

    def scrub(self, text: str) -> str:
        """Text that may go into an error: short, on one line, without the key."""
        secret = self._key.get_secret_value()
        if secret:
            text = text.replace(secret, "***")
        text = " ".join(text.split())
        return text if len(text) <= LONGEST_MESSAGE else text[:LONGEST_MESSAGE] + "…"

    def from_response(self, response: httpx.Response) -> BackendError:
        """The error for a response with an error status. Its body must have been read."""
        status = response.status_code
        request_id = request_id_of(response)
        if status < 400:
            target = self.scrub(response.headers.get("location", "nowhere"))
            return InvalidResponse(
                f"{self.name} answered {status}, a redirect to {target}; set base_url to where it leads",
                status=status,
                request_id=request_id,
            )
        fault = fault_in_text(response.text)
        wait = retry_after(response.headers)
        if wait is None and fault:
            wait = fault.retry_after
        kind = _meaning(status, fault, wait)
        words = self.scrub(fault.message) if fault else ""
        not_found = status == 404 and fault is None
        too_large = status in (413, 429) and fault is not None and fault.never_passes
        if too_large:
            kind, wait = RequestRejected, None
        if not_found:
            words = "there is nothing at this address; check base_url"
        message = f"{self.name} answered {status}" + (f": {words}" if words else "")
        if kind in _ADVICE:
            message += f" ({_ADVICE[kind]})"
        error = kind(
            message,
            type="not_found" if not_found else TOO_LARGE if too_large else None,
            retry_after=wait,
            status=status,
            request_id=request_id,
        )
        return _with_facts(error, fault)

    def from_fault(self, fault: Fault, *, request_id: str | None = None) -> BackendError:
        """The error of an error object that came with a good status, or inside a stream."""
        wait = fault.retry_after
        kind = fault.meaning or (_meaning(fault.status, fault, wait) if fault.status else InvalidResponse)
        words = self.scrub(fault.message) or ", ".join(sorted(fault.kinds)) or "no reason"
        message = f"{self.name} answered with an error: {words}"
        return _with_facts(kind(message, status=fault.status, request_id=request_id, retry_after=wait), fault)

    def from_exception(self, exc: Exception, *, sent: bool, begun: bool = False) -> BackendError:
        """The error of an exception of httpx. `sent`: the request was on its way; `begun`: the answer was."""
        self.scrub_causes(exc)
        what = f"{type(exc).__name__}: {self.scrub(str(exc))}".rstrip(": ")
        broken_off = isinstance(exc, httpx.TransportError)
        readings: tuple[tuple[bool, type[BackendError], str], ...] = (
            (isinstance(exc, NEVER_SENT), BackendUnavailable, f"could not be reached: {_cause(exc) or what}"),
            (isinstance(exc, _OUR_FAULT), RequestRejected, f"cannot be called this way ({what}); check base_url"),
            (
                isinstance(exc, httpx.TimeoutException),
                AmbiguousOutcome,
                f"did not answer in time ({what}); the request may have been completed",
            ),
            (
                isinstance(exc, AnswerTooLarge),
                AmbiguousOutcome,
                f"sent more than allowed ({what}); it may have been paid for",
            ),
            (isinstance(exc, _NO_ANSWER), InvalidResponse, f"sent an unreadable answer ({what})"),
            (begun and broken_off, AmbiguousOutcome, f"broke off its answer ({what}); it may have been paid for"),
            (_is_no_http(exc), InvalidResponse, f"answered with something other than HTTP ({what}); check base_url"),
            (sent and broken_off, AmbiguousOutcome, f"closed the connection without an answer ({what})"),
        )
        for applies, kind, sentence in readings:
            if applies:
                return kind(f"{self.name} {sentence}")
        return BackendUnavailable(f"the call to {self.name} failed ({what})")

    def scrub_causes(self, exc: Exception) -> None:
        """Cut the key out of an exception of httpx and of those behind it: h11 quotes what it could not read."""
        secret = self._key.get_secret_value()
        for link in _chain(exc):
            if secret and secret in str(link):
                link.args = (self.scrub(str(link)),)


def request_id_of(response: httpx.Response) -> str | None:
    """The endpoint's id of the request, under the name that OpenAI or Anthropic gives it."""
    found: str | None = response.headers.get("x-request-id") or response.headers.get("request-id")
    return found[:LONGEST_ID] if found else None


def is_closed_unanswered(exc: Exception) -> bool:
    """Whether the connection went away before any byte of an answer came."""
    if isinstance(exc, httpx.RemoteProtocolError):
        return not _is_no_http(exc)
    return isinstance(exc, httpx.NetworkError) and not isinstance(exc, httpx.ConnectError)


def is_never_sent(exc: Exception) -> bool:
    """Whether the endpoint cannot have got the request, and trying again may help."""
    return isinstance(exc, NEVER_SENT) and not _is_tls(exc)


def _with_facts(error: BackendError, fault: Fault | None) -> BackendError:
    if fault:
        error.param, error.usage = fault.param, fault.usage
    return error


def _meaning(status: int, fault: Fault | None, wait: float | None) -> type[BackendError]:
    if fault and status < 500:
        # Gemini's compatible endpoint speaks of quota in every rate limit; a time to come back tells them apart.
        passing = wait is not None or fault.is_rate_limit
        if fault.speaks_of_quota and not passing:
            return QuotaExhausted
        if status == 400 and fault.speaks_of_context:
            return ContextLengthExceeded
        if status in _MODERATED and fault.speaks_of_moderation:
            return ContentRefused
        named = fault.meaning
        if named and (named is not RequestRejected or status in (400, 422)):
            return named
    if status == 404:
        return ModelNotFound if fault else RequestRejected
    return _BY_STATUS.get(status, BackendUnavailable if status >= 500 else RequestRejected)


def _is_tls(exc: Exception) -> bool:
    # A handshake that was too slow has a TLS error behind it as well, but is a timeout like any other.
    return isinstance(exc, httpx.ConnectError) and any(isinstance(link, ssl.SSLError) for link in _chain(exc))


def _is_no_http(exc: Exception) -> bool:
    # httpx has one class for both; "Server disconnected without sending a response." is httpcore's sentence.
    return isinstance(exc, httpx.RemoteProtocolError) and "disconnected" not in str(exc)


def _cause(exc: Exception) -> str:
    """What a failed connection is really about, in a sentence that says what to do."""
    for link in _chain(exc):
        if isinstance(link, socket.gaierror):
            return "its name cannot be resolved; check base_url and the network"
        if isinstance(link, ssl.SSLCertVerificationError):
            return f"its certificate is not trusted ({link.verify_message})"
        if isinstance(link, ssl.SSLError) and _is_tls(exc):
            return (
                f"TLS failed ({link.reason or 'no reason'}); is base_url http where it should be https, or the reverse?"
            )
    return ""


def _chain(exc: BaseException | None) -> Iterator[BaseException]:
    while exc is not None:
        yield exc
        exc = exc.__cause__ or exc.__context__
