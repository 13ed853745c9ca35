"""Reaching Redis: connections, Sentinel, its clock, its announcements, and a broker of one's own."""
