"""The process that talks to Ray: tasks in, parts out, and in the end a reason where the cluster cannot go on."""

from __future__ import annotations

import logging
import signal
import socket
import time
from collections import deque
from multiprocessing.connection import Connection
from typing import Any, NoReturn

import ray

from mmg_batch.child import open_link
from mmg_batch.ray_work import work
from mmg_batch.recording import as_words
from mmg_batch.runner import failed_part
from mmg_batch.task import Failure, Part, Task

EXIT_CODE = 3
RETRIES = 3
"""How often a task is given to another worker where a node or a worker of Ray was lost."""
AHEAD = 2
"""Tasks that wait at the cluster for each of its processors."""
LOOK_S = 1.0
ALONE_S = 60.0
"""So long a cluster may have no processor at all."""
KNOCK_S = 5.0


def main(descriptor: int) -> None:
    """The process: one message in, an answer a task out."""
    link = open_link(descriptor)
    signal.signal(signal.SIGTERM, _end)
    address, setup, names, bundles, tasks = link.recv()
    try:
        _knock(address)
        options: dict[str, Any] = {"include_dashboard": False} if address == "local" else {}
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR, **options)
    except Exception as error:
        link.send(Failure(f"the Ray cluster {address} cannot be reached: {as_words(error)}", EXIT_CODE))
        return
    try:
        _run(link, ray.put((setup, names, bundles)), names, tasks)
    except SystemExit:
        raise
    except Exception as error:
        link.send(Failure(f"the Ray cluster {address} failed: {as_words(error)}", EXIT_CODE))
    finally:
        ray.shutdown()


def _run(link: Connection[Any, Any], shared: Any, names: dict[str, str], tasks: list[Task]) -> None:
    remote = ray.remote(num_cpus=1, max_retries=RETRIES)(work)
    waiting = deque(enumerate(tasks))
    active: dict[Any, tuple[int, Task]] = {}
    seen_s = time.monotonic()
    while waiting or active:
        while waiting and len(active) < max(AHEAD * _processors(), 1):
            number, task = waiting.popleft()
            active[remote.remote(shared, task)] = number, task
        ready, _ = ray.wait(list(active), num_returns=1, timeout=LOOK_S)
        if ready or _processors():
            seen_s = time.monotonic()
        elif time.monotonic() - seen_s > ALONE_S:
            raise TimeoutError(f"it has had no processor for {ALONE_S:g} s")
        for one in ready:
            number, task = active.pop(one)
            answer = _result(one, task, names)
            link.send(answer if isinstance(answer, Failure) else (number, answer))


def _result(reference: Any, task: Task, names: dict[str, str]) -> list[Part] | Failure:
    """The task's parts, also where the cluster lost it again and again."""
    try:
        result: list[Part] | Failure = ray.get(reference)
        return result
    except ray.exceptions.RayTaskError as error:
        return Failure(f"a node of the Ray cluster cannot decide: {as_words(error.cause or error)}", EXIT_CODE)
    except ray.exceptions.RayError as error:
        why = f"the cluster lost it {RETRIES + 1} times: {as_words(error)}"
        return [failed_part(task, key, digest, names[digest], why) for digest, key in task.keys.items()]


def _processors() -> int:
    resources: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
    return int(resources.get("CPU", 0))


def _knock(address: str) -> None:
    """Ray itself tries an address at which nobody is for most of a minute. Raises OSError."""
    host, colon, port = address.rpartition("://")[2].rpartition(":")
    if colon and port.isdigit():
        socket.create_connection((host, int(port)), KNOCK_S).close()


def _end(_number: int, _frame: object) -> NoReturn:
    raise SystemExit
