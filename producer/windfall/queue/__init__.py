"""What a `Producer` does with the queue: submit, read, download, pause, steer, keep house."""
