"""Trains the demo model from scratch and writes its folder: `python -m windfall_worker.demo.train`.

Needs torch (2.9 or later, for Muon), transformers (5) and safetensors, which Windfall itself does not need. The data is
generated (`tasks.py`), everything is seeded, and the loss covers the answers only. Matrices are trained with Muon
(Keller Jordan, kellerjordan.github.io/posts/muon), the rest with AdamW; the learning rate is constant, then falls to
zero over the last half.

The committed weights took 4,000 steps in three runs, each continuing the one before: `--level 1200 --cooldown 0`, 600
more steps at the full rate, then `--begin … --level 500 --cooldown 1700 --seed 2`. Only the last run had the present
shares of the tasks and the present countdown; the split between training and held-out rows was the same in all runs.

On Linux, `MALLOC_MMAP_THRESHOLD_=4000000000 MALLOC_TRIM_THRESHOLD_=8000000000 MALLOC_TOP_PAD_=1000000000` makes it a
third faster: otherwise glibc returns the activations to the kernel, and requests them again, at every step.
"""

import argparse
import copy
import itertools
import json
import logging
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any, Final, TypeAlias

import torch
from safetensors.torch import load_file, save_file
from torch.nn import functional
from transformers import PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM

from windfall_worker.demo import MODEL_PATH, tokenizer
from windfall_worker.demo.tasks import Row, held_out_rows, training_rows

CONTEXT: Final = 4096
ROWS_PER_STEP: Final = 64
CHUNKS_PER_STEP: Final = 8  #: rows of similar length are padded together, to keep padding short
STEPS_PER_POOL: Final = 8  #: rows of similar length are picked from this many steps' rows
NO_LOSS: Final = -100

CONFIG_KEYS: Final = (
    *("vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads"),
    *("num_key_value_heads", "head_dim", "max_position_embeddings", "tie_word_embeddings", "rms_norm_eps"),
    *("rope_parameters", "eos_token_id", "pad_token_id"),
)

Chunk: TypeAlias = tuple[torch.Tensor, torch.Tensor]

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Example:
    """A row in tokens: the prompt with its answer, and where the answer begins."""

    task: str
    tokens: list[int]
    answer_start: int


class Encoder:
    """Turns rows into examples with the chat template that the model is served with."""

    def __init__(self) -> None:
        self._tokenizer = tokenizer.build()
        self._chat: Any = PreTrainedTokenizerFast(tokenizer_object=self._tokenizer)  # type: ignore[no-untyped-call]
        self._chat.chat_template = tokenizer.CHAT_TEMPLATE

    def __call__(self, row: Row) -> Example:
        prompt = self._chat.apply_chat_template(
            list(row.messages),
            tools=list(row.tools) if row.tools else None,
            enable_thinking=row.enable_thinking,
            add_generation_prompt=True,
            tokenize=False,
        )
        start = self._tokenizer.encode(prompt).ids
        answer = self._tokenizer.encode(row.answer).ids
        return Example(row.task, [*start, *answer, tokenizer.END_ID], len(start))


def configuration() -> Qwen3Config:
    return Qwen3Config(
        vocab_size=tokenizer.VOCABULARY_SIZE,
        hidden_size=128,
        intermediate_size=384,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=32,
        max_position_embeddings=CONTEXT,
        tie_word_embeddings=True,
        initializer_range=0.04,
        rope_parameters={"rope_type": "default", "rope_theta": 10000.0},
        bos_token_id=None,
        eos_token_id=tokenizer.END_ID,
        pad_token_id=tokenizer.PAD_ID,
        use_cache=False,
    )


def padded(examples: Sequence[Example]) -> Chunk:
    """The examples as a pair of (tokens, labels shifted by one), padded on the right."""
    width = max(len(example.tokens) for example in examples) - 1
    tokens = torch.full((len(examples), width), tokenizer.PAD_ID)
    labels = torch.full((len(examples), width), NO_LOSS)
    for place, example in enumerate(examples):
        ids = torch.tensor(example.tokens)
        tokens[place, : len(ids) - 1] = ids[:-1]
        labels[place, example.answer_start - 1 : len(ids) - 1] = ids[example.answer_start :]
    return tokens, labels


