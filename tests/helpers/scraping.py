"""Asking a worker's metrics endpoint, as Prometheus does."""

from __future__ import annotations

import asyncio
import urllib.request

from prometheus_client.parser import text_string_to_metric_families


class Scrape:
    """One answer of an endpoint."""

    def __init__(self, text: str) -> None:
        self._samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]

    def __call__(self, name: str, **labels: str) -> float:
        """The sum of the samples of this name that carry these labels; 0 where there is none."""
        return sum(
            sample.value for sample in self._samples if sample.name == name and labels.items() <= sample.labels.items()
        )

    @property
    def names(self) -> set[str]:
        """The names of all samples."""
        return {sample.name for sample in self._samples}

    def labels(self, name: str, label: str) -> set[str]:
        """The values of a label."""
        return {sample.labels[label] for sample in self._samples if sample.name == name}


def scrape_now(port: int) -> Scrape:
    """Ask, and wait for the answer."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=60) as answer:
        return Scrape(answer.read().decode())


async def scrape(port: int) -> Scrape:
    """Ask beside what else goes on."""
    return await asyncio.to_thread(scrape_now, port)
