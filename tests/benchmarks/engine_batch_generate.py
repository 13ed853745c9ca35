"""The engine against mlx-lm's `batch_generate`: 256 different short prompts, greedy, the same model, the same run.

Both have the model loaded before the clock starts. The peer gets token ids and returns texts; the engine gets requests,
renders and tokenises them, and returns completions through its process and the backend: what a worker pays for it.
The sides take turns, so that what else the machine does hits both. Prints medians and their ratio; above 1 is faster.
`cpu_ratio` (Linux only) compares the processor time that both took, which a busy machine disturbs less.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "producer"), str(ROOT / "worker")]

from models import build_model  # noqa: E402 - found by the line above
from windfall.request import CompletionRequest  # noqa: E402
from windfall_worker.backends.base import Call  # noqa: E402
from windfall_worker.backends.mlx import MLXBackend  # noqa: E402


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--prompts", type=int, default=256)
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--slots", type=int, default=32)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        model = build_model(Path(folder) / "model", layers=4, width=160)
        figures = asyncio.run(measure(model, options))
    print(json.dumps(figures, indent=2))
    target = ROOT / ".bench" / "engine_batch_generate.json"
    target.parent.mkdir(exist_ok=True)
    target.write_text(json.dumps(figures, indent=2) + "\n")


async def measure(model: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Rounds of both sides in turn; the order within a round changes too."""
    requests = [
        CompletionRequest(
            model="m",
            messages=[{"role": "user", "content": f"prompt number {number}"}],
            max_tokens=options.tokens,
            temperature=0.0,
        )
        for number in range(options.prompts)
    ]
    peer = Peer(model, requests, options)
    backend = MLXBackend(str(model), slots=options.slots)
    await backend.start()
    seconds: dict[str, list[float]] = {"windfall": [], "batch_generate": []}
    cpu: dict[str, list[float]] = {side: [] for side in seconds}
    tokens = dict.fromkeys(seconds, 0)
    sides = {"windfall": lambda: ours(backend, requests), "batch_generate": peer.complete}
    try:
        for number in range(options.rounds + 1):
            for side in sorted(sides, reverse=number % 2 == 0):
                start, cpu_start = time.perf_counter(), cpu_seconds(backend.pid)
                tokens[side] = await sides[side]()
                if number:  # the first round warms both up
                    seconds[side].append(time.perf_counter() - start)
                    cpu[side].append(cpu_seconds(backend.pid) - cpu_start)
    finally:
        beat = backend.beat
        await backend.close()
    medians = {side: statistics.median(times) for side, times in seconds.items()}
    return {
        "prompts": options.prompts,
        "tokens": tokens,
        "seconds": seconds,
        "tokens_per_second": {side: tokens[side] / median for side, median in medians.items()},
        "ratio": medians["batch_generate"] / medians["windfall"],
        "cpu_ratio": statistics.median(cpu["batch_generate"]) / (statistics.median(cpu["windfall"]) or 1),
        "ratio_of_the_best": min(seconds["batch_generate"]) / min(seconds["windfall"]),
        "engine": beat.model_dump() if beat else None,
    }


def cpu_seconds(engine: int | None) -> float:
    """Processor time of this process and of the engine's so far, all threads."""
    stat = Path(f"/proc/{engine}/stat")
    if not stat.exists():
        return time.process_time()
    user, system = stat.read_text().rsplit(")", 1)[1].split()[11:13]
    return time.process_time() + (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


async def ours(backend: MLXBackend, requests: list[CompletionRequest]) -> int:
    """All requests at once through the backend; returns the tokens generated."""
    completions = await asyncio.gather(*(backend.complete(Call("job", request)) for request in requests))
    return sum(completion.usage.completion_tokens for completion in completions)


class Peer:
    """mlx-lm's own batch generation, in a thread of this process: MLX wants to load and generate in the same one."""

    def __init__(self, model: Path, requests: list[CompletionRequest], options: argparse.Namespace) -> None:
        self._path, self._requests, self._options = model, requests, options
        self._thread = ThreadPoolExecutor(1)
        self._loaded: Any = None

    async def complete(self) -> int:
        """All requests as one batch; returns the tokens generated."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._complete)

    def _complete(self) -> int:
        from mlx_lm import batch_generate, load  # noqa: PLC0415 - only this side loads MLX in this process

        self._loaded = self._loaded or load(str(self._path))
        model, tokenizer = self._loaded
        conversations = [[{"role": m.role, "content": m.text()} for m in r.messages] for r in self._requests]
        prompts = [tokenizer.apply_chat_template(c, add_generation_prompt=True) for c in conversations]
        response = batch_generate(model, tokenizer, prompts, max_tokens=self._options.tokens, return_token_ids=True)
        return sum(len(ids) for ids in response.token_ids or [])


if __name__ == "__main__":
    main()
