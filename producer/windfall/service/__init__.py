"""The worker as a service: a launchd LaunchAgent, or a systemd user unit.

plan.py      what the service runs, and where its files are
manager.py   the interface of a service manager
choice.py    which one this machine has
launchd.py   … on macOS
systemd.py   … on Linux
state.py     whether it is running, since when, and how it last ended
programs.py  running launchctl, systemctl and ps
tail.py      showing the end of a log, and following it
"""
