"""A broker of one's own: a redis-server as a child of this process, which nobody else can open."""
