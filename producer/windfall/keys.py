"""Every Redis key and channel of Windfall.

The `arq:` names are arq's own, so that stock `arq.jobs.Job` reads our jobs; the rest begins with `windfall:`.
`docs/protocol.md` says what each holds and who may write it. The Lua scripts get these names from `LUA_NAMES`, so that
no name is written down twice.
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

PAYLOAD: Final = arq.job_key_prefix  #: + job id: the job as enqueued; gone once it has its result
HOLDER: Final = arq.in_progress_key_prefix  #: + job id: the token of the claim that runs it; its life is `running`
RESULT: Final = arq.result_key_prefix  #: + job id: the result, for as long as results are kept
TRIES: Final = arq.retry_key_prefix  #: + job id: arq's own counter, which nothing of ours reads
ABORT: Final = arq.abort_jobs_ss  #: sorted set of running job ids to cancel

LANES: Final = "windfall:lanes"  #: set of the lanes that have jobs, or had some of late
IDLE_LANES: Final = "windfall:idle-lanes"  #: sorted set of lanes without a job -> since when they are known to be (ms)
LANE: Final = "windfall:lane:"  #: + route:model: sorted set job id -> when it is next due (ms)
HELD_SUFFIX: Final = ":held"  #: lane +: sorted set of running and put-back jobs -> when they come back (ms)
JOB: Final = "windfall:job:"  #: + job id: hash of what happened to it so far; only once it was claimed
BATCH: Final = "windfall:batch:"  #: + batch id: hash of counts, usage and times
DONE_SUFFIX: Final = ":done"  #: batch +: stream of finished job ids, in the order in which they ended
BATCHES: Final = "windfall:batches"  #: sorted set of batch ids -> creation (ms)
KEPT: Final = "windfall:kept"  #: sorted set of batch ids -> until when they are kept (ms)
SOURCE: Final = "windfall:source:"  #: + digest of what is submitted: the batch that it is being submitted as
DEADLINES: Final = "windfall:deadlines"  #: sorted set of unfinished jobs that have one -> their deadline (ms)
DEAD: Final = "windfall:dead:"  #: + job id: hash with the request of a dead letter
DEAD_INDEX: Final = "windfall:dead"  #: sorted set of dead letters -> when they died (ms)
LETTERS: Final = "windfall:letters"  #: sorted set of the dead letters that expire -> when they do (ms)
DELTAS: Final = "windfall:deltas:"  #: + job id: stream of the pieces of a completion that somebody may follow
WORKERS: Final = "windfall:workers"  #: sorted set of worker ids -> last heartbeat (ms)
WORKER: Final = "windfall:worker:"  #: + worker id: its heartbeat as JSON; expires with it
ANSWER: Final = "windfall:answer:"  #: + token: the answer to a claim, until its worker has read it
PULSE: Final = "windfall:pulse"  #: when a worker last reached this Redis (ms): how an outage is noticed
GRACE: Final = "windfall:grace"  #: until when (ms) no lost lease is reclaimed after an outage
#: There after the clock went back: hash of by how much (ms), what it had shown before (ms), and the lanes seen to.
CLOCK_BACK: Final = "windfall:clock-back"
#: There while somebody ends overdue jobs. Under a prefix that the users of producers may write.
EXPIRING: Final = GRACE + ":expiring"

BREAKERS: Final = "windfall:breakers"  #: set of the names of all circuit breakers
BREAKER: Final = "windfall:breaker:"  #: + name: hash of its state, epoch, probe and lease
FAILURES_SUFFIX: Final = ":failures"  #: breaker +: list of the times (ms) of the failures in its window
COOLDOWN: Final = "windfall:cooldown:"  #: + endpoint: there while the fleet leaves the endpoint alone
RETRIES: Final = "windfall:retries:"  #: + origin: hash of the retry budget left, and when that was counted

PAUSED: Final = "windfall:paused"  #: set of what is paused, each by its key: a lane's, a batch's, a worker's
RESUMING: Final = "windfall:resuming"  #: set of the batches whose parked jobs are on their way back to their lanes
CANCELLING: Final = "windfall:cancelling"  #: set of the batches whose rows are being cancelled
DRAIN: Final = "windfall:drain:"  #: + worker id: there while that worker is told to drain

QUARANTINE: Final = "windfall:quarantine"  #: stream of what was put aside because nobody could read it, the newest 100

CHANNEL_WAKE: Final = "windfall:wake:"  #: + lane: there is something to claim
CHANNEL_DONE: Final = "windfall:done:"  #: + job id: it has its result
CHANNEL_WORKER: Final = "windfall:tell:"  #: + worker id: cancel this job, or look who paused you

#: Added to the score of a job whose batch is paused (ms). What is beyond it is parked: no time before 2096 is, and
#: together with one it still keeps the thousandths that rows of one millisecond are ordered by.
PARKED: Final = 4_000_000_000_000

#: The type of the value under each of these keys, or under all that begin so (with a colon at the end); that of a
#: batch's `DONE_SUFFIX` is a stream. What is there of another type is put aside by the script that meets it.
TYPES: Final = {
    **dict.fromkeys((PAYLOAD, HOLDER, RESULT, TRIES, SOURCE, WORKER, ANSWER, PULSE, GRACE, EXPIRING, DRAIN), "string"),
    **dict.fromkeys((LANE, IDLE_LANES, ABORT, BATCHES, KEPT, DEADLINES, DEAD_INDEX, LETTERS, WORKERS), "zset"),
    **dict.fromkeys((LANES, PAUSED, RESUMING, CANCELLING), "set"),
    **dict.fromkeys((JOB, BATCH, DEAD, CLOCK_BACK), "hash"),
    **dict.fromkeys((DELTAS, QUARANTINE), "stream"),
}

#: Keys that all share: one of a foreign type would be in everybody's way.
SHARED: Final = (
    ABORT, LANES, IDLE_LANES, BATCHES, KEPT, DEADLINES, DEAD_INDEX, LETTERS, WORKERS, PAUSED, RESUMING, CANCELLING,
    QUARANTINE,
)  # fmt: skip


def _table(fields: dict[str, object]) -> str:
    return "{" + ", ".join(f"[{json.dumps(name)}] = {json.dumps(value)}" for name, value in fields.items()) + "}"


#: Prepended to every script as Lua locals. The large table is a function: a script that is run begins with all of this,
#: and nearly none needs them.
LUA_NAMES: Final = "".join(
    f"local {name} = {value if name in ('TYPES', 'ROUTES') else json.dumps(value)}\n"
    for name, value in {
        "TYPES": f"function() return {_table(dict(TYPES))} end",
        "ROUTES": _table({route.value: True for route in Route}),
        "LANE": LANE,
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

#: What the scripts take for names, and no more: guard.lua has the same numbers.
_LONGEST_ID: Final = 640  # bytes
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")
_BATCH_OF: Final = re.compile(r"([^:\s]+):([1-9][0-9]{0,14})")


def lane_queue(model: str, route: Route | str) -> str:
    """The name of a lane's queue: what stock arq calls `_queue_name`."""
    return f"{LANE}{Route(route).value}:{model}"