def steps_of(rows: Iterator[Row], encode: Encoder, rng: Random) -> Iterator[list[Chunk]]:
    """The chunks of each step, endlessly: a chunk has rows of similar length, a step has short and long chunks."""
    while True:
        pool = [encode(row) for row in itertools.islice(rows, ROWS_PER_STEP * STEPS_PER_POOL)]
        pool.sort(key=lambda example: len(example.tokens))
        size = ROWS_PER_STEP // CHUNKS_PER_STEP
        cut = [padded(pool[first : first + size]) for first in range(0, len(pool), size)]
        bands = [cut[first : first + STEPS_PER_POOL] for first in range(0, len(cut), STEPS_PER_POOL)]
        for band in bands:
            rng.shuffle(band)
        yield from (list(step) for step in zip(*bands, strict=True))


def answer_logits(model: Qwen3ForCausalLM, tokens: torch.Tensor, where: torch.Tensor) -> torch.Tensor:
    """The logits at the positions in the mask `where`. Padding is on the right, so causal attention needs no mask."""
    hidden = model.model(input_ids=tokens)[0]
    logits: torch.Tensor = model.lm_head(hidden[where])
    return logits


def loss_of(model: Qwen3ForCausalLM, tokens: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Cross-entropy in which each token of an n-token answer weighs 1/√n, so that long answers do not dominate.

    The end token always weighs 1: it is the only hard token of a counting row.
    """
    where = labels != NO_LOSS
    weights = where.sum(dim=1, keepdim=True).rsqrt().expand_as(labels)
    weights = torch.where(labels == tokenizer.END_ID, 1.0, weights)[where]
    losses = functional.cross_entropy(answer_logits(model, tokens, where), labels[where], reduction="none")
    return (losses * weights).sum() / ROWS_PER_STEP


def gradients_of(
    model: Qwen3ForCausalLM, chunks: Sequence[Chunk], pool: ThreadPoolExecutor
) -> tuple[float, list[torch.Tensor]]:
    """The loss of a step and its gradients in float32, with one thread per chunk.

    torch's own threads synchronise after every small operation, and on a busy machine mostly wait there.
    """
    weights = list(model.parameters())

    def of_one(chunk: Chunk) -> tuple[float, tuple[torch.Tensor, ...]]:
        loss = loss_of(model, *chunk)
        return loss.item(), torch.autograd.grad(loss, weights)

    longest_first = reversed(chunks)
    losses, gradients = zip(*pool.map(of_one, longest_first), strict=True)
    return sum(losses), [torch.stack(parts).sum(dim=0, dtype=torch.float32) for parts in zip(*gradients, strict=True)]


@torch.no_grad()
def accuracy(model: Qwen3ForCausalLM, examples: Sequence[Example]) -> dict[str, float]:
    """The share of each task's examples that greedy decoding gets exactly right.

    That is so if every answer token is the likeliest after the right tokens before it, so one forward pass is enough.
    """
    right, total = Counter[str](), Counter(example.task for example in examples)
    ordered = sorted(examples, key=lambda example: len(example.tokens))
    for first in range(0, len(ordered), ROWS_PER_STEP):
        part = ordered[first : first + ROWS_PER_STEP]
        tokens, labels = padded(part)
        where = labels != NO_LOSS
        hit = torch.ones_like(where)
        hit[where] = answer_logits(model, tokens, where).argmax(dim=-1) == labels[where]
        right.update(example.task for example, all_hit in zip(part, hit.all(dim=1), strict=True) if all_hit)
    return {task: right[task] / total[task] for task in total}


def optimizers(model: Qwen3ForCausalLM, rate: float) -> list[torch.optim.Optimizer]:
    """Muon for the layers' matrices, at `rate`; AdamW for the embedding and the norms."""
    matrices = [weight for name, weight in model.named_parameters() if weight.ndim == 2 and "embed" not in name]
    others = [weight for name, weight in model.named_parameters() if weight.ndim != 2 or "embed" in name]
    return [
        torch.optim.Muon(matrices, lr=rate, momentum=0.95, weight_decay=0.01),
        torch.optim.AdamW(others, lr=rate / 4, betas=(0.9, 0.98), weight_decay=0.0),
    ]


@dataclass(frozen=True, slots=True)
class Plan:
    """One training run.

    It has `level` steps at the full learning rate, then `cooldown` steps in which the rate falls to zero. `rate` is
    Muon's (AdamW's is a quarter of it), `every` the number of steps between measurements, `output` the folder to write.
    """

    level: int
    cooldown: int
    rate: float
    seed: int
    threads: int
    every: int
    output: Path

    def rate_factor(self, step: int) -> float:
        """Rises over 200 steps, stays level, and falls linearly to zero. Steps count from one."""
        left = self.level + self.cooldown - step + 1
        return min(1.0, step / 200, left / (self.cooldown + 1))


def train(master: Qwen3ForCausalLM, rows: Iterator[Row], plan: Plan) -> None:
    """Train `master` in place; every `plan.every` steps, log the held-out accuracy and save.

    Forward and backward passes use a bfloat16 copy, which a CPU with AVX-512 computes twice as fast.
    """
    encode = Encoder()
    held_out = [encode(row) for row in held_out_rows(50, seed=1)]
    both = optimizers(master, plan.rate)
    model = copy.deepcopy(master).bfloat16()
    pairs = list(zip(master.parameters(), model.parameters(), strict=True))
    started, running = time.monotonic(), 0.0
    steps = plan.level + plan.cooldown
    rng = Random(plan.seed)  # noqa: S311 - seeded, not secret
    with ThreadPoolExecutor(plan.threads) as pool:
        for step, chunks in enumerate(itertools.islice(steps_of(rows, encode, rng), steps), start=1):
            loss, gradients = gradients_of(model, chunks, pool)
            running += loss
            for (weight, _), gradient in zip(pairs, gradients, strict=True):
                weight.grad = gradient
            for optimizer in both:
                for group in optimizer.param_groups:
                    group["lr"] = group.setdefault("full_lr", group["lr"]) * plan.rate_factor(step)
                optimizer.step()
            with torch.no_grad():
                for weight, copied in pairs:
                    copied.copy_(weight)
            if step % plan.every == 0 or step == steps:
                shown = " ".join(f"{task} {score:.2f}" for task, score in accuracy(master, held_out).items())
                logger.info(
                    "step %d, %.0f s, loss %.4f: %s", step, time.monotonic() - started, running / plan.every, shown
                )
                running = 0.0
                save(master, plan.output)


def save(model: Qwen3ForCausalLM, folder: Path) -> None:
    """Write the folder that mlx-lm loads. Weights are float16: half the size, and no answer changes."""
    folder.mkdir(parents=True, exist_ok=True)
    weights = {
        name: weight.detach().to(torch.float16).contiguous()
        for name, weight in model.state_dict().items()
        if name != "lm_head.weight"  # tied to the embedding
    }
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    config = model.config.to_dict()
    # transformers 5 reads rope_parameters, mlx-lm and older transformers rope_theta.
    wanted = {
        "architectures": ["Qwen3ForCausalLM"],
        "model_type": "qwen3",
        "dtype": "float16",
        "rope_theta": config["rope_parameters"]["rope_theta"],
        **{key: config[key] for key in CONFIG_KEYS},
    }
    (folder / "config.json").write_text(json.dumps(wanted, indent=2) + "\n")
    tokenizer.save(folder, CONTEXT)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--begin", type=Path, help="the folder of a model to continue from, instead of starting from scratch"
    )
    parser.add_argument("--level", type=int, default=2500, help="steps at the full learning rate")
    parser.add_argument("--cooldown", type=int, default=2500, help="steps in which the rate falls to zero")
    parser.add_argument("--rate", type=float, default=0.02)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--every", type=int, default=500)
    parser.add_argument("--output", type=Path, default=MODEL_PATH)
    options = vars(parser.parse_args())
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    torch.set_num_threads(1)
    torch.manual_seed(options["seed"])
    begin = options.pop("begin")
    model = Qwen3ForCausalLM(configuration())
    if begin:
        model.load_state_dict(load_file(begin / "model.safetensors"), strict=False)
    # On rows this short it is twice as fast as the fused attention.
    model.set_attn_implementation("eager")
    logger.info("%d parameters", sum(weight.numel() for weight in model.parameters()))
    train(model, training_rows(options["seed"]), Plan(**options))


if __name__ == "__main__":
    main()
