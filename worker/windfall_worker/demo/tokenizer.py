"""The demo model's tokenizer and chat template: one token per byte, and ChatML.

With bytes every text can be encoded, and the model sees the letters that its tasks are about. A role with its newline
is one token, which shortens a short prompt by a third. The byte alphabet is GPT-2's (github.com/openai/gpt-2,
`src/encoder.py`), which is what mlx-lm's fast streaming detokenizer reads. Needs the `tokenizers` package.
"""

import json
from pathlib import Path
from typing import Final

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

SPECIAL: Final = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
MARKUP: Final = ("<think>", "</think>", "<tool_call>", "</tool_call>", "system\n", "user\n", "assistant\n", "tool\n")

VOCABULARY_SIZE: Final = 256 + len(SPECIAL) + len(MARKUP)
PAD_ID: Final = 256
END_ID: Final = 258

# Based on Qwen3's template (Qwen/Qwen3-0.6B), but shorter: a tool is shown as `name(parameters)`, and thinking is off
# unless requested. mlx-lm recognises Qwen's tool calls by the words `<tool_call>` and `tool_call.name`.
CHAT_TEMPLATE: Final = r"""
{%- macro text(content) -%}
  {%- if content is string -%}{{ content }}
  {%- elif content -%}{%- for part in content -%}{{ part.text }}{%- endfor -%}
  {%- endif -%}
{%- endmacro -%}
{%- set rest = messages -%}
{%- if tools or (messages and messages[0].role == 'system') -%}
  {{- '<|im_start|>system\n' -}}
  {%- if messages[0].role == 'system' -%}
    {%- set rest = messages[1:] -%}
    {{- text(messages[0].content) -}}
    {%- if tools -%}{{- '\n' -}}{%- endif -%}
  {%- endif -%}
  {%- if tools -%}
    {{- 'Tools:' -}}
    {%- for tool in tools -%}
      {%- set function = tool.function or tool -%}
      {{- ' ' + function.name + '(' + ((function.parameters or {}).properties or {}) | list | join(', ') + ')' -}}
    {%- endfor -%}
  {%- endif -%}
  {{- '<|im_end|>\n' -}}
{%- endif -%}
{%- for message in rest -%}
  {{- '<|im_start|>' + message.role + '\n' -}}
  {%- if message.role == 'assistant' -%}
    {{- text(message.content).split('</think>')[-1].lstrip('\n') -}}
    {%- for call in message.tool_calls or [] -%}
      {%- set tool_call = call.function or call -%}
      {{- '<tool_call>\n{"name": "' + tool_call.name + '", "arguments": ' -}}
      {%- if tool_call.arguments is string -%}{{- tool_call.arguments -}}
      {%- else -%}{{- tool_call.arguments | tojson -}}{%- endif -%}
      {{- '}\n</tool_call>' -}}
    {%- endfor -%}
  {%- else -%}
    {{- text(message.content) -}}
  {%- endif -%}
  {{- '<|im_end|>\n' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}
  {{- '<|im_start|>assistant\n' -}}
  {%- if not enable_thinking -%}{{- '<think>\n\n</think>\n\n' -}}{%- endif -%}
{%- endif -%}
""".strip()


def build() -> Tokenizer:
    """The tokenizer; its ids are the byte values, then `SPECIAL`, then `MARKUP`."""
    tokenizer = Tokenizer(models.BPE(vocab=_byte_alphabet(), merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(token, normalized=False, special=True) for token in SPECIAL])
    tokenizer.add_tokens([AddedToken(token, normalized=False) for token in MARKUP])
    return tokenizer


def save(folder: Path, context: int) -> None:
    """Write tokenizer.json, tokenizer_config.json and chat_template.jinja; `context` is in tokens."""
    build().save(str(folder / "tokenizer.json"))
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "eos_token": SPECIAL[2],
        "pad_token": SPECIAL[0],
        "clean_up_tokenization_spaces": False,
        "model_max_length": context,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=2) + "\n")
    (folder / "chat_template.jinja").write_text(CHAT_TEMPLATE)


def _byte_alphabet() -> dict[str, int]:
    """GPT-2's printable stand-in for each byte: itself if printable, else the next character from U+0100 on."""
    printable = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    stand_ins = iter(range(0x100, 0x200))
    return {chr(byte if byte in printable else next(stand_ins)): byte for byte in range(256)}
