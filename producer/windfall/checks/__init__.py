"""What `windfall doctor` looks at: one file for each thing that may be ill.

finding.py   what was found, and how it is mended
server.py    Redis
files.py     the files with settings and keys
serving.py   what a worker here would serve: its models, its memory, its keys
machine.py   this machine: what is installed, its service, its ports
"""
