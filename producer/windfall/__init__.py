"""Windfall: a queue for LLM completions. The public names; no logic."""

from windfall.batch import BatchState, BatchStatus
from windfall.errors import (
    BatchCancelled,
    BatchDiffers,
    BatchFull,
    BrokerDenied,
    BrokerError,
    BrokerFull,
    BrokerUnavailable,
    CompletionFailed,
    ConfigError,
    InvalidRequest,
    NotFound,
    Unfinished,
    WaitTimeout,
    WindfallError,
)
from windfall.limits import Limits
from windfall.producer import Producer
from windfall.request import CompletionRequest, Message, Route
from windfall.result import Attempt, Completion, CompletionResult, Delta, ErrorInfo, JobState, Usage
from windfall.row import InvalidRow

__all__ = [
    "Attempt",
    "BatchCancelled",
    "BatchDiffers",
    "BatchFull",
    "BatchState",
    "BatchStatus",
    "BrokerDenied",
    "BrokerError",
    "BrokerFull",
    "BrokerUnavailable",
    "Completion",
    "CompletionFailed",
    "CompletionRequest",
    "CompletionResult",
    "ConfigError",
    "Delta",
    "ErrorInfo",
    "InvalidRequest",
    "InvalidRow",
    "JobState",
    "Limits",
    "Message",
    "NotFound",
    "Producer",
    "Route",
    "Unfinished",
    "Usage",
    "WaitTimeout",
    "WindfallError",
]
