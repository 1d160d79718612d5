"""Processes that measure: one for each thing whose memory or time counts, several where they train together."""

import json
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Generator
from contextlib import contextmanager, redirect_stdout, suppress
from dataclasses import asdict
from types import TracebackType
from typing import IO, Any

import torch

from capsnet_dist.bench.options import Options
from capsnet_dist.errors import UserError

WORK = "from capsnet_dist.bench.worker import work; work()"


class Workers:
    """New processes that do one task after the other, until they are left: `with Workers(options) as workers:`.

    Args:
        options: What is measured.
        together: As many processes as train together, joined, instead of one.
    """

    def __init__(self, options: Options, *, together: bool = False) -> None:
        world = options.processes if together else 1
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        how: dict[str, Any] = {"mode": "w+", "encoding": "utf-8", "errors": "backslashreplace"}
        self._messages = [tempfile.TemporaryFile(**how) for _ in range(world)]  # noqa: SIM115  (__exit__ closes them)
        self._running = [_start(options, rank, world, port, file) for rank, file in enumerate(self._messages)]
        self._send(asdict(options))

    def __enter__(self) -> "Workers":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for process in self._running:
            if kind is not None:  # they may wait for one another
                process.kill()
            process.communicate()
        for file in self._messages:
            file.close()

    def ask(self, task: str, *arguments: Any) -> list[Any]:
        """What the processes find, by rank; `tasks.TASKS` says what they can be asked.

        Args:
            task: Name of the task.
            arguments: Plain data that it takes.

        Raises:
            UserError: a process failed.
        """
        self._send([task, arguments])
        found: list[Any] = []
        for process, messages in zip(self._running, self._messages, strict=True):
            assert process.stdout is not None
            if not (answer := process.stdout.readline()):
                messages.seek(0)
                last = (messages.read().strip().splitlines() or ["no message; was there enough memory?"])[-1]
                raise UserError(f"{task} {arguments} ended with exit code {process.wait()}: {last}")
            found.append(json.loads(answer))
        return found

    def _send(self, data: Any) -> None:
        for process in self._running:
            assert process.stdin is not None
            with suppress(BrokenPipeError):  # it has ended: it will not answer
                process.stdin.write(json.dumps(data) + "\n")
                process.stdin.flush()


def ask(options: Options, task: str, *arguments: Any, together: bool = False) -> list[Any]:
    """What new processes find that do nothing else.

    Raises:
        UserError: a process failed.
    """
    with Workers(options, together=together) as workers:
        return workers.ask(task, *arguments)


def _start(options: Options, rank: int, world: int, port: int, messages: IO[str]) -> "subprocess.Popen[str]":
    place = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": world, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    if options.threads:
        place |= {"OMP_NUM_THREADS": options.threads, "NUMBA_NUM_THREADS": options.threads}
    place |= {"CUDA_VISIBLE_DEVICES": ""} if options.where == "cpu" else {}
    environment = os.environ | {key: str(value) for key, value in place.items()}
    pipe = subprocess.PIPE
    return subprocess.Popen(
        [sys.executable, "-c", WORK], stdin=pipe, stdout=pipe, stderr=messages, text=True, env=environment
    )


def work() -> None:
    """What such a process does: read tasks from standard input, write what it finds to standard output."""
    options, answers = Options.from_dict(json.loads(sys.stdin.readline())), sys.stdout
    with redirect_stdout(sys.stderr), joined(options) as tasks:  # nothing else may come between the answers
        for line in sys.stdin:
            task, arguments = json.loads(line)
            answers.write(json.dumps(getattr(tasks, task)(*arguments)) + "\n")
            answers.flush()


@contextmanager
def joined(options: Options) -> Generator[Any]:
    """The tasks of this process, joined with the others if there are several."""
    from capsnet_dist.bench.tasks import Tasks

    world, device = int(os.environ["WORLD_SIZE"]), torch.device(options.where)
    if device.type == "cuda":
        device = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        torch.cuda.set_device(device)
    if options.threads:
        torch.set_num_threads(options.threads)
    if world > 1:
        torch.distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield Tasks(options, device)
    finally:
        if world > 1:
            torch.distributed.destroy_process_group()
