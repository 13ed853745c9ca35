"""Who may do what: TLS, users with the rights that docs/operations.md gives them, and nothing is ever unpickled."""

from __future__ import annotations

import asyncio
import pickle
import random
import shlex
import ssl
import subprocess
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import redis as sync_redis
from arq import ArqRedis

from acceptance.commands import Shell, named_rows
from helpers.requests import request, requests
from helpers.users import refused
from helpers.waiting import eventually
from helpers.workers import simulated, worker
from windfall import (
    BatchStatus,
    BrokerDenied,
    BrokerUnavailable,
    CompletionRequest,
    ConfigError,
    JobState,
    Producer,
    keys,
)
from windfall.broker.connection import connect, disconnect
from windfall.embedded.broker import free_port
from windfall.errors import UnknownContract, WireError
from windfall.wire import decode_job, encode_job

LANE = keys.lane_queue("m", "auto")


# TLS.


def openssl(*args: object) -> None:
    subprocess.run(["openssl", *map(str, args)], check=True, capture_output=True)


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a certificate authority and a certificate of it for localhost."""
    folder = tmp_path_factory.mktemp("tls")
    new_key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    (folder / "names").write_text("subjectAltName=DNS:localhost")
    for name in ("ca", "other"):
        openssl("req", "-x509", *new_key, "-keyout", folder / f"{name}.key", "-out", folder / f"{name}.pem",
                "-subj", f"/CN=windfall test {name}", "-days", 2)  # fmt: skip
    openssl("req", *new_key, "-keyout", folder / "server.key", "-out", folder / "server.csr", "-subj", "/CN=localhost")
    openssl("x509", "-req", "-in", folder / "server.csr", "-CA", folder / "ca.pem", "-CAkey", folder / "ca.key",
            "-CAcreateserial", "-out", folder / "server.crt", "-days", 2, "-extfile", folder / "names")  # fmt: skip
    return folder


@pytest.fixture
async def tls_port(redis_server_binary: Path, authority: Path, redis_url: str, tmp_path: Path) -> AsyncIterator[int]:
    """The port of a Redis with TLS. Where the redis-server at hand was built without, TLS ends just before it."""
    port = free_port()
    crypto = ["--tls-cert-file", authority / "server.crt", "--tls-key-file", authority / "server.key"]
    crypto += ["--tls-ca-cert-file", authority / "ca.pem", "--tls-auth-clients", "no"]
    command = [redis_server_binary, "--port", 0, "--tls-port", port, "--dir", tmp_path, "--save", "", *crypto]
    server = subprocess.Popen([*map(str, command)], stdout=subprocess.DEVNULL)  # noqa: ASYNC220 - it starts at once
    try:
        if await _accepts(port, server):
            yield port
        else:
            async with _tls_in_front_of(redis_url, port, authority):
                yield port
    finally:
        server.kill()
        server.wait()


async def _accepts(port: int, server: subprocess.Popen[bytes]) -> bool:
    end = time.monotonic() + 30
    while server.poll() is None and time.monotonic() < end:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            await asyncio.sleep(0.05)
        else:
            writer.close()
            return True
    return False


@asynccontextmanager
async def _tls_in_front_of(redis_url: str, port: int, authority: Path) -> AsyncIterator[None]:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(authority / "server.crt", authority / "server.key")
    behind = int(redis_url.rpartition(":")[2])

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
        writer.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", behind)
        await asyncio.gather(pump(reader, inner_writer), pump(inner_reader, writer), return_exceptions=True)

    async with await asyncio.start_server(serve, "127.0.0.1", port, ssl=context):
        yield


async def test_a_batch_runs_over_tls_with_a_certificate_authority_of_ones_own(tls_port: int, authority: Path) -> None:
    url = f"rediss://localhost:{tls_port}?ssl_ca_certs={authority / 'ca.pem'}"
    async with Producer(url) as producer, worker(simulated(), url):
        batch = await producer.enqueue_batch(requests(20))
        assert [result.ok async for result in producer.results(batch.id)] == [True] * 20


@pytest.mark.parametrize(
    ("host", "ca", "why"),
    [
        ("localhost", "other.pem", "certificate verify failed"),
        ("127.0.0.1", "ca.pem", "IP address mismatch"),
        ("localhost", "none.pem", "No such file"),
    ],
)
async def test_a_server_whose_certificate_does_not_fit_is_not_spoken_to(
    tls_port: int, authority: Path, host: str, ca: str, why: str
) -> None:
    with pytest.raises(BrokerUnavailable, match=why):
        async with Producer(f"rediss://{host}:{tls_port}?ssl_ca_certs={authority / ca}"):
            pass


async def test_an_option_that_does_not_exist_is_told_of(redis_url: str) -> None:
    with pytest.raises(ConfigError, match=r"has an option that redis-py does not know.*ssl_ca_cert"):
        await connect(f"{redis_url}?ssl_ca_cert=typo")


# Users.


async def done(producer: Producer, batch_id: str) -> BatchStatus:
    async def look() -> BatchStatus | None:
        status = await producer.batch(batch_id)
        return status if status.done else None

    found: BatchStatus = await eventually(look, "the end of the batch")
    return found


async def steered(producer: Producer) -> None:
    """Everything is paused and goes on, and the worker is told to drain."""
    await producer.pause("batch", (await producer.open_batch(batch_id="paused")).id)
    await producer.enqueue_batch(requests(3), batch_id="paused")
    await producer.pause("lane", "m")
    fleet = await producer.fleet()
    assert fleet.serves("m")
    assert {lane.route.value for lane in fleet.lanes if lane.paused} == {"local", "auto", "cloud"}
    await producer.resume("lane", "m")
    (worker_id,) = await producer.pause("worker", fleet.workers[0].id)
    assert [batch.paused for batch in await producer.batches()] == [True]
    await producer.resume("batch", "paused")
    await producer.resume("worker", worker_id)
    assert (await done(producer, "paused")).completed == 3
    assert await producer.drain(worker_id) == (worker_id,)


async def test_a_whole_life_runs_under_the_documented_rights(redis_url: str, users: dict[str, str]) -> None:
    producing, working = Producer(users["producer"]), users["worker"]
    async with producing as producer, worker(simulated(latency=0.01, slots=4), working):
        batch = await producer.open_batch(source="file", deadline=600)
        batch = await producer.enqueue_batch(requests(30, stream=True), batch_id=batch.id)
        for order in ("completion", "input"):
            found = [result async for result in producer.results(batch.id, order=order)]
            assert [result.ok for result in found] == [True] * 30
        assert [delta async for delta in producer.stream(found[0].job_id)]
        assert (await producer.wait(await producer.enqueue(request()), timeout=60)).ok
        wrong = await producer.enqueue_batch(requests(2, route="cloud"), deadline=0.1)
        assert (await done(producer, wrong.id)).expired == 2
        doomed = await producer.enqueue_batch(requests(50, model="nobody"), batch_id="doomed")
        assert await producer.cancel(doomed.id) == 50
        assert await producer.retry(doomed.id) == 0
        assert await producer.failures(doomed.id) == ((await producer.failures(doomed.id))[0], {})
        assert [letter async for letter in producer.dead_letters()] == []
        assert await producer.purge() == 0
        await steered(producer)
        await producer.info()
        for name in (batch.id, wrong.id, doomed.id):
            await producer.delete(name)
    assert refused(redis_url) == []


async def test_failures_are_dead_letters_and_run_again_under_the_documented_rights(
    redis_url: str, users: dict[str, str]
) -> None:
    async with Producer(users["producer"]) as producer, worker(simulated(), users["worker"]):
        await put(producer.redis, "evil", b"[]")
        result = await producer.wait("evil", timeout=60)
        assert result.state is JobState.FAILED
        assert await producer.retry("evil") == 1
        await producer.wait("evil", timeout=60)
        await producer.purge()
    assert refused(redis_url) == []


@pytest.mark.timeout(400)  # a dozen commands, each a process that takes seconds to start on a loaded machine
def test_the_commands_run_under_the_documented_rights(redis_url: str, users: dict[str, str], tmp_path: Path) -> None:
    shell = Shell(tmp_path)
    shell.write("in.jsonl", named_rows(10))
    producer = ("--redis", users["producer"])
    with shell.worker("--redis", users["worker"], "--simulate", "small=0"):
        submitted = shell("submit", "in.jsonl", "--model", "small", *producer)
        batch_id = submitted.out.strip()
        assert shell("watch", batch_id, *producer).code == 0
        assert shell("results", batch_id, "-o", "out.jsonl", *producer).code == 0
        for command in ("status", "retry", "delete"):
            assert shell(command, batch_id, *producer).code == 0
        for words in (
            ("fleet",),
            ("pause", "lane", "small"),
            ("resume", "lane", "small"),
            ("dead", "list"),
            ("doctor",),
        ):
            assert "refused" not in shell(*words, *producer).out
        assert shell("breaker", "list", "--redis", users["worker"]).code == 0
    assert len(shell.rows("out.jsonl")) == 10
    assert refused(redis_url) == ["key windfall:breakers"]  # `fleet` shows them to those who may see them


FORBIDDEN = {
    "producer": ["FLUSHALL", "KEYS *", "CONFIG GET *", "SCAN 0", "GET other", "HGETALL windfall:breaker:x",
                 "EVAL 'return 1' 0", "SHUTDOWN", "ACL LIST", "PUBLISH other x", "SCRIPT LOAD 'return 1'", "SELECT 1"],
    "worker": ["FLUSHALL", "KEYS *", "CONFIG GET *", "SCAN 0", "GET other", "SHUTDOWN", "ACL LIST", "PUBLISH other x",
               "SELECT 1"],
}  # fmt: skip


@pytest.mark.parametrize("name", ["producer", "worker"])
async def test_the_documented_users_may_do_nothing_else(users: dict[str, str], name: str) -> None:
    client: Any = await connect(users[name])
    for command in FORBIDDEN[name]:
        with pytest.raises(sync_redis.exceptions.NoPermissionError):
            await client.execute_command(*shlex.split(command))
    await disconnect(client)


async def test_a_wrong_password_is_told_of_without_the_password(users: dict[str, str]) -> None:
    with pytest.raises(BrokerDenied, match="check the user and the password") as caught:
        async with Producer(users["producer"].replace("PRODUCER-PASSWORD", "hush-hush")):
            pass
    assert "hush" not in str(caught.value)


# What lies in Redis is only ever read as JSON of ours.


class Bomb:
    """Ends the test when it is unpickled."""

    def __reduce__(self) -> Any:
        return (pytest.fail, ("a pickle was loaded",))


async def put(redis: ArqRedis, name: str, payload: bytes) -> None:
    client: Any = redis
    await client.set(keys.PAYLOAD + name, payload)
    await client.zadd(LANE, {name: 1})
    await client.sadd(keys.LANES, LANE)


async def test_a_pickle_in_the_queue_ends_as_a_failed_job_and_is_never_loaded(redis: ArqRedis) -> None:
    with pytest.raises(pytest.fail.Exception):
        pickle.loads(pickle.dumps(Bomb()))  # noqa: S301 - it would go off
    await put(redis, "stock", pickle.dumps({"f": "complete", "a": (Bomb(),), "k": {}, "t": None, "et": 1}))
    async with Producer(redis) as producer, worker(simulated(), redis):
        result = await producer.wait("stock", timeout=60)
        assert result.error is not None
        assert (result.state, result.error.type) == (JobState.FAILED, "invalid_payload")
        await redis.set(keys.RESULT + "loot", pickle.dumps(Bomb()))
        with pytest.raises(Exception, match="not JSON"):
            await producer.result("loot")
        with pytest.raises(Exception, match="not JSON"):
            _ = [letter async for letter in producer.stream("loot")]


def is_of_another_version(payload: bytes) -> bool:
    try:
        decode_job(payload)
    except WireError as exc:
        return isinstance(exc, UnknownContract)
    return False


async def test_a_worker_outlives_whatever_lies_in_its_lane(redis: ArqRedis) -> None:
    rng = random.Random(4)
    good = encode_job(request("hi"), 1)
    payloads = [b"", b"null", b"[]", b"{}", b"[" * 5000, b'{"v":1e400}', b'{"v":1,"a":"\\ud800"}', good[:-1], good * 2]
    payloads += [rng.randbytes(rng.randrange(1, 300)) for _ in range(30)]
    for _ in range(150):
        wrong = bytearray(good)
        for _ in range(rng.randrange(1, 6)):
            wrong[rng.randrange(len(wrong))] = rng.randrange(256)
        payloads.append(bytes(wrong))
    for number, payload in enumerate(payloads):
        await put(redis, f"fuzz-{number}", payload)
    async with Producer(redis) as producer, worker(simulated(), redis):
        for number, payload in enumerate(payloads):
            if not is_of_another_version(payload):  # those are left for other workers
                assert (await producer.wait(f"fuzz-{number}", timeout=60)).state.final, payload
        last = CompletionRequest.model_validate(
            {"model": "m", "messages": [{"role": "user", "content": "still here?"}]}
        )
        assert (await producer.wait(await producer.enqueue(last), timeout=60)).ok
