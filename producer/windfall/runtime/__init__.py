"""What a program runs on: tasks that end when told to, a clock that goes on through sleep, and what is installed."""
