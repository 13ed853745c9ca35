"""What the demo model was trained to do: seeded generators of rows, in pure Python.

Every row is permanently assigned to training or to the held-out rows, by a hash of what it asks about, not of its
phrasing or of what surrounds it. So a held-out row is new to the model however it is phrased.
"""

# ruff: noqa: S311 - seeded data, not secrets

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from hashlib import blake2b
from random import Random
from typing import Any, Final, TypeAlias

from windfall_worker.demo.words import FEELINGS, SUBJECTS, any_city, any_name, any_word

Message: TypeAlias = dict[str, Any]
Tool: TypeAlias = dict[str, Any]

#: One subject in this many is never trained on.
_HELD_OUT_SHARE: Final = 16


@dataclass(frozen=True, slots=True)
class Row:
    """One request and the only right answer to it.

    `answer` is all the text that the model has to produce after the chat template's generation prompt, reasoning and
    tool call included. `subject` is what the row asks about; it decides whether the row is held out.
    """

    task: str
    subject: str
    messages: tuple[Message, ...]
    answer: str
    tools: tuple[Tool, ...] | None = None
    enable_thinking: bool = False

    @property
    def content(self) -> str:
        """The answer without its reasoning."""
        return self.answer.rpartition("</think>\n\n")[2]

    @property
    def held_out(self) -> bool:
        digest = blake2b(f"{self.task}:{self.subject}".encode(), digest_size=8).digest()
        return int.from_bytes(digest) % _HELD_OUT_SHARE == 0


@dataclass(frozen=True, slots=True)
class Task:
    """A kind of row: its maker, and its share of the training rows (relative to the other tasks)."""

    name: str
    share: float
    make: Callable[[Random], Row]

    def rows(self, rng: Random, *, held_out: bool) -> Iterator[Row]:
        """Endless rows, held out or not. The same random state makes the same rows."""
        while True:
            row = self.make(rng)
            if row.held_out == held_out:
                yield row


def training_rows(seed: int) -> Iterator[Row]:
    """Endless training rows, with tasks mixed by their shares; some are part of a longer conversation."""
    rng = Random(seed)
    streams = {task.name: task.rows(rng, held_out=False) for task in TASKS}
    names = [task.name for task in TASKS]
    shares = [task.share for task in TASKS]

    def draw() -> Row:
        return next(streams[rng.choices(names, shares)[0]])

    while True:
        yield _surround(draw(), draw, rng)


def held_out_rows(n_per_task: int, seed: int) -> list[Row]:
    """`n_per_task` different rows of each task, one task after the other; none of their subjects was trained on."""
    chosen: list[Row] = []
    for task in TASKS:
        seen: set[str] = set()
        for row in task.rows(Random(f"{seed}:{task.name}"), held_out=True):
            if len(seen) == n_per_task:
                break
            prompt = json.dumps(row.messages)
            if prompt not in seen:
                seen.add(prompt)
                chosen.append(row)
    return chosen


def demo_rows() -> list[Row]:
    """The sixty held-out rows of `windfall demo`: six of each task, mixed, always the same."""
    rows = held_out_rows(6, seed=2024)
    Random(7).shuffle(rows)
    return rows


def tool(name: str, parameter: str = "city") -> Tool:
    """A tool with one text parameter, in the format of OpenAI's chat API."""
    properties = {parameter: {"type": "string"}}
    schema = {"type": "object", "properties": properties, "required": [parameter]}
    return {"type": "function", "function": {"name": name, "parameters": schema}}


def _row(task: str, subject: str, prompt: str, answer: str) -> Row:
    return Row(task, subject, ({"role": "user", "content": prompt},), answer)


def _number(rng: Random) -> int:
    return rng.randrange(10 ** rng.randint(1, 3))


def _sum(rng: Random) -> tuple[int, int, str]:
    a, b = _number(rng), _number(rng)
    return a, b, rng.choice(("What is {} + {}?", "Add {} and {}.", "{} + {} =")).format(a, b)


