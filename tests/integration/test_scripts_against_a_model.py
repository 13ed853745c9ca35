"""The queue's scripts against a model of them in memory: seeded, random interleavings of producers and workers.

After every step the model and Redis have to agree on each job's state and each batch's counts; a claim has to return as
many jobs as the model says can be claimed, only those, and the rows of a flow in order; and in the end deleting
everything leaves nothing behind. `WINDFALL_MODEL_SECONDS` is how long to go on (the suite takes 30), and
`WINDFALL_MODEL_SEED` repeats one seed.
"""

from __future__ import annotations

import asyncio
import os
import random
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from arq import ArqRedis

from helpers.protocol import answer, release
from helpers.requests import request
from windfall import JobState, keys
from windfall.broker.clock import RedisClock
from windfall.queue.cancelling import cancel_batch, cancel_jobs
from windfall.queue.housekeeping import go_on_with
from windfall.request import Route
from windfall.scripts import Arg, Script, run
from windfall.wire import encode_job
from windfall_worker.jobs.claim import Claim
from windfall_worker.queue.claims import ClaimClient, Lease

SECONDS = float(os.environ.get("WINDFALL_MODEL_SECONDS", "30"))
SEED = os.environ.get("WINDFALL_MODEL_SEED")
LANES = (keys.lane_queue("m", Route.AUTO), keys.lane_queue("m", Route.LOCAL))
STEPS = 150
HOUR = Lease(3_600_000, 3_600_000)
NEVER = "none"


@dataclass
class Job:
    """What the model knows of a job."""

    id: str
    lane: str
    batch: str | None
    priority: int
    payload: bytes
    interactive: bool
    state: str = "queued"
    claim: Claim | None = None  #: the last one
    expired: bool = False  #: its lease has ended
    to_cancel: bool = False
    claimed: bool = False  #: at least once since it was enqueued

    @property
    def ended(self) -> bool:
        return self.state not in {"queued", "running"}


@dataclass
class Batch:
    """What the model knows of a batch."""

    id: str
    rows: int = 0
    paused: bool = False
    cancelled: bool = False
    sealed: bool = False


@dataclass
class Model:
    """The queue in memory."""

    jobs: dict[str, Job] = field(default_factory=dict)
    batches: dict[str, Batch] = field(default_factory=dict)
    paused_lanes: set[str] = field(default_factory=set)
    stale: list[Claim] = field(default_factory=list)  #: claims that ended

    def claimable(self, lanes: tuple[str, ...]) -> set[str]:
        return {job.id for job in self.jobs.values() if self._can_be_claimed(job, lanes)}

    def _can_be_claimed(self, job: Job, lanes: tuple[str, ...]) -> bool:
        if job.lane not in lanes or job.ended or (job.state == "running" and not job.expired):
            return False
        if job.to_cancel:
            return True
        batch = self.batches.get(job.batch or "")
        return job.lane not in self.paused_lanes and not (batch and batch.paused)

    def flow(self, job: Job) -> tuple[str, str, int] | None:
        """The list that the row waits in, if it does."""
        if job.batch is None or job.interactive or job.claimed or job.state != "queued":
            return None
        return job.lane, job.batch, job.priority