def lane_parts(queue: str) -> tuple[str, Route] | None:
    """The model and the route of a lane's queue name; None for a name that is not of ours."""
    route, _, model = queue.removeprefix(LANE).partition(":")
    if not queue.startswith(LANE) or route not in set(Route) or not is_model_name(model):
        return None
    return model, Route(route)


def job_id(batch_id: str, row: int) -> str:
    """The id of a batch's row; rows count from 1."""
    return f"{batch_id}:{row}"


def batch_of(job: str) -> str | None:
    """The batch that a job id belongs to, or None for a job on its own."""
    found = _BATCH_OF.fullmatch(job)
    return found[1] if found else None


def name_of(raw: bytes) -> str | None:
    """The name of a job, batch or lane in these bytes from Redis; None where they are none."""
    if not 0 < len(raw) <= _LONGEST_ID + len(LANE) + _LONGEST_ID:
        return None
    try:
        name = raw.decode()
    except UnicodeDecodeError:
        return None
    return None if _CONTROL.search(name) else name


def row_of(job: str) -> int:
    """The number of a batch's row; 0 for what is not a row."""
    found = _BATCH_OF.fullmatch(job)
    return int(found[2]) if found else 0


def checked_batch_id(batch_id: str) -> str:
    """A batch id that may become part of key names. Raises `InvalidRequest`."""
    if not 0 < len(batch_id) <= 128 or ":" in batch_id or " " in batch_id or not batch_id.isprintable():
        raise InvalidRequest(f"a batch id is 1 to 128 characters without ':' or blanks, not {batch_id!r}")
    return batch_id