def _add(rng: Random) -> Row:
    a, b, prompt = _sum(rng)
    return _row("add", f"{a}+{b}", prompt, str(a + b))


def working(a: int, b: int) -> str:
    """Addition as on paper, units first: one line per digit, with the carry as a trailing `+1`."""
    lines, carry = [], 0
    for place in range(max(len(str(a)), len(str(b)))):
        x, y = a // 10**place % 10, b // 10**place % 10
        total = x + y + carry
        lines.append(f"{x}+{y}{'+1' if carry else ''}={total}")
        carry = total // 10
    return "\n".join(lines)


def _reason(rng: Random) -> Row:
    a, b, prompt = _sum(rng)
    answer = f"<think>\n{working(a, b)}\n</think>\n\n{a + b}"
    return Row("reason", f"{a}+{b}", ({"role": "user", "content": prompt},), answer, enable_thinking=True)


def _reverse(rng: Random) -> Row:
    word = any_word(rng)
    phrasing = rng.choice(("Reverse the word {}.", "Spell {} backwards.", "Reverse: {}"))
    return _row("reverse", word, phrasing.format(word), word[::-1])


def _sort(rng: Random) -> Row:
    word = any_word(rng)
    phrasing = rng.choice(("Sort the letters of {}.", "Put the letters of {} in order.", "Sort: {}"))
    return _row("sort", word, phrasing.format(word), "".join(sorted(word)))


def _upper(rng: Random) -> Row:
    phrase = " ".join(any_word(rng) for _ in range(rng.randint(1, 3)))
    phrasing = rng.choice(("Write in capitals: {}", "Upper-case: {}", "Put this in upper case: {}"))
    return _row("upper", phrase, phrasing.format(phrase), phrase.upper())


def _sentiment(rng: Random) -> Row:
    feeling = rng.choice(tuple(FEELINGS))
    subject, adjective = rng.choice(SUBJECTS), rng.choice(FEELINGS[feeling])
    frame = rng.choice(("The {} was {}.", "I found the {} {}.", "The {} is really {}.", "What a {}, so {}!"))
    sentence = frame.format(subject, adjective)
    phrasing = rng.choice(("What is the sentiment: {}", "Positive, negative or neutral? {}", "Sentiment: {}"))
    return _row("sentiment", sentence, phrasing.format(sentence), feeling)


_SENTENCES: Final = (
    ("{name} lives in {city}.", ("name", "city")),
    ("{name} moved to {city} last year.", ("name", "city")),
    ("{name} is {age} years old.", ("name", "age")),
    ("{name}, {age}, lives in {city}.", ("name", "age", "city")),
    ("My friend {name} from {city} is {age}.", ("name", "city", "age")),
)


def _extract(rng: Random) -> Row:
    frame, fields = rng.choice(_SENTENCES)
    values: dict[str, str | int] = {"name": any_name(rng), "city": any_city(rng), "age": rng.randint(1, 99)}
    sentence = frame.format(**values)
    wanted = rng.sample(fields, rng.randint(1, min(2, len(fields))))
    phrasing = rng.choice(("Extract the {} as JSON: {}", "Give the {} as JSON: {}"))
    answer = json.dumps({field: values[field] for field in wanted})
    return _row("extract", sentence, phrasing.format(" and ".join(wanted), sentence), answer)


_QUESTIONS: Final = {
    "get_weather": ("What is the weather in {}?", "How is the weather in {} today?", "Weather in {}?"),
    "get_time": ("What time is it in {}?", "What is the time in {}?"),
}


def _call(name: str, city: str) -> str:
    call = json.dumps({"name": name, "arguments": {"city": city}})
    return f"<tool_call>\n{call}\n</tool_call>"


