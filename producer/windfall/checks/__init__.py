"""The checks of `windfall doctor`, one file for each area.

finding.py   what was found, and how to fix it
server.py    Redis
holes.py     known vulnerabilities of Redis and Valkey
files.py     the files with settings and keys
serving.py   what a worker on this machine would serve: its models, its memory, its keys
machine.py   this machine: what is installed, its service, its ports
"""
