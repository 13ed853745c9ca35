"""What several tests share. The index:

batches       what stands in Redis of a batch: its counts, its keys
fake_clock    a clock that a test moves on
fake_worker   a worker that does nothing and remembers what it was told
fork_server   a command as a process that is forked, not started
fuzzing       one place of a message changed, for fuzzing what reads it
mischief      what a producer can write by hand under the documented rights
guards        time going by for a breaker in Redis
models        a tiny model on disk, made anew, with a tokenizer of known ids
otlp          a collector of traces
processes     Windfall's programs as processes
protocol      the queue protocol, one step at a time: claim, finish, release
queue_time    time going by for the queue in Redis
requests      requests of which only the text matters
scraping      asking a metrics endpoint as Prometheus does
users         the Redis users of docs/operations.md
waiting       `eventually` and `until`: the only ways in which a test waits
workers       workers in the process of the test

The fixtures `redis`, `redis_url`, `producer`, `fault_server` and `model` are in tests/conftest.py.
"""
