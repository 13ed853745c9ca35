"""Every Redis key and channel of Windfall.

The `arq:` names are arq's own, so that stock `arq.jobs.Job` can read our jobs; the rest begin with `windfall:`.
`docs/protocol.md` says what each holds and who may write it. The Lua scripts get these names from `LUA_NAMES`, so that
each name is defined once.
"""

from __future__ import annotations

import json
import re
from typing import Final

from arq import constants as arq

from windfall.errors import InvalidRequest
from windfall.request import Route, is_model_name

#: The one function that our workers register with arq.
FUNCTION: Final = "complete"

PAYLOAD: Final = arq.job_key_prefix  #: + job id: the job as enqueued; removed once it has its result
HOLDER: Final = (
    arq.in_progress_key_prefix
)  #: + job id: the token of the claim that runs it; it exists while the job is `running`
RESULT: Final = arq.result_key_prefix  #: + job id: the result, for as long as results are kept
TRIES: Final = arq.retry_key_prefix  #: + job id: arq's own counter, which we never read
ABORT: Final = arq.abort_jobs_ss  #: sorted set of running job ids to cancel

LANES: Final = "windfall:lanes"  #: set of the lanes that have jobs, or recently had some
IDLE_LANES: Final = "windfall:idle-lanes"  #: sorted set of lanes without jobs -> when that was first noticed (ms)
#: + route:model: sorted set of the lane's jobs but for the rows in its flows -> time in the queue (ms), or `HELD_AT`
LANE: Final = "windfall:lane:"
FLOWS: Final = "windfall:flows:"  #: + route:model: sorted set of the flows, or their owners -> virtual time
OWNED: Final = "windfall:owned:"  #: + route:model:owner: sorted set of the owner's flows -> virtual time
FLOW: Final = "windfall:flow:"  #: + route:model:batch:priority: list of the rows that were never claimed
FAIR: Final = "windfall:fair:"  #: + route:model: hash of what the lane needs to be fair: counts and virtual times
INTERACTIVE: Final = "windfall:interactive:"  #: + route:model: sorted set of waiting interactive jobs -> when due (ms)
SHARES: Final = "windfall:shares"  #: hash owner -> weight
SHELVED: Final = "windfall:shelved"  #: set of the batches whose flows are out of their lanes
HELD_SUFFIX: Final = ":held"  #: lane +: sorted set of running and put-back jobs -> when they are next due (ms)
JOB: Final = "windfall:job:"  #: + job id: hash of its history, from the first claim on
BATCH: Final = "windfall:batch:"  #: + batch id: hash of counts, usage and times
DONE_SUFFIX: Final = ":done"  #: batch +: stream of finished job ids, in order of completion
BATCHES: Final = "windfall:batches"  #: sorted set of batch ids -> creation (ms)
KEPT: Final = "windfall:kept"  #: sorted set of batch ids -> when their retention ends (ms)
SOURCE: Final = "windfall:source:"  #: + digest of the source: the batch that it is being submitted as
DEADLINES: Final = "windfall:deadlines"  #: sorted set of unfinished jobs with a deadline -> that deadline (ms)
DEAD: Final = "windfall:dead:"  #: + job id: hash with the request of a dead letter
DEAD_INDEX: Final = "windfall:dead"  #: sorted set of dead letters -> when they died (ms)
LETTERS: Final = "windfall:letters"  #: sorted set of the dead letters that expire -> when they do (ms)
DELTAS: Final = "windfall:deltas:"  #: + job id: stream of the pieces of a completion, for followers
WORKERS: Final = "windfall:workers"  #: sorted set of worker ids -> last heartbeat (ms)
WORKER: Final = "windfall:worker:"  #: + worker id: its heartbeat as JSON; expires when the worker falls silent
LOST: Final = "windfall:lost"  #: hash worker id -> how many of its jobs others took over
SERVES: Final = "windfall:serves:"  #: + model: when a Mac that serves it last wrote its heartbeat (ms)
ANSWER: Final = "windfall:answer:"  #: + token: the answer to a claim, until its worker has read it
PULSE: Final = "windfall:pulse"  #: when a worker last reached this Redis (ms): how an outage is noticed
GRACE: Final = "windfall:grace"  #: until when (ms) expired leases are not reclaimed after an outage
#: Exists after the clock went back: hash of the shift (ms), the previous time (ms), and the lanes already corrected.
CLOCK_BACK: Final = "windfall:clock-back"
#: Exists while a process expires overdue jobs. Its prefix is one that producers' users may write to.
EXPIRING: Final = GRACE + ":expiring"

