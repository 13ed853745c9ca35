"""The worker as a service of this machine: a LaunchAgent of launchd, or a user unit of systemd.

plan.py      what the service runs, and where its files lie
manager.py   the seam: what a service manager can do
choice.py    which one this machine has
launchd.py   … on macOS
systemd.py   … on Linux
state.py     whether it runs, since when, and how it ended last
programs.py  running launchctl, systemctl and ps
tail.py      the end of a log, and what is added to it
"""
