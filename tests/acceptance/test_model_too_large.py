"""A model that is larger than the machine."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from acceptance.commands import Shell, named_rows
from windfall_worker.demo import MODEL_PATH

_SIZE = 2 * 10**12  # bytes


def test_it_is_told_with_both_sizes_before_anything_is_loaded(tmp_path: Path) -> None:
    folder = tmp_path / "huge"
    shutil.copytree(MODEL_PATH, folder)
    header = json.dumps({"w": {"dtype": "U32", "shape": [_SIZE // 4], "data_offsets": [0, _SIZE]}}).encode()
    with (folder / "model.safetensors").open("wb") as file:
        file.write(len(header).to_bytes(8, "little") + header)
        file.truncate(8 + len(header) + _SIZE)  # a hole, which takes no disk
    shell = Shell(tmp_path)
    shell.write("in.jsonl", named_rows(1))
    done = shell("run", "in.jsonl", "-o", "out.jsonl", "--model", "huge")
    assert done.code == 1
    assert "huge needs about 1,863 GiB, this machine gives MLX " in done.err
    assert "pick a smaller model" in done.err
