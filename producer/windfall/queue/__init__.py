"""What a `Producer` does with the queue: submitting, reading, downloading, pausing, steering, housekeeping."""