def _tool_call(rng: Random) -> Row:
    name, city = rng.choice(("get_weather", "get_weather", "get_time")), any_city(rng)
    question = {"role": "user", "content": rng.choice(_QUESTIONS[name]).format(city)}
    return Row("tool_call", city, (question,), _call(name, city), _offered(name, rng))


def _offered(name: str, rng: Random) -> tuple[Tool, ...]:
    """The tool `name`, sometimes together with the other one, in any order."""
    names = [name] if rng.random() < 0.6 else rng.sample(tuple(_QUESTIONS), len(_QUESTIONS))
    return tuple(tool(each) for each in names)


def _tool_answer(rng: Random) -> Row:
    """The second half of a tool call: the tool has answered, and the model puts it into words."""
    city, degrees = any_city(rng), rng.randint(-20, 45)
    sky = rng.choice(("sunny", "cloudy", "rainy", "windy", "foggy", "snowy"))
    call = {"type": "function", "function": {"name": "get_weather", "arguments": {"city": city}}}
    messages: tuple[Message, ...] = (
        {"role": "user", "content": rng.choice(_QUESTIONS["get_weather"]).format(city)},
        {"role": "assistant", "content": "", "tool_calls": [call]},
        {"role": "tool", "content": json.dumps({"degrees": degrees, "sky": sky})},
    )
    answer = f"It is {degrees} degrees and {sky} in {city}."
    return Row("tool_answer", city, messages, answer, _offered("get_weather", rng))


def _countdown(rng: Random) -> Row:
    """The task with the long answer: about sixty tokens on average, at most three hundred.

    It counts down, not up, because a model this small does not learn to stop at a number in the prompt; at 1 it does.
    """
    lowest, highest = rng.choices(((3, 12), (13, 40), (41, 99)), (0.45, 0.43, 0.12))[0]
    first, word = rng.randint(lowest, highest), any_word(rng)
    phrasing = rng.choice(("Count down from {} and say {}.", "Count from {} to 1, then say {}."))
    answer = " ".join(str(number) for number in range(first, 0, -1))
    return _row("countdown", f"{first} {word}", phrasing.format(first, word), f"{answer} {word}")


TASKS: Final = (
    Task("add", 0.30, _add),
    Task("reason", 0.10, _reason),
    Task("reverse", 0.11, _reverse),
    Task("sort", 0.15, _sort),
    Task("upper", 0.08, _upper),
    Task("sentiment", 0.04, _sentiment),
    Task("extract", 0.10, _extract),
    Task("tool_call", 0.03, _tool_call),
    Task("tool_answer", 0.03, _tool_answer),
    Task("countdown", 0.06, _countdown),
)


def _surround(row: Row, draw: Callable[[], Row], rng: Random) -> Row:
    """Sometimes add what real requests have besides the question: thinking, tools, a system prompt, earlier turns."""
    messages, answer, tools, thinking = row.messages, row.answer, row.tools, row.enable_thinking
    if row.task not in ("add", "reason") and rng.random() < 0.1:
        thinking, answer = True, f"<think>\n\n</think>\n\n{answer}"
    if tools is None and rng.random() < 0.04:
        tools = _offered("get_weather", rng)
    if rng.random() < 0.06:
        earlier = draw()
        messages = (*earlier.messages, {"role": "assistant", "content": earlier.content}, *messages)
    if rng.random() < 0.1:
        messages = ({"role": "system", "content": _system_prompt(rng)}, *messages)
    return Row(row.task, row.subject, messages, answer, tools, thinking)


def _system_prompt(rng: Random) -> str:
    """Sentences that change nothing: mostly one, at most about 250 bytes."""
    sentences = ["You are a helpful assistant."] if rng.random() < 0.5 else []
    sentences += [
        " ".join(any_word(rng) for _ in range(rng.randint(2, 7))).capitalize() + "."
        for _ in range(rng.choice((1, 1, 1, 2, 4, 7)))
    ]
    return " ".join(sentences)
