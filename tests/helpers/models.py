"""A small random model for tests of the engine: real weights, a real tokenizer, nothing learned.

Qwen3's architecture with a byte-level tokenizer, ChatML, reasoning and tool calls. Its answers are noise, but noise
that depends on every token of the prompt, which is what tests of a batch need.
"""

from __future__ import annotations

import json
from pathlib import Path

TEMPLATE = """
{%- for message in messages -%}
{%- if 'refuse this' in message.content -%}{{ raise_exception('not these words') }}{%- endif -%}
<|im_start|>{{ message.role }}
{{ message.content }}
{%- for call in message.tool_calls or [] -%}
<tool_call>
{"name": "{{ call.function.name }}", "arguments": {{ call.function.arguments | tojson }}}
</tool_call>
{#- mlx-lm chooses its parser by the words "tool_call.name" in a template -#}
{%- endfor -%}
<|im_end|>
{% endfor -%}
{%- if tools -%}<|im_start|>tools
{{ tools | tojson }}<|im_end|>
{% endif -%}
{%- if add_generation_prompt -%}<|im_start|>assistant
{% if think_first is defined and think_first %}<think>
{% endif -%}
{%- endif -%}
"""

SPECIAL = ["<|im_end|>", "<|im_start|>", "<think>", "</think>", "<tool_call>", "</tool_call>"]
#: Tokens of more than one byte, so that a stop string can begin inside one.
MERGED = ["ab", "cd", "the", '{"name": "add", "arguments": {"a": 1}}']
EOS = 256 + len(MERGED)


def token_id(text: str) -> int:
    """The id of a byte (one character), a special token or a merged one."""
    if text in SPECIAL:
        return EOS + SPECIAL.index(text)
    if text in MERGED:
        return 256 + MERGED.index(text)
    return text.encode()[0]


def build_model(folder: Path, *, context: int = 2048, layers: int = 2, width: int = 64, seed: int = 7) -> Path:
    """Write a model into the folder, and return it."""
    import mlx.core as mx  # noqa: PLC0415 - the worker's side of the tests runs without MLX
    from mlx.utils import tree_flatten  # noqa: PLC0415
    from mlx_lm.models.qwen3 import Model, ModelArgs  # noqa: PLC0415

    folder.mkdir(parents=True, exist_ok=True)
    config = {
        "model_type": "qwen3",
        "hidden_size": width,
        "num_hidden_layers": layers,
        "intermediate_size": 2 * width,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": width // 4,
        "rms_norm_eps": 1e-6,
        "vocab_size": EOS + len(SPECIAL),
        "max_position_embeddings": context,
        "rope_theta": 10000.0,
        "tie_word_embeddings": False,
        "eos_token_id": EOS,
    }
    mx.random.seed(seed)
    model = Model(ModelArgs.from_dict(config))  # type: ignore[no-untyped-call]
    # Larger than the usual start, so that the answers differ and no two logits are near each other.
    model.apply(lambda value: mx.random.normal(value.shape) * 0.3 if value.ndim > 1 else value)
    mx.save_safetensors(str(folder / "model.safetensors"), dict(tree_flatten(model.parameters())))
    (folder / "config.json").write_text(json.dumps(config))
    _write_tokenizer(folder)
    return folder


def _write_tokenizer(folder: Path) -> None:
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers  # noqa: PLC0415

    alphabet = _bytes_to_unicode()
    vocab = {alphabet[byte]: byte for byte in range(256)}
    # No text is ever encoded to the merged tokens, for there are no merges; a model may still write them.
    vocab |= {"".join(alphabet[byte] for byte in text.encode()): token_id(text) for text in MERGED}
    tokenizer = Tokenizer(models.BPE(vocab=vocab, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(text, special=True, normalized=False) for text in SPECIAL])
    tokenizer.save(str(folder / "tokenizer.json"))
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "eos_token": SPECIAL[0],
        "chat_template": TEMPLATE,
        "clean_up_tokenization_spaces": False,
        "model_max_length": 1_000_000,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))


def _bytes_to_unicode() -> dict[int, str]:
    """GPT-2's table: each byte as a visible character."""
    visible = [*range(33, 127), *range(161, 173), *range(174, 256)]
    hidden = [byte for byte in range(256) if byte not in visible]
    return {byte: chr(byte) for byte in visible} | {byte: chr(256 + n) for n, byte in enumerate(hidden)}
