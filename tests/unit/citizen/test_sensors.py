"""The sensors of this machine and of a pretended one."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from helpers.waiting import eventually
from windfall.runtime.tasks import cancel_all
from windfall_worker.citizen.linux import LinuxSensors
from windfall_worker.citizen.machine import this_machine
from windfall_worker.citizen.macos import MacSensors, output_of
from windfall_worker.citizen.readings import Readings, Thermal


@pytest.fixture
def mac(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A PATH on which a Mac's commands may be put."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}/usr/bin{os.pathsep}/bin")
    return folder


def command(folder: Path, name: str, script: str) -> None:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


async def test_this_machine_can_be_read_whatever_it_is() -> None:
    readings = await this_machine().sensors.read()
    assert readings.battery is None or 0 <= readings.battery <= 1


async def test_a_mac_is_read_through_its_commands(mac: Path) -> None:
    batt = "Now drawing from 'Battery Power'\\n -InternalBattery-0 (id=1)\\t89%%; discharging; 4:47 remaining"
    command(
        mac,
        "pmset",
        f"""[ "$2" = batt ] && printf "{batt}" || echo 'Note: No thermal warning level has been recorded'""",
    )
    command(mac, "notifyutil", 'echo "$2 2"')
    command(mac, "ioreg", "echo '  \"HIDIdleTime\" = 12000000000'")
    assert await MacSensors().read() == Readings(on_ac=False, battery=0.89, thermal=Thermal.SERIOUS, idle_seconds=12.0)


@pytest.mark.parametrize(
    ("wanted", "asked"),
    [
        ({"on_ac"}, {"pmset -g batt"}),
        ({"thermal"}, {"pmset -g therm", "notifyutil"}),
        ({"battery", "idle_seconds"}, {"pmset -g batt", "ioreg"}),
    ],
)
async def test_a_mac_is_asked_for_what_is_wanted_and_for_nothing_else(
    mac: Path, tmp_path: Path, wanted: set[str], asked: set[str]
) -> None:
    command(mac, "pmset", f'echo "pmset $*" >>{tmp_path}/asked')
    for name in ("notifyutil", "ioreg"):
        command(mac, name, f"echo {name} >>{tmp_path}/asked")
    await MacSensors().read(frozenset(wanted))
    assert set((tmp_path / "asked").read_text().splitlines()) == asked


async def test_what_a_mac_does_not_tell_is_unknown(mac: Path) -> None:
    for name in ("pmset", "notifyutil", "ioreg"):
        command(mac, name, "echo nonsense; exit 1")
    assert await MacSensors().read() == Readings()


async def test_a_command_that_hangs_is_ended_and_one_that_is_missing_says_nothing(mac: Path) -> None:
    command(mac, "pmset", f"echo $$ >{mac}/new; mv {mac}/new {mac}/pid; exec sleep 600")
    hanging = asyncio.create_task(output_of("pmset", limit=60))

    async def hangs() -> bool:
        return (mac / "pid").exists()

    await eventually(hangs)
    await cancel_all([hanging])
    with pytest.raises(ProcessLookupError):
        os.kill(int((mac / "pid").read_text()), 0)
    assert await output_of("pmset", limit=0.1) == ""
    assert await output_of("no-such-command") == ""


def supply(root: Path, name: str, **facts: str) -> None:
    folder = root / name
    folder.mkdir()
    for fact, value in facts.items():
        (folder / fact).write_text(f"{value}\n")


async def test_a_linux_laptop_is_read_through_its_power_supplies(tmp_path: Path) -> None:
    supply(tmp_path, "AC", type="Mains", online="0")
    supply(tmp_path, "BAT0", type="Battery", capacity="35", status="Discharging")
    supply(tmp_path, "hidpp_battery_0", type="Battery", scope="Device", capacity="5")
    assert await LinuxSensors(tmp_path).read() == Readings(on_ac=False, battery=0.35)
    (tmp_path / "AC" / "online").write_text("1\n")
    assert (await LinuxSensors(tmp_path).read()).on_ac


async def test_a_linux_server_tells_nothing(tmp_path: Path) -> None:
    assert await LinuxSensors(tmp_path).read() == Readings()
    assert await LinuxSensors(tmp_path / "none").read() == Readings()
