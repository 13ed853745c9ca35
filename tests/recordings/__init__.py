"""Answers of real providers, rewritten: each is small, invented, and has the shape that the provider's own has.

`play.py` says what a recording holds; the other files have the recordings of one protocol or kind.
"""

from recordings.anthropic import ANTHROPIC
from recordings.compatible import COMPATIBLE
from recordings.openai import OPENAI
from recordings.play import Recording
from recordings.refusals import REFUSALS

__all__ = ["ALL", "Recording"]

ALL: tuple[Recording, ...] = (*OPENAI, *ANTHROPIC, *COMPATIBLE, *REFUSALS)