class World:
    """Redis, the model, and steps that change both."""

    def __init__(self, redis: ArqRedis, seed: int) -> None:
        self.redis = redis
        self.commands: Any = redis  # redis-py's types of these are of its blocking client, too
        self.clock = RedisClock(redis)
        self.random = random.Random(seed)
        self.model = Model()
        self.workers = [ClaimClient(redis, f"worker{n}", HOUR) for n in range(3)]
        self.log: list[str] = []
        self.names = 0

    def pick(self, test: Any) -> Job | None:
        found = [job for job in self.model.jobs.values() if test(job)]
        return self.random.choice(found) if found else None

    def pick_batch(self) -> Batch | None:
        return self.random.choice(list(self.model.batches.values())) if self.model.batches else None

    async def step(self) -> None:
        """One step of a producer or a worker."""
        steps: dict[Callable[[], Awaitable[Any]], int] = {
            self.open_batch: 2, self.enqueue: 9, self.enqueue_again: 2, self.enqueue_single: 2, self.claim: 14,
            self.claim_again: 2, self.finish: 12, self.finish_late: 3, self.release: 5, self.expire_lease: 4,
            self.renew: 3, self.cancel: 4, self.cancel_batch: 1, self.pause_batch: 2, self.resume_batch: 3,
            self.pause_lane: 1, self.resume_lane: 2, self.retry: 3, self.delete: 1, self.lose_claim: 2,
            self.seal: 1, self.tidy: 1,
        }  # fmt: skip
        do = self.random.choices(list(steps), list(steps.values()))[0]
        self.log.append(getattr(do, "__name__", ""))
        await do()
        await self.check()

    # What producers do.

    async def open_batch(self) -> None:
        self.names += 1
        name = f"b{self.names % 5}"  # ids are used again
        if name in self.model.batches:
            return
        owner = self.random.choice(["", "", "ann", "bob"])
        args: list[Arg] = [name, 0, "", "{}", 0, 0, owner, self.random.choice([-3, 0, 0, 2])]
        assert await run(self.redis, Script.OPEN_BATCH, [keys.BATCHES], args) == [name.encode(), 1]
        self.model.batches[name] = Batch(name)

    async def enqueue(self) -> None:
        batch = self.pick_batch()
        if batch is None:
            return
        count, interactive = self.random.randint(1, 12), self.random.random() < 0.1
        lane = self.random.choice(LANES)
        new = [self.new_row(batch, batch.rows + n, lane, interactive=interactive) for n in range(1, count + 1)]
        added = await self.send(lane, batch.id, new, interactive=interactive)
        if batch.cancelled:
            assert added == -1
            return
        assert added == count
        batch.rows += count
        self.model.jobs |= {job.id: job for job in new}

    async def enqueue_again(self) -> None:
        job = self.pick(lambda job: job.batch is not None)
        if job is None or job.batch is None:
            return
        copy = self.new_row(self.model.batches[job.batch], int(job.id.split(":")[1]), job.lane, interactive=False)
        added = await self.send(job.lane, job.batch, [copy], interactive=False)
        assert added == (-1 if self.model.batches[job.batch].cancelled else 0)

    async def enqueue_single(self) -> None:
        self.names += 1
        interactive = self.random.random() < 0.3
        lane = self.random.choice(LANES)
        job = Job(f"single{self.names}", lane, None, 0, self.payload(lane, interactive=interactive), interactive)
        assert await self.send(job.lane, "", [job], interactive=interactive) == 1
        self.model.jobs[job.id] = job

    def new_row(self, batch: Batch, row: int, lane: str, *, interactive: bool) -> Job:
        self.names += 1
        payload, priority = self.payload(lane, interactive=interactive), self.random.choice([0, 0, 0, 3])
        return Job(f"{batch.id}:{row}", lane, batch.id, priority, payload, interactive)

    def payload(self, lane: str, *, interactive: bool) -> bytes:
        """A request that no other job makes."""
        asked = request(str(self.names), model="m", route=Route.AUTO if lane == LANES[0] else Route.LOCAL)
        return encode_job(asked, 1, interactive=interactive)

    async def send(self, lane: str, batch: str, jobs: list[Job], *, interactive: bool) -> int:
        args: list[Any] = [batch, int(interactive)]
        for job in jobs:
            args += [job.id, job.priority, 0, job.payload]
        added: int = await run(self.redis, Script.ENQUEUE, [lane], args)
        return added

    async def seal(self) -> None:
        if batch := self.pick_batch():
            await run(self.redis, Script.SEAL_BATCH, [keys.BATCH + batch.id], [])
            batch.sealed = True
            self.note_end(batch)

    async def cancel(self) -> None:
        if job := self.pick(lambda _: True):
            await cancel_jobs(self.redis, self.clock, [job.id], 60_000)
            self.note_cancelled(job)

    def note_cancelled(self, job: Job) -> None:
        if job.state == "queued" or (job.state == "running" and job.expired):
            self.end(job, "cancelled")
        elif job.state == "running":
            job.to_cancel = True

    async def cancel_batch(self) -> None:
        if (batch := self.pick_batch()) is None:
            return
        await cancel_batch(self.redis, self.clock, batch.id, 0)
        batch.cancelled = batch.sealed = True
        for job in self.of(batch):
            self.note_cancelled(job)
        self.note_end(batch)

    async def pause_batch(self) -> None:
        if (batch := self.pick_batch()) is None:
            return
        ended = batch.sealed and all(job.ended for job in self.of(batch))
        answered = await run(self.redis, Script.PAUSE_BATCH, [keys.BATCH + batch.id], [])
        assert answered == (-2 if ended else 0 if batch.paused else 1)
        batch.paused = batch.paused or not ended

    async def resume_batch(self) -> None:
        if (batch := self.pick_batch()) is None:
            return
        left, was_paused = await run(self.redis, Script.RESUME_BATCH, [], [batch.id, 3, 1])
        assert was_paused == int(batch.paused)
        if left > 0:
            await go_on_with(self.redis, batch.id)
        batch.paused = False

    async def pause_lane(self) -> None:
        lane = self.random.choice(LANES)
        await self.commands.sadd(keys.PAUSED, lane)
        self.model.paused_lanes.add(lane)

    async def resume_lane(self) -> None:
        for lane in LANES:
            await self.commands.srem(keys.PAUSED, lane)
        self.model.paused_lanes.clear()

    async def retry(self) -> None:
        if (job := self.pick(lambda job: job.state == "failed")) is None:
            return
        args: list[Arg] = [job.id, "", job.payload, 0, int(job.interactive)]
        assert await run(self.redis, Script.RETRY, [], args) == 1
        job.state, job.claimed, job.to_cancel, job.expired = "queued", True, False, False
        if job.batch:
            self.model.batches[job.batch].cancelled = False

    async def delete(self) -> None:
        if (batch := self.pick_batch()) is None:
            return
        while (left := await run(self.redis, Script.DELETE, [keys.BATCHES], [batch.id, "any", 7])) > 0:
            pass
        assert left == 0
        for job in self.of(batch):
            if job.claim is not None and job.state == "running":
                self.model.stale.append(job.claim)
            del self.model.jobs[job.id]
        del self.model.batches[batch.id]

    async def tidy(self) -> None:
        await run(self.redis, Script.TIDY, [], [100, 3_600_000])

    # What workers do.

    async def claim(self, client: ClaimClient | None = None, want: int | None = None) -> tuple[Claim, ...]:
        client = client or self.random.choice(self.workers)
        lanes = self.random.choice([LANES, LANES[:1], LANES[1:]])
        want = want or self.random.randint(1, 8)
        can = self.model.claimable(lanes)
        first = self.first_of_flows()
        claims = (await client.claim(lanes, want)).claims
        ids = [claim.job_id for claim in claims]
        assert len(set(ids)) == len(ids)
        assert set(ids) <= can, set(ids) - can
        assert len(ids) == min(want, len(can)), (ids, can)
        for claim in claims:
            self.note_claimed(claim, first)
        return claims

    def first_of_flows(self) -> dict[tuple[str, str, int], list[str]]:
        flows: dict[tuple[str, str, int], list[str]] = {}
        for job in self.model.jobs.values():
            if flow := self.model.flow(job):
                flows.setdefault(flow, []).append(job.id)
        for rows in flows.values():
            rows.sort(key=lambda name: int(name.split(":")[1]))
        return flows

    def note_claimed(self, claim: Claim, first: dict[tuple[str, str, int], list[str]]) -> None:
        job = self.model.jobs[claim.job_id]
        assert claim.payload == job.payload
        assert claim.lane == job.lane
        assert claim.aborted == job.to_cancel
        if flow := self.model.flow(job):
            assert first[flow].pop(0) == job.id, "out of order"
        if job.claim is not None:
            self.model.stale.append(job.claim)
        job.claim, job.state, job.expired, job.claimed = claim, "running", False, True

    async def claim_again(self) -> None:
        """The answer to a claim is lost, and the same call is made again: it brings the same jobs."""
        client = self.random.choice(self.workers)
        want = self.random.randint(1, 5)
        asked = (client._number, want, want)
        claims = (await client.claim(LANES, want)).claims
        first = self.first_of_flows()
        for claim in claims:
            self.note_claimed(claim, first)
        if not claims:
            return
        await asyncio.gather(*client._confirmations)  # which would take the answer away
        await self.redis.set(f"{keys.ANSWER}{client._worker_id}:{asked[0]}", await self.answer_of(claims))
        client._unanswered[LANES[0]] = asked
        again = (await client.claim(LANES, want)).claims
        assert [(claim.job_id, claim.token) for claim in again] == [(claim.job_id, claim.token) for claim in claims]

    async def answer_of(self, claims: tuple[Claim, ...]) -> str:
        return "\n".join(part for claim in claims for part in (claim.lane, claim.job_id))

    async def finish(self) -> None:
        job = self.pick(lambda job: job.state == "running")
        if job is None or job.claim is None:
            return
        state = self.random.choice([JobState.COMPLETED, JobState.COMPLETED, JobState.FAILED])
        assert await self.end_with(job.claim, state) == b"ok"
        self.end(job, state.value)

    async def finish_late(self) -> None:
        """A worker sends a result for a claim that has ended."""
        if not self.model.stale:
            return
        claim = self.random.choice(self.model.stale)
        job = self.model.jobs.get(claim.job_id)
        answered = await self.end_with(claim, JobState.COMPLETED)
        if job is None:
            assert answered == b"gone"
        elif job.ended:
            assert answered == b"finished"
        elif job.state == "running":
            assert answered == b"held"
        elif job.payload != claim.payload:
            assert answered == b"gone"
        else:
            assert answered == b"ok"
            self.end(job, "completed")

    async def end_with(self, claim: Claim, state: JobState) -> bytes:
        tokens = [self.random.randint(0, 50) for _ in range(2)]
        args = [claim.job_id, claim.token, state.value, answer(claim, state), 60_000, *tokens, 0, 0, claim.digest]
        answered: bytes = await run(self.redis, Script.FINISH, [claim.lane], args)
        return answered

    def end(self, job: Job, state: str) -> None:
        if job.claim is not None:
            self.model.stale.append(job.claim)
        job.state, job.to_cancel, job.expired = state, False, False
        if job.batch:
            self.note_end(self.model.batches[job.batch])

    def note_end(self, batch: Batch) -> None:
        if batch.sealed and all(job.ended for job in self.of(batch)):
            batch.paused = False

    async def release(self) -> None:
        job = self.pick(lambda job: job.state == "running")
        if job is None or job.claim is None:
            return
        answered = await release(self.redis, job.claim, 0, self.random.choice(["undo", "reset", "keep"]))
        assert answered == (b"cancelled" if job.to_cancel else b"ok")
        if not job.to_cancel:
            self.model.stale.append(job.claim)
            job.state, job.expired = "queued", False

    async def expire_lease(self) -> None:
        job = self.pick(lambda job: job.state == "running" and not job.expired)
        if job is not None:
            await self.redis.zadd(job.lane + keys.HELD_SUFFIX, {job.id: 1})
            job.expired = True

    async def renew(self) -> None:
        """Workers renew what they hold; what they hold no more is told of as lost."""
        jobs = [job for job in self.model.jobs.values() if job.state == "running" and job.claim is not None]
        held = self.random.sample(jobs, min(len(jobs), 4))
        renewed = await self.workers[0].renew([job.claim for job in held if job.claim])
        assert (renewed.lost, renewed.gone) == ([], [])
        assert set(renewed.aborted) == {job.id for job in held if job.to_cancel}
        for job in held:
            job.expired = False

    async def lose_claim(self) -> None:
        """Redis comes back without a claim; its holder's renewal takes it up again."""
        before = await self.dump()
        new = [job.id for job in self.model.jobs.values() if job.state == "queued"]
        client = self.random.choice(self.workers)
        claims = (await client.claim(LANES, self.random.randint(1, 3))).claims
        await self.restore(before)
        taken_up = [claim for claim in claims if claim.job_id in new]
        renewed = await client.renew(taken_up)
        assert (renewed.lost, renewed.gone) == ([], [])
        for claim in taken_up:
            job = self.model.jobs[claim.job_id]
            job.claim, job.state, job.expired, job.claimed = claim, "running", False, True

    async def dump(self) -> dict[bytes, bytes]:
        found: dict[bytes, bytes] = {}
        for key in await self.redis.keys("*"):
            found[key] = await self.redis.dump(key)
        return found

    async def restore(self, before: dict[bytes, bytes]) -> None:
        for key in await self.redis.keys("*"):
            if key not in before:
                await self.redis.delete(key)
        for key, value in before.items():
            await self.redis.restore(key, 0, value, replace=True)

    # What has to hold after every step.

    def of(self, batch: Batch) -> list[Job]:
        return [job for job in self.model.jobs.values() if job.batch == batch.id]

    async def check(self) -> None:
        await self.check_states()
        for batch in self.model.batches.values():
            await self.check_counts(batch)
        for lane in LANES:
            await self.check_lane(lane)

    async def check_states(self) -> None:
        async with self.redis.pipeline(transaction=False) as pipe:
            jobs = list(self.model.jobs.values())
            for job in jobs:
                pipe.exists(keys.PAYLOAD + job.id)
                pipe.get(keys.HOLDER + job.id)
                pipe.exists(keys.RESULT + job.id)
            found = await pipe.execute()
        for job, payload, holder, result in zip(jobs, found[::3], found[1::3], found[2::3], strict=True):
            assert (payload, result) == ((0, 1) if job.ended else (1, 0)), job
            if holder is None and self.may_be_parked(job):
                job.state, job.expired = "queued", False
                self.model.stale += [job.claim] if job.claim else []
            token = job.claim.token.encode() if job.claim and job.state == "running" else None
            assert holder == token, job

    def may_be_parked(self, job: Job) -> bool:
        """A claim parks what it meets of a paused batch: a lost lease ends then."""
        paused = job.batch is not None and self.model.batches[job.batch].paused
        return job.state == "running" and job.expired and not job.to_cancel and paused

    async def check_counts(self, batch: Batch) -> None:
        found = await self.commands.hgetall(keys.BATCH + batch.id)
        counts = Counter(job.state for job in self.of(batch))
        for state in ("queued", "running", "completed", "failed", "cancelled"):
            assert int(found.get(state.encode(), 0)) == counts[state], (batch, state)
        assert int(found[b"total"]) == batch.rows

    async def check_lane(self, lane: str) -> None:
        waits = Counter[str]()
        for job in self.model.jobs.values():
            if job.lane == lane and (flow := self.model.flow(job)):
                waits["parked" if self.model.batches[flow[1]].paused else "waiting"] += 1
        fair = await self.commands.hmget(lane.replace(keys.LANE, keys.FAIR), "waiting", "parked")
        assert [int(each or 0) for each in fair] == [waits["waiting"], waits["parked"]]

    async def end_everything(self) -> None:
        """Delete all batches and cancel all single jobs: nothing of them is left."""
        await self.resume_lane()
        for batch in list(self.model.batches.values()):
            while await run(self.redis, Script.DELETE, [keys.BATCHES], [batch.id, "any", 100]) > 0:
                pass
        for job in self.model.jobs.values():
            if job.batch is None and not job.ended:
                await self.redis.zadd(job.lane + keys.HELD_SUFFIX, {job.id: 1}, xx=True)
                await cancel_jobs(self.redis, self.clock, [job.id], 60_000)
        for lane in LANES:
            assert await self.redis.zrange(lane, 0, -1) == []
        left = {key.decode() for key in await self.redis.keys("*")}
        mine = ("b0", "b1", "b2", "b3", "b4")
        assert [key for key in left if any(f":{name}" in key for name in mine)] == []
        assert [
            key for key in left if key.startswith((keys.PAYLOAD, keys.HOLDER, keys.JOB, keys.LANE, keys.FLOWS))
        ] == []
        for key in (keys.BATCHES, keys.KEPT, keys.PAUSED, keys.RESUMING, keys.CANCELLING, keys.SHELVED, keys.DEADLINES):
            assert not await self.redis.exists(key), key


async def test_random_interleavings_agree_with_a_model(redis: ArqRedis) -> None:
    seeds = iter([int(SEED)] if SEED else range(1, 1_000_000))
    end = time.monotonic() + SECONDS
    for seed in seeds:
        await redis.flushdb()
        world = World(redis, seed)
        try:
            for _ in range(STEPS):
                await world.step()
            await world.end_everything()
        except AssertionError as exc:
            exc.add_note(f"WINDFALL_MODEL_SEED={seed}; the last steps: {', '.join(world.log[-12:])}")
            raise
        if time.monotonic() > end:
            return
