"""What is said of money before a submission."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection

import pytest

from windfall import Route
from windfall.cli.spending import spending
from windfall.formats import Overrides
from windfall.formats.overrides import NO_OVERRIDES
from windfall.queue.fleet import FleetStatus
from windfall.queue.workers import ServedModel, WorkerStatus


def worker(name: str, *models: ServedModel, **about: object) -> WorkerStatus:
    facts = {"host": name, "pid": 1, "state": "running", "started_at": 0, "seen_at": 0, "version": "0"}
    return WorkerStatus.model_validate(
        {"id": name, "models": models, "spill": "no-mac", "spill_after": 60, **facts, **about}
    )


def served(*backends: str, local: bool = False, paid: tuple[str, ...] = (), **about: object) -> ServedModel:
    facts = {"name": "small", "backends": backends, "local": local, "slots": 4, "paid": paid}
    return ServedModel.model_validate(facts | about)


MAC = worker("mac", served("mlx", local=True))
CLOUD = worker("cloud", served("openai", paid=("openai:gpt-5-mini",)))
MAY = "1,000 rows of small may go to openai:gpt-5-mini, which is paid, "
OTHER = worker("other", served("anthropic", paid=("anthropic:haiku",)), spill="backlog", spill_after=300)
FREE = worker("lan", served("mac2"))
BOTH = worker("both", served("mlx", "openai", local=True, paid=("openai:gpt-5-mini",)))


def said(*workers: WorkerStatus, rows: dict[Route, int] | None, overrides: Overrides = NO_OVERRIDES) -> list[str]:
    def count(models: Collection[str]) -> Counter[tuple[str, Route]] | None:
        assert "small" in models
        return None if rows is None else Counter({("small", route): number for route, number in rows.items()})

    return spending(FleetStatus(workers=workers, now=0), overrides, count)


@pytest.mark.parametrize(
    ("workers", "sentence"),
    [
        (
            (MAC, CLOUD),
            (
                "1,000 rows of small may go to openai:gpt-5-mini, which is paid, when no live Mac serves it for 60 s; "
                "--route local rules that out"
            ),
        ),
        (
            (CLOUD,),
            (
                "1,000 rows of small may go to openai:gpt-5-mini, which is paid, as no live Mac serves it; "
                "--route local rules that out"
            ),
        ),
        (
            (MAC, CLOUD, OTHER),
            (
                "1,000 rows of small may go to openai:gpt-5-mini or anthropic:haiku, which is paid, when no live Mac "
                "serves it for 60 s or when the next row has waited for 300 s; --route local rules that out"
            ),
        ),
        (
            (BOTH,),
            (f"{MAY}when no live Mac serves it for 60 s or when an engine fails them; --route local rules that out"),
        ),
        (
            (MAC, CLOUD.model_copy(update={"spill": None, "spill_after": None})),
            (
                f"{MAY}when no live Mac serves it for 60 s or "
                "when the next row has waited for 60 s; --route local rules that out"
            ),
        ),
    ],
)
def test_it_says_how_many_rows_may_go_where_and_when(workers: tuple[WorkerStatus, ...], sentence: str) -> None:
    assert said(*workers, rows={Route.AUTO: 1000}) == [sentence]


def test_what_goes_to_the_cloud_on_purpose_is_said_as_well_and_what_stays_is_not() -> None:
    assert said(MAC, CLOUD, rows={Route.CLOUD: 1, Route.LOCAL: 5}) == [
        "1 row of small goes to openai:gpt-5-mini, which is paid"
    ]


@pytest.mark.parametrize("workers", [(), (MAC,), (FREE,), (MAC, FREE)])
def test_where_nobody_is_paid_nothing_is_said(workers: tuple[WorkerStatus, ...]) -> None:
    assert said(*workers, rows={Route.AUTO: 10, Route.CLOUD: 2}) == []


@pytest.mark.parametrize(
    ("overrides", "sentences"),
    [
        (Overrides(model="small"), 1),
        (Overrides(), 1),
        (Overrides(model="large"), 0),
        (Overrides(route=Route.LOCAL), 0),
        (Overrides(usual_route=Route.LOCAL), 0),
    ],
)
def test_rows_of_a_pipe_are_not_counted(overrides: Overrides, sentences: int) -> None:
    found = said(MAC, CLOUD, rows=None, overrides=overrides)
    assert len(found) == sentences
    assert all(each.startswith("rows of small may go to openai:gpt-5-mini, which is paid") for each in found)
