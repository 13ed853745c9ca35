"""`systemctl` and `launchctl` as far as Windfall uses them: they really start, restart and stop what a unit names.

They do as the real ones do where that matters: `systemctl disable --now` returns when the process has ended,
`launchctl bootout` before that and with 36, and until it has ended the label stays known.
"""

from __future__ import annotations

import fcntl
import json
import os
import plistlib
import shlex
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

_RESTART = 0.2  # seconds
_IN_PROGRESS, _DOES_NOT_KNOW = 36, 113  # what launchctl ends with


def put_on_path(program: str, folder: Path) -> Path:
    """A folder with this program, and `ps`, which is to be all of PATH."""
    folder.mkdir()
    script = folder / program
    words = [sys.executable, __file__, program, str(folder)]
    script.write_text(f"#!{sys.executable}\nimport os, sys\nos.execv({words[0]!r}, {words!r} + sys.argv[1:])\n")
    script.chmod(0o755)
    ps = shutil.which("ps")
    assert ps
    (folder / "ps").symlink_to(ps)
    return folder


class Record:
    """What is known of the one service, in a file beside the program."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "service.json"

    def read(self) -> dict[str, Any]:
        """Empty where nothing is loaded."""
        try:
            found: dict[str, Any] = json.loads(self.path.read_text())
        except FileNotFoundError:
            return {}
        return found

    def write(self, **facts: Any) -> None:
        """At once, so that nobody reads half of it."""
        part = self.path.with_name(f"{os.getpid()}.part")
        part.write_text(json.dumps(facts))
        part.replace(self.path)

    def update(self, **changes: Any) -> dict[str, Any]:
        """Change what is loaded, while nobody else does; empty where nothing is."""
        with self.path.with_name("service.lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            facts = self.read()
            if facts:
                facts |= changes
                self.write(**facts)
            return facts


def start(record: Record, argv: list[str]) -> None:
    """In a process of its own that outlives this one, as a service manager does."""
    record.write(command=argv, pid=None, code=None, stopping=False)
    command = [sys.executable, __file__, "supervise", str(record.path.parent)]
    nothing = subprocess.DEVNULL
    subprocess.Popen(command, start_new_session=True, stdin=nothing, stdout=nothing, stderr=nothing)


def supervise(record: Record) -> None:
    """Run it, and again when it fails, until it is stopped or ends well."""
    while not record.read().get("stopping", True):
        child = subprocess.Popen(record.read()["command"], stderr=subprocess.DEVNULL)
        if record.update(pid=child.pid).get("stopping", True):
            child.send_signal(signal.SIGTERM)  # who stopped it did not know of this one
        code = child.wait()
        record.update(pid=None, code=code)
        if code == 0:
            return
        time.sleep(_RESTART)


def stop(record: Record) -> bool:
    """SIGTERM. Whether something was there to end."""
    pid = record.update(stopping=True).get("pid")
    with suppress(ProcessLookupError):
        if pid:
            os.kill(pid, signal.SIGTERM)
    return bool(pid)


def systemctl(record: Record, words: list[str]) -> int:
    """`daemon-reload`, `enable --now`, `disable --now` and `show`."""
    unit_folder = Path(os.environ["XDG_CONFIG_HOME"]) / "systemd" / "user"
    match words:
        case ["--user", "daemon-reload"]:
            if not list(unit_folder.glob("*.service")):
                record.path.unlink(missing_ok=True)
        case ["--user", "enable", "--now", unit]:
            lines = (unit_folder / unit).read_text().splitlines()
            (command,) = (line.removeprefix("ExecStart=") for line in lines if line.startswith("ExecStart="))
            start(record, shlex.split(command))
        case ["--user", "disable", "--now", _]:
            stop(record)
            while record.read().get("pid"):
                time.sleep(0.05)
        case ["--user", "show", unit, "--property=LoadState,MainPID,ExecMainCode,ExecMainStatus"]:
            facts, loaded = record.read(), (unit_folder / unit).exists()
            code = facts.get("code")
            kind = 0 if code is None else 1 if code >= 0 else 2
            sys.stdout.write(f"LoadState={'loaded' if loaded else 'not-found'}\nMainPID={facts.get('pid') or 0}\n")
            sys.stdout.write(f"ExecMainCode={kind}\nExecMainStatus={abs(code or 0)}\n")
        case _:
            sys.stderr.write(f"systemctl: not known here: {words}\n")
            return 1
    return 0


def launchctl(record: Record, words: list[str]) -> int:
    """`bootstrap`, `bootout` and `print`."""
    domain = f"gui/{os.getuid()}"
    facts = record.read()
    if facts.get("stopping") and not facts["pid"]:
        record.path.unlink()
        facts = {}
    match words:
        case ["bootstrap", found, path] if found == domain and not facts:
            start(record, plistlib.loads(Path(path).read_bytes())["ProgramArguments"])
        case ["bootstrap", *_]:
            sys.stderr.write("Bootstrap failed: 5: Input/output error\n")
            return 5
        case ["bootout", _] if facts:
            if stop(record):
                sys.stderr.write("Boot-out failed: 36: Operation now in progress\n")
                return _IN_PROGRESS
        case ["print", target] if facts:
            code = facts["code"]
            sys.stdout.write(f"{target} = {{\n\tstate = {'running' if facts['pid'] else 'not running'}\n")
            sys.stdout.write(f"\tpid = {facts['pid']}\n" if facts["pid"] else "")
            ended = "last exit code = (never exited)" if code is None else f"last exit code = {code}"
            sys.stdout.write(f"\t{ended}\n\tendpoints = {{\n\t\tpid = 1\n\t}}\n}}\n")
        case _:
            sys.stderr.write("Could not find service in domain for user gui\n")
            return _DOES_NOT_KNOW
    return 0


if __name__ == "__main__":
    name, at, *arguments = sys.argv[1:]
    if name == "supervise":
        supervise(Record(Path(at)))
    else:
        sys.exit({"systemctl": systemctl, "launchctl": launchctl}[name](Record(Path(at)), arguments))
