"""The generators behind the demo model: what it was trained on, and what it is measured on."""

import json
from collections import Counter
from itertools import islice

import pytest

from windfall_worker.demo import MODEL_PATH, tokenizer
from windfall_worker.demo.tasks import TASKS, Row, demo_rows, held_out_rows, training_rows, working

MEBIBYTE = 1 << 20

FIRST_ROWS = [
    ("add", "What is 558 + 4?"),
    ("reason", "Add 95 and 881."),
    ("reverse", "Reverse the word needle."),
    ("sort", "Put the letters of shadidbr in order."),
    ("upper", "Write in capitals: nistyai pond yost"),
    ("sentiment", "Positive, negative or neutral? I found the food average."),
    ("extract", "Extract the name as JSON: Stoondw moved to Koovaigf last year."),
    ("tool_call", "Weather in Trul?"),
    ("tool_answer", '{"degrees": 18, "sky": "cloudy"}'),
    ("countdown", "Count from 10 to 1, then say wockhai."),
]


def only(rows: list[Row], task: str) -> list[Row]:
    return [row for row in rows if row.task == task]


def question(row: Row) -> str:
    return str(row.messages[-1]["content"])


@pytest.fixture(scope="module")
def trained() -> list[Row]:
    return list(islice(training_rows(seed=0), 2000))


@pytest.fixture(scope="module")
def held_out() -> list[Row]:
    return held_out_rows(200, seed=3)


def test_the_same_seed_makes_the_same_rows(trained: list[Row], held_out: list[Row]) -> None:
    assert list(islice(training_rows(seed=0), 2000)) == trained
    assert held_out_rows(200, seed=3) == held_out
    assert demo_rows() == demo_rows()


def test_another_seed_makes_other_rows(trained: list[Row], held_out: list[Row]) -> None:
    assert list(islice(training_rows(seed=1), 100)) != trained[:100]
    assert held_out_rows(200, seed=4) != held_out


def test_the_first_rows_stay_what_they_were() -> None:
    """Other generators make other data: the model has to be trained and measured again, then these rows be renewed."""
    assert [(row.task, question(row)) for row in held_out_rows(1, seed=0)] == FIRST_ROWS


def test_no_subject_is_on_both_sides(trained: list[Row], held_out: list[Row]) -> None:
    assert not any(row.held_out for row in trained)
    assert all(row.held_out for row in held_out)
    assert not {(row.task, row.subject) for row in trained} & {(row.task, row.subject) for row in held_out}


def test_every_task_is_trained_on_and_held_out_in_its_number(trained: list[Row], held_out: list[Row]) -> None:
    names = {task.name for task in TASKS}
    assert {row.task for row in trained} == names
    assert Counter(row.task for row in held_out) == dict.fromkeys(names, 200)


def test_held_out_rows_differ_from_each_other(held_out: list[Row]) -> None:
    prompts = Counter((row.task, json.dumps(row.messages)) for row in held_out)
    assert max(prompts.values()) == 1


def test_the_demo_shows_sixty_held_out_rows_of_every_task_mixed() -> None:
    rows = demo_rows()
    assert len(rows) == 60
    assert all(row.held_out for row in rows)
    assert Counter(row.task for row in rows) == {task.name: 6 for task in TASKS}
    assert len({row.task for row in rows[:6]}) > 1


def test_sums_are_right_with_and_without_reasoning(held_out: list[Row]) -> None:
    for row in only(held_out, "add") + only(held_out, "reason"):
        first, second = row.subject.split("+")
        assert int(row.content) == int(first) + int(second)


def test_only_reasoning_rows_think(held_out: list[Row]) -> None:
    for row in held_out:
        assert row.enable_thinking == row.answer.startswith("<think>\n") == (row.task == "reason")


def test_the_working_goes_from_the_units_with_its_carry() -> None:
    assert working(678, 45) == "8+5=13\n7+4+1=12\n6+0+1=7"


def test_words_are_reversed_sorted_and_put_in_capitals(held_out: list[Row]) -> None:
    for row in only(held_out, "reverse"):
        assert row.answer[::-1] == row.subject
    for row in only(held_out, "sort"):
        assert row.answer == "".join(sorted(row.subject))
    for row in only(held_out, "upper"):
        assert row.answer == row.subject.upper()


def test_extracted_json_holds_values_of_the_sentence(held_out: list[Row]) -> None:
    for row in only(held_out, "extract"):
        values = json.loads(row.answer)
        assert values
        assert all(str(value) in row.subject for value in values.values())


def test_tool_calls_name_an_offered_tool_and_the_city_asked_for(held_out: list[Row]) -> None:
    for row in only(held_out, "tool_call"):
        call = json.loads(row.answer.removeprefix("<tool_call>\n").removesuffix("\n</tool_call>"))
        assert call["arguments"] == {"city": row.subject}
        assert row.tools is not None
        assert call["name"] in [offered["function"]["name"] for offered in row.tools]
        assert row.subject in question(row)


def test_countdowns_are_long_enough_to_be_watched_and_end_in_their_word(held_out: list[Row]) -> None:
    rows = only(held_out, "countdown")
    assert max(len(row.answer) for row in rows) > 200
    for row in rows:
        first, word = row.subject.split()
        assert row.answer.split() == [*(str(number) for number in range(int(first), 0, -1)), word]


def test_the_model_folder_holds_the_tokenizer_and_template_of_the_source() -> None:
    assert (MODEL_PATH / "tokenizer.json").read_text() == tokenizer.build().to_str(pretty=True)
    assert (MODEL_PATH / "chat_template.jinja").read_text() == tokenizer.CHAT_TEMPLATE


def test_every_reader_of_the_configuration_finds_the_same_rope() -> None:
    config = json.loads((MODEL_PATH / "config.json").read_text())
    assert config["rope_theta"] == config["rope_parameters"]["rope_theta"]
    assert config["vocab_size"] == tokenizer.VOCABULARY_SIZE


def test_the_whole_model_folder_is_at_most_three_mebibytes() -> None:
    assert sum(file.stat().st_size for file in MODEL_PATH.iterdir()) <= 3 * MEBIBYTE
