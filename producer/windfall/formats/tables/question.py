"""What is asked about each row of a table."""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError

from windfall.errors import InvalidRequest
from windfall.explain import explain, vocabulary
from windfall.formats.tables.answer_columns import AnswerColumns
from windfall.formats.tables.table import Record
from windfall.formats.tables.template import Template
from windfall.request import CompletionRequest

_WORDS = vocabulary(CompletionRequest)


@dataclass(frozen=True, slots=True)
class Question:
    """The prompt, the system prompt and the sampling of every row's request; `answer` says what is to come back.

    `body` has the other fields of each request, such as the model.
    """

    prompt: Template
    answer: AnswerColumns
    system: Template | None = None
    body: dict[str, Any] = field(default_factory=dict)

    def check(self, columns: Collection[str]) -> None:
        """Raise `InvalidRequest` if it needs a column that is not among these, or an answer would replace one."""
        for template in (self.prompt, self.system):
            if template is not None:
                template.check(columns)
        for name in self.answer.names:
            if name in columns:
                raise InvalidRequest(f"the table already has a column {name!r}; name another with --column")

    def request(self, record: Record, custom_id: str) -> CompletionRequest:
        """The request for a row. Raises `InvalidRequest` if the row does not make one."""
        messages = [{"role": "user", "content": self.prompt.render(record) + self._wanted()}]
        if self.system is not None:
            messages.insert(0, {"role": "system", "content": self.system.render(record)})
        body = self.body | {"messages": messages, "custom_id": custom_id}
        try:
            return CompletionRequest.model_validate(body)
        except ValidationError as exc:
            raise explain(exc, body, _WORDS, "") from None

    def _wanted(self) -> str:
        """The sentence that tells the model what may come back, unless the prompt has all of it."""
        if self.answer.schema is not None:
            schema = json.dumps(self.answer.schema, ensure_ascii=False, separators=(",", ":"))
            return f"\n\nAnswer with one JSON object that matches this JSON Schema, and with nothing else: {schema}"
        said = f"{self.prompt.text} {self.system.text if self.system else ''}".casefold()
        if all(choice.casefold() in said for choice in self.answer.choices):
            return ""
        return f"\n\nAnswer with one of these, and with nothing else: {', '.join(self.answer.choices)}"
