"""What is set outside of the program: settings files, environment files, private files, durations."""
