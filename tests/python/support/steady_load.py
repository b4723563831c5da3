"""Requests at a constant rate, each checked and timed, while a test does something else."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import httpx


@dataclass
class Load:
    """What was asked and how it went; to be read when the load has ended."""

    requests: int = 0
    longest_s: float = 0.0
    """Since the start, or since it was set to 0."""
    failures: list[str] = field(default_factory=list)


@contextmanager
def steady_load(
    url: str, per_second: int, threads: int, ask: Callable[[httpx.Client, int], str | None]
) -> Iterator[Load]:
    """Sends requests until the block ends; `ask` sends the nth and returns the error, if any.

    Each thread keeps its connection, and sends late requests after a slow response.
    """
    load = Load()
    lock = threading.Lock()
    ending = threading.Event()

    def work(thread: int) -> None:
        interval_s = threads / per_second
        due = time.monotonic() + interval_s * thread / threads
        number = thread
        with httpx.Client(base_url=url, timeout=30, trust_env=False) as client:
            while not ending.wait(max(0.0, due - time.monotonic())):
                began = time.monotonic()
                try:
                    problem = ask(client, number)
                except httpx.HTTPError as error:
                    problem = repr(error)
                took_s = time.monotonic() - began
                with lock:
                    load.requests += 1
                    load.longest_s = max(load.longest_s, took_s)
                    if problem is not None:
                        load.failures.append(problem)
                due += interval_s
                number += threads

    workers = [threading.Thread(target=work, args=(each,)) for each in range(threads)]
    for worker in workers:
        worker.start()
    try:
        yield load
    finally:
        ending.set()
        for worker in workers:
            worker.join()
