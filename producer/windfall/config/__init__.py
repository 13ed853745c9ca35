"""External configuration: settings files, environment files, private files, durations."""
