"""Continuous batching with MLX in a process of its own.

    settings.py     the engine's settings, as one value object
    model_files.py  a model reference -> a folder that can be loaded, or one sentence why not
    protocol.py     the frames between the worker and the engine's process
    link.py         one engine process as the worker sees it: its pipe, the calls it holds, how it ended
    process.py      the supervisor: start, watchdog, restart
    child.py        the entry point of the engine's process
    intake.py       a submitted request -> a sequence, on a thread of its own
    chat.py         messages and tools -> the prompt's text
    sequence.py     the state of one completion
    scheduler.py    which sequence starts when: slots, memory, shared prefixes (pure)
    staging.py      which prompts are computed together: those of similar length (pure)
    sampling.py     logits -> tokens, for the whole batch at once
    prefix.py       the cache of computed prefixes
    logprobs.py     log-probabilities, for the sequences that ask for them
    text.py         tokens -> text, reasoning, tool calls; stop strings
    runner.py       the loop around mlx-lm's BatchGenerator

The worker's side (settings, model_files, protocol, link, process) never imports MLX: a crash in Metal must end the
engine's process and nothing else.
"""