BREAKERS: Final = "windfall:breakers"  #: set of the names of all circuit breakers
BREAKER: Final = "windfall:breaker:"  #: + name: hash of its state, epoch, probe and lease
TALLY_SUFFIX: Final = ":tally"  #: breaker +: hash of the calls (c) and failures (f) in each slice of its window
COOLDOWN: Final = "windfall:cooldown:"  #: + endpoint: exists while the fleet avoids the endpoint
RATE: Final = "windfall:rate:"  #: + digest of the key:endpoint: hash of the buckets of a rate limit, as far as learned
PARKED_ENDPOINTS: Final = (
    "windfall:parked-endpoints"  #: hash: digest of the key:endpoint -> why no calls are made there
)
RETRIES: Final = "windfall:retries:"  #: + origin: hash of the remaining retry budget, and when that was computed

PAUSED: Final = "windfall:paused"  #: set of the keys of paused lanes, batches and workers
RESUMING: Final = "windfall:resuming"  #: set of the batches whose parked jobs are being moved back to their lanes
CANCELLING: Final = "windfall:cancelling"  #: set of the batches whose rows are being cancelled
DRAIN: Final = "windfall:drain:"  #: + worker id: exists while that worker is told to drain

QUARANTINE: Final = "windfall:quarantine"  #: stream of notes about unreadable values that were removed, the newest 100

CHANNEL_WAKE: Final = "windfall:wake:"  #: + lane: there is something to claim
CHANNEL_DONE: Final = "windfall:done:"  #: + job id: it has its result
CHANNEL_WORKER: Final = "windfall:tell:"  #: + worker id: cancel a job, or check whether you are paused

#: Added to the score of a job whose batch is paused (ms). Scores above it mean parked: no time before 2096 exceeds it,
#: and the sum still has the precision to order rows of the same millisecond.
PARKED: Final = 4_000_000_000_000

#: The score in its lane of a job that was claimed before: later than any time, so that no claim takes it from there,
#: and no later than `PARKED`. When it is due is said by its score in `HELD_SUFFIX`.
HELD_AT: Final = 3_900_000_000_000

#: The type of the value under each key or, with a colon at the end, key prefix; a batch's `DONE_SUFFIX` is a stream.
#: A script that finds a value of another type quarantines it.
TYPES: Final = {
    **dict.fromkeys(
        (PAYLOAD, HOLDER, RESULT, TRIES, SOURCE, WORKER, SERVES, ANSWER, PULSE, GRACE, EXPIRING, DRAIN), "string"
    ),
    **dict.fromkeys((LANE, FLOWS, OWNED, INTERACTIVE), "zset"),
    **dict.fromkeys((IDLE_LANES, ABORT, BATCHES, KEPT, DEADLINES, DEAD_INDEX, LETTERS, WORKERS), "zset"),
    **dict.fromkeys((LANES, PAUSED, RESUMING, CANCELLING, SHELVED), "set"),
    **dict.fromkeys((JOB, BATCH, DEAD, CLOCK_BACK, FAIR, SHARES, LOST), "hash"),
    FLOW: "list",
    **dict.fromkeys((DELTAS, QUARANTINE), "stream"),
}

#: Keys that everyone shares: a value of another type would block the whole fleet.
SHARED: Final = (
    ABORT, LANES, IDLE_LANES, BATCHES, KEPT, DEADLINES, DEAD_INDEX, LETTERS, WORKERS, PAUSED, RESUMING, CANCELLING,
    SHELVED, SHARES, LOST, QUARANTINE,
)  # fmt: skip


def _table(fields: dict[str, object]) -> str:
    return "{" + ", ".join(f"[{json.dumps(name)}] = {json.dumps(value)}" for name, value in fields.items()) + "}"


