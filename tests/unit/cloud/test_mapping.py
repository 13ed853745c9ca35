"""Every way in which an HTTP call can fail becomes one of our errors."""

from __future__ import annotations

import inspect
import json
import ssl
from typing import Any

import httpx
import httpx_sse
import pytest
from pydantic import SecretStr

from windfall.errors import (
    AmbiguousOutcome,
    AuthenticationFailed,
    BackendError,
    BackendUnavailable,
    ContextLengthExceeded,
    InvalidResponse,
    ModelNotFound,
    QuotaExhausted,
    RateLimited,
    RequestRejected,
    UnsupportedParameter,
)
from windfall_worker.cloud.mapping import FOREIGN, LONGEST_MESSAGE, ErrorMapper, is_never_sent

KEY = "sk-very-secret"
ERRORS = ErrorMapper("https://api.example", SecretStr(KEY))

#: (never sent, sent and unanswered, answer begun), for every class of httpx that can be raised.
EXCEPTIONS: dict[str, tuple[type[BackendError], type[BackendError], type[BackendError]]] = {
    "CloseError": (BackendUnavailable, AmbiguousOutcome, AmbiguousOutcome),
    "ConnectError": (BackendUnavailable, BackendUnavailable, BackendUnavailable),
    "ConnectTimeout": (BackendUnavailable, BackendUnavailable, BackendUnavailable),
    "CookieConflict": (RequestRejected, RequestRejected, RequestRejected),
    "DecodingError": (InvalidResponse, InvalidResponse, InvalidResponse),
    "HTTPError": (BackendUnavailable, BackendUnavailable, BackendUnavailable),
    "HTTPStatusError": (BackendUnavailable, BackendUnavailable, BackendUnavailable),
    "InvalidURL": (RequestRejected, RequestRejected, RequestRejected),
    "LocalProtocolError": (RequestRejected, RequestRejected, RequestRejected),
    "NetworkError": (BackendUnavailable, AmbiguousOutcome, AmbiguousOutcome),
    "PoolTimeout": (BackendUnavailable, BackendUnavailable, BackendUnavailable),
    "ProtocolError": (BackendUnavailable, AmbiguousOutcome, AmbiguousOutcome),
    "ProxyError": (BackendUnavailable, BackendUnavailable, BackendUnavailable),
    "ReadError": (BackendUnavailable, AmbiguousOutcome, AmbiguousOutcome),
    "ReadTimeout": (AmbiguousOutcome, AmbiguousOutcome, AmbiguousOutcome),
    "RemoteProtocolError": (InvalidResponse, InvalidResponse, AmbiguousOutcome),
    "RequestError": (BackendUnavailable, BackendUnavailable, BackendUnavailable),
    "RequestNotRead": (BackendUnavailable, BackendUnavailable, BackendUnavailable),
    "ResponseNotRead": (BackendUnavailable, BackendUnavailable, BackendUnavailable),
    "StreamClosed": (BackendUnavailable, BackendUnavailable, BackendUnavailable),
    "StreamConsumed": (BackendUnavailable, BackendUnavailable, BackendUnavailable),
    "StreamError": (BackendUnavailable, BackendUnavailable, BackendUnavailable),
    "TimeoutException": (AmbiguousOutcome, AmbiguousOutcome, AmbiguousOutcome),
    "TooManyRedirects": (InvalidResponse, InvalidResponse, InvalidResponse),
    "TransportError": (BackendUnavailable, AmbiguousOutcome, AmbiguousOutcome),
    "UnsupportedProtocol": (RequestRejected, RequestRejected, RequestRejected),
    "WriteError": (BackendUnavailable, AmbiguousOutcome, AmbiguousOutcome),
    "WriteTimeout": (BackendUnavailable, BackendUnavailable, BackendUnavailable),
}


def httpx_exceptions() -> dict[str, type[Exception]]:
    """Every exception that httpx has, its private ones too."""
    modules = (httpx, httpx._exceptions)
    found = {name: thing for module in modules for name, thing in vars(module).items() if inspect.isclass(thing)}
    return {name: thing for name, thing in found.items() if issubclass(thing, Exception)}


