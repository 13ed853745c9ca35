"""What macOS' commands print, on samples of their real output; each names where it was published."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from windfall_worker.citizen.ioreg import parse_idle
from windfall_worker.citizen.notifyutil import parse_pressure
from windfall_worker.citizen.pmset import parse_batt, parse_therm
from windfall_worker.citizen.readings import Thermal

#: https://github.com/imwally/battstat/issues/2 (El Capitan: without ids)
DISCHARGING = "Now drawing from 'Battery Power'\n -InternalBattery-0 \t89%; discharging; 4:47 remaining present: true\n"
NO_ESTIMATE = "Now drawing from 'Battery Power'\n -InternalBattery-0 \t90%; discharging; (no estimate) present: true\n"
CHARGING = "Now drawing from 'AC Power'\n -InternalBattery-0 \t91%; charging; 0:25 remaining present: true\n"
#: https://github.com/dolmen/angel-PS1/pull/24 (High Sierra)
CHARGED = "Now drawing from 'AC Power'\n -InternalBattery-0 (id=4391011)\t100%; charged; 0:00 remaining present: true\n"
#: https://github.com/JanDeDobbeleer/oh-my-posh/issues/2139 (Big Sur, charge held at 80 %)
HELD = "Now drawing from 'AC Power'\n -InternalBattery-0 (id=5898339)\t80%; AC attached; not charging present: true\n"
#: https://github.com/tmux-plugins/tmux-battery/issues/3 (without "present")
LOOSE = "Now drawing from 'AC Power'\n -InternalBattery-0\t2%; AC attached; not charging\n"
#: The state is of https://github.com/tmux-plugins/tmux-battery/pull/115, which quotes Apple's pmset.m.
FINISHING = CHARGED.replace("100%; charged; 0:00 remaining", "99%; finishing charge; (no estimate)")
#: https://github.com/liquidprompt/liquidprompt/pull/317 (an iMac)
DESKTOP = "Now drawing from 'AC Power'\n"
#: The form is that of phpsysinfo/phpsysinfo, includes/ups/class.pmset.inc.php, which reads the model before "FW:".
UPS = "Now drawing from 'UPS Power'\n -Back-UPS ES 700 FW:871.O4 .I USB FW:O4 \t87%; discharging; 0:22 remaining\n"
UPS_IDLE = "Now drawing from 'AC Power'\n -Back-UPS ES 700 FW:871.O4 .I USB FW:O4 \t100%; charged; 0:00 remaining\n"
LAPTOP_ON_UPS = UPS_IDLE + " -InternalBattery-0 (id=4391011)\t12%; charging; 1:20 remaining present: true\n"


@pytest.mark.parametrize(
    ("text", "on_ac", "battery"),
    [
        (DISCHARGING, False, 0.89),
        (NO_ESTIMATE, False, 0.9),
        (CHARGING, True, 0.91),
        (CHARGED, True, 1.0),
        (HELD, True, 0.8),
        (LOOSE, True, 0.02),
        (FINISHING, True, 0.99),
        (DESKTOP, True, None),
        (UPS, False, 0.87),
        (UPS_IDLE, True, 1.0),
        (LAPTOP_ON_UPS, True, 0.12),
        (" -InternalBattery-0 (id=1)\t0%; (removed) present: false\n", None, None),
        ("", None, None),
        ("pmset: no such option", None, None),
    ],
)
def test_mains_power_and_battery_are_read_from_pmset(text: str, on_ac: object, battery: float | None) -> None:
    assert parse_batt(text) == (on_ac, battery)


#: https://github.com/prometheus/node_exporter/issues/2031 (Intel, cool)
COOL = """\
Note: No thermal warning level has been recorded
Note: No performance warning level has been recorded
2021-05-02 11:51:57 +0800 CPU Power notify
\tCPU_Scheduler_Limit \t= 100
\tCPU_Available_CPUs \t= 12
\tCPU_Speed_Limit \t= 100
"""
#: https://github.com/yujitach/MenuMeters/issues/158 (Intel, throttled)
THROTTLED = """\
2020-06-26 12:30:37 +0200 CPU Power notify
\tCPU_Scheduler_Limit \t= 40
\tCPU_Available_CPUs \t= 8
\tCPU_Speed_Limit \t= 28
"""
#: https://newbetuts.com/407192-where-does-the-pmset-cpu-speed-limit-variable-come-from-and-how-to-modify-it
SLOW = COOL.replace("CPU_Speed_Limit \t= 100", "CPU_Speed_Limit \t= 35")
#: https://github.com/exelban/stats/issues/749 (Apple Silicon: nothing but notes)
SILICON = """\
Note: No thermal warning level has been recorded
Note: No performance warning level has been recorded
Note: No CPU power status has been recorded
"""


@pytest.mark.parametrize(
    ("text", "heat"),
    [
        (COOL, Thermal.NOMINAL),
        (THROTTLED, Thermal.CRITICAL),
        (SLOW, Thermal.CRITICAL),
        (SILICON, Thermal.NOMINAL),
        ("CPU_Speed_Limit \t= 83\n", Thermal.FAIR),
        ("CPU_Speed_Limit \t= 72\n", Thermal.SERIOUS),
        ("CPU_Available_CPUs \t= 4\n", None),
        # apple-oss-distributions/PowerManagement, pmset/pmset.c prints these two lines; the levels are those of IOPM.h.
        ("Error: No thermal warning level with error code 0xe00002bc\n", None),
        ("2021-05-02 11:51:57 +0800 Thermal Warning Level = 0\n", Thermal.NOMINAL),
        ("Thermal Warning Level = 1\n", Thermal.FAIR),
        ("Thermal Warning Level = 5\n", Thermal.SERIOUS),
        ("Thermal Warning Level = 10\n", Thermal.CRITICAL),
        ("Thermal Warning Level = 100\n", Thermal.SERIOUS),
        ("Thermal Warning Level = 110\n", Thermal.CRITICAL),
        ("Thermal Warning Level = 255\n", None),
        ("", None),
    ],
)
def test_the_heat_is_read_from_pmset(text: str, heat: Thermal | None) -> None:
    assert parse_therm(text) is heat


# angristan/MacThrottle, MacThrottle/Services/ThermalPressureReader.swift, has the same five levels.
@pytest.mark.parametrize(
    ("level", "heat"),
    [
        (0, Thermal.NOMINAL),
        (1, Thermal.FAIR),
        (2, Thermal.SERIOUS),
        (3, Thermal.CRITICAL),
        (4, Thermal.CRITICAL),
        (5, None),
    ],
)
def test_the_heat_of_apple_silicon_is_read_from_notifyutil(level: int, heat: Thermal | None) -> None:
    assert parse_pressure(f"com.apple.system.thermalpressurelevel {level}\n") is heat
    assert parse_pressure("notifyutil: command not found\n") is None


#: The form is that of https://github.com/pirj/noclamshell/issues/16, an `ioreg -r` of another device; the key and its
#: unit are of https://www.dssw.co.uk/blog/2015-01-21-inactivity-and-idle-time/.
IDLE = """\
+-o IOHIDSystem  <class IOHIDSystem, id 0x100000275, registered, matched, active, busy 0 (0 ms), retain 28>
    {
      "IOClass" = "IOHIDSystem"
      "HIDIdleTime" = 68130403958
      "IOProviderClass" = "IOResources"
    }

"""


@pytest.mark.parametrize(
    ("text", "seconds"),
    [(IDLE, 68.130403958), (IDLE.replace(" = ", "="), 68.130403958), ("+-o Root  <class IORegistryEntry>\n", None)],
)
def test_the_idle_time_is_read_from_ioreg_in_nanoseconds(text: str, seconds: float | None) -> None:
    assert parse_idle(text) == seconds


@given(st.text())
def test_no_output_makes_a_parser_fail(text: str) -> None:
    for parse in (parse_batt, parse_therm, parse_pressure, parse_idle):
        parse(text)