#: Prepended to every script as Lua locals. The large table is a function because it is rarely needed, while these lines
#: run at the start of every script.
LUA_NAMES: Final = "".join(
    f"local {name} = {value if name in ('TYPES', 'ROUTES') else json.dumps(value)}\n"
    for name, value in {
        "TYPES": f"function() return {_table(dict(TYPES))} end",
        "ROUTES": _table({route.value: True for route in Route}),
        "LANE": LANE,
        "FLOWS": FLOWS,
        "OWNED": OWNED,
        "FLOW": FLOW,
        "FAIR": FAIR,
        "INTERACTIVE": INTERACTIVE,
        "SHARES": SHARES,
        "SHELVED": SHELVED,
        "HELD_AT": HELD_AT,
        "QUARANTINE": QUARANTINE,
        "PAYLOAD": PAYLOAD,
        "HOLDER": HOLDER,
        "RESULT": RESULT,
        "TRIES": TRIES,
        "ABORT": ABORT,
        "LANES": LANES,
        "IDLE_LANES": IDLE_LANES,
        "HELD_SUFFIX": HELD_SUFFIX,
        "JOB": JOB,
        "BATCH": BATCH,
        "DONE_SUFFIX": DONE_SUFFIX,
        "BATCHES": BATCHES,
        "KEPT": KEPT,
        "SOURCE": SOURCE,
        "DEADLINES": DEADLINES,
        "DEAD": DEAD,
        "DEAD_INDEX": DEAD_INDEX,
        "LETTERS": LETTERS,
        "DELTAS": DELTAS,
        "LOST": LOST,
        "ANSWER": ANSWER,
        "PULSE": PULSE,
        "GRACE": GRACE,
        "CLOCK_BACK": CLOCK_BACK,
        "PAUSED": PAUSED,
        "PARKED": PARKED,
        "RESUMING": RESUMING,
        "CANCELLING": CANCELLING,
        "CHANNEL_WAKE": CHANNEL_WAKE,
        "CHANNEL_DONE": CHANNEL_DONE,
        "CHANNEL_WORKER": CHANNEL_WORKER,
    }.items()
)

#: The scripts' limits for names: guard.lua has the same numbers.
_LONGEST_ID: Final = 640  # bytes
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")
_BATCH_OF: Final = re.compile(r"([^:\s]+):([1-9][0-9]{0,14})")


def lane_queue(model: str, route: Route | str) -> str:
    """The name of a lane's queue (`_queue_name` in arq)."""
    return f"{LANE}{Route(route).value}:{model}"


def of_lane(prefix: str, queue: str) -> str:
    """The key with this prefix (such as `FAIR`) that belongs to a lane's queue."""
    return prefix + queue.removeprefix(LANE)


def lane_parts(queue: str) -> tuple[str, Route] | None:
    """The model and the route in a lane's queue name; None for any other name."""
    route, _, model = queue.removeprefix(LANE).partition(":")
    if not queue.startswith(LANE) or route not in set(Route) or not is_model_name(model):
        return None
    return model, Route(route)


def job_id(batch_id: str, row: int) -> str:
    """The job id of a batch's row; rows count from 1."""
    return f"{batch_id}:{row}"


def batch_of(job: str) -> str | None:
    """The batch that a job id belongs to, or None for a job on its own."""
    found = _BATCH_OF.fullmatch(job)
    return found[1] if found else None


def name_of(raw: bytes) -> str | None:
    """Decode the name of a job, batch or lane; None if the bytes are not a valid name."""
    if not 0 < len(raw) <= _LONGEST_ID + len(LANE) + _LONGEST_ID:
        return None
    try:
        name = raw.decode()
    except UnicodeDecodeError:
        return None
    return None if _CONTROL.search(name) else name


def row_of(job: str) -> int:
    """The number of a batch's row; 0 for any other job."""
    found = _BATCH_OF.fullmatch(job)
    return int(found[2]) if found else 0


def checked_batch_id(batch_id: str) -> str:
    """Check that a batch id is safe in key names, and return it. Raises `InvalidRequest`."""
    if not 0 < len(batch_id) <= 128 or ":" in batch_id or " " in batch_id or not batch_id.isprintable():
        raise InvalidRequest(f"a batch id is 1 to 128 characters without ':' or blanks, not {batch_id!r}")
    return batch_id


def checked_owner(owner: str) -> str:
    """Check that an owner's name is safe in key names, and return it. Raises `InvalidRequest`."""
    if not 0 < len(owner) <= 128 or ":" in owner or " " in owner or not owner.isprintable():
        raise InvalidRequest(f"an owner is 1 to 128 characters without ':' or blanks, not {owner!r}")
    return owner