def raised(kind: type[Exception], message: str = "words") -> Exception:
    parameters = inspect.signature(kind.__init__).parameters
    extra: dict[str, Any] = {}
    if "response" in parameters:
        extra = {"request": httpx.Request("POST", "https://x"), "response": httpx.Response(500)}
    return kind() if len(parameters) == 1 else kind(message, **extra)


def test_the_table_names_every_exception_of_httpx() -> None:
    assert set(EXCEPTIONS) == set(httpx_exceptions())


@pytest.mark.parametrize("name", sorted(EXCEPTIONS))
def test_every_exception_of_httpx_becomes_what_the_table_says(name: str) -> None:
    exc = raised(httpx_exceptions()[name])
    assert isinstance(exc, FOREIGN), "the client would let it through untranslated"
    for (sent, begun), expected in zip(((False, False), (True, False), (True, True)), EXCEPTIONS[name], strict=True):
        error = ERRORS.from_exception(exc, sent=sent, begun=begun)
        assert type(error) is expected
        assert "api.example" in str(error)


def test_an_event_stream_that_is_none_is_an_invalid_response() -> None:
    assert type(ERRORS.from_exception(httpx_sse.SSEError("x"), sent=True)) is InvalidResponse
    assert isinstance(httpx_sse.SSEError("x"), FOREIGN)


def by_status(status: int) -> type[BackendError]:
    """What a status means by itself."""
    named: dict[int, type[BackendError]] = {
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
    return named.get(status, RequestRejected if status < 500 else BackendUnavailable)


@pytest.mark.parametrize("status", range(400, 600))
def test_every_status_becomes_one_of_our_errors(status: int) -> None:
    error = ERRORS.from_response(httpx.Response(status, text="no JSON", headers={"x-request-id": "req-1"}))
    assert type(error) is by_status(status)
    assert (error.status, error.request_id) == (status, "req-1")
    assert str(status) in str(error)


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_says_where_it_leads(status: int) -> None:
    error = ERRORS.from_response(httpx.Response(status, headers={"location": "https://www.example/login"}))
    assert type(error) is InvalidResponse
    assert "https://www.example/login" in str(error)


def openai(message: str = "words", **fields: Any) -> dict[str, Any]:
    return {"error": {"message": message, "param": None, **fields}}


def anthropic(kind: str, message: str = "words") -> dict[str, Any]:
    return {"type": "error", "error": {"type": kind, "message": message}}


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (400, openai(type="invalid_request_error", code="context_length_exceeded"), ContextLengthExceeded),
        (400, anthropic("invalid_request_error", "prompt is too long: 210000 tokens > 200000"), ContextLengthExceeded),
        (400, openai("This model's maximum context length is 8192 tokens. However, 9000"), ContextLengthExceeded),
        (400, openai(type="invalid_request_error", code="unsupported_parameter"), UnsupportedParameter),
        (400, openai(type="invalid_request_error", code="unsupported_value"), UnsupportedParameter),
        (400, openai(type="invalid_request_error", code="model_not_found"), ModelNotFound),
        (400, openai(type="invalid_request_error"), RequestRejected),
        (400, anthropic("invalid_request_error", "Your credit balance is too low to access"), QuotaExhausted),
        (400, anthropic("invalid_request_error", "You have reached your specified API usage limits."), QuotaExhausted),
        (400, {"detail": [{"loc": ["body"], "msg": "field required"}]}, RequestRejected),
        (401, openai(code="invalid_api_key"), AuthenticationFailed),
        (402, anthropic("billing_error"), QuotaExhausted),
        (403, anthropic("permission_error"), AuthenticationFailed),
        (404, openai(code="model_not_found"), ModelNotFound),
        (404, anthropic("not_found_error", "model: claude-nope"), ModelNotFound),
        (404, {"error": "no such model"}, ModelNotFound),
        (404, {"object": "error", "message": "no such model", "code": 404}, ModelNotFound),
        (413, anthropic("request_too_large"), RequestRejected),
        (422, {"detail": "unprocessable"}, RequestRejected),
        (429, openai(type="insufficient_quota", code="credit_balance_exhausted"), QuotaExhausted),
        (429, openai(type="insufficient_quota", code="project_spend_limit_exceeded"), QuotaExhausted),
        (429, openai(code="billing_hard_limit_reached"), QuotaExhausted),
        (429, openai("You exceeded your current quota"), QuotaExhausted),
        (429, openai("add a payment method at …/billing", type="tokens", code="rate_limit_exceeded"), RateLimited),
        (429, anthropic("rate_limit_error"), RateLimited),
        (429, openai("Rate limit reached: Limit 30,000, Used 29,000, Requested 2,000.", type="tokens"), RateLimited),
        (429, openai("Request too large for m: Limit 30000, Requested 47834.", type="tokens"), RequestRejected),
        (413, openai("tokens per minute: Limit 6,000, Requested 8,000", code="rate_limit_exceeded"), RequestRejected),
        (500, anthropic("api_error"), BackendUnavailable),
        (500, openai(type="invalid_request_error"), BackendUnavailable),
        (504, anthropic("timeout_error"), AmbiguousOutcome),
        (529, anthropic("overloaded_error"), BackendUnavailable),
    ],
)
def test_the_body_says_more_than_the_status(status: int, body: dict[str, Any], expected: type[BackendError]) -> None:
    assert type(ERRORS.from_response(httpx.Response(status, json=body))) is expected


