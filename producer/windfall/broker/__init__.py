"""Reaching Redis: connections, Sentinel, its clock and its announcements."""
