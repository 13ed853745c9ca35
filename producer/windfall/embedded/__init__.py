"""The embedded broker: a redis-server as a child of this process, which no other user can connect to."""