def test_a_quota_that_names_a_time_to_come_back_is_a_rate_limit() -> None:
    response = httpx.Response(429, json=openai("You exceeded your current quota"), headers={"retry-after": "7"})
    error = ERRORS.from_response(response)
    assert type(error) is RateLimited
    assert error.retry_after == 7


def test_a_context_error_keeps_both_numbers() -> None:
    words = "prompt is too long: 210000 tokens > 200000 maximum"
    error = ERRORS.from_response(httpx.Response(400, json=anthropic("invalid_request_error", words)))
    assert "210000" in str(error)
    assert "200000" in str(error)


def test_the_key_is_cut_out_of_what_the_endpoint_says() -> None:
    response = httpx.Response(401, json=openai(f"Incorrect API key provided: {KEY}."))
    assert KEY not in str(ERRORS.from_response(response))
    assert KEY not in str(ERRORS.from_exception(httpx.LocalProtocolError(f"Illegal header {KEY}"), sent=False))
    assert KEY not in str(ERRORS.from_response(httpx.Response(302, headers={"location": f"https://x/?k={KEY}"})))


def test_long_words_of_the_endpoint_are_cut() -> None:
    error = ERRORS.from_response(httpx.Response(400, json=openai("the prompt " * 500)))
    assert len(str(error)) < LONGEST_MESSAGE + 100


@pytest.mark.parametrize("text", ["", "[]", "null", '"text"', "<html>", json.dumps({"error": None}), "{"])
def test_a_body_without_words_is_no_trouble(text: str) -> None:
    assert type(ERRORS.from_response(httpx.Response(500, text=text))) is BackendUnavailable


def test_a_404_without_an_error_of_the_api_points_at_base_url() -> None:
    error = ERRORS.from_response(httpx.Response(404, text="<html>nginx"))
    assert type(error) is RequestRejected
    assert error.kind == "not_found"
    assert "base_url" in str(error)


def test_an_untrusted_certificate_is_named() -> None:
    cause = ssl.SSLCertVerificationError(1, "certificate verify failed")
    cause.verify_message = "self-signed certificate"
    exc = httpx.ConnectError("[SSL] certificate verify failed")
    exc.__cause__ = cause
    assert "not trusted (self-signed certificate)" in str(ERRORS.from_exception(exc, sent=False))
    assert not is_never_sent(exc)  # the next try would meet the same certificate


def test_a_slow_handshake_is_a_timeout_and_no_tls_failure() -> None:
    exc = httpx.ConnectTimeout("slow")
    exc.__context__ = ssl.SSLError("cut short")
    assert "TLS failed" not in str(ERRORS.from_exception(exc, sent=False))
    assert is_never_sent(exc)
