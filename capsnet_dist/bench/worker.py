"""Processes that measure: one for each thing whose memory counts, several where they train together."""

import json
import os
import socket
import subprocess
import sys
from dataclasses import asdict
from typing import Any

import torch

from capsnet_dist.bench.options import Options
from capsnet_dist.errors import UserError

WORK = "from capsnet_dist.bench.worker import work; work()"


def ask(options: Options, task: str, *arguments: Any, together: bool = False) -> list[Any]:
    """What new processes find, by rank; `tasks.TASKS` says what they can be asked.

    Args:
        options: What is measured.
        task: Name of the task.
        arguments: Plain data that it takes.
        together: As many processes as train together, joined, instead of one.

    Raises:
        UserError: a process failed.
    """
    job = json.dumps({"options": asdict(options), "task": task, "arguments": arguments})
    world = options.processes if together else 1
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    running = [_start(options, rank, world, port) for rank in range(world)]
    for process in running:
        assert process.stdin is not None
        process.stdin.write(job)
        process.stdin.close()
        process.stdin = None
    written = [process.communicate() for process in running]
    for process, (_, messages) in zip(running, written, strict=True):
        if process.returncode:
            last = (messages.strip().splitlines() or ["no message; was there enough memory?"])[-1]
            raise UserError(f"{task} {arguments} ended with exit code {process.returncode}: {last}")
    return [json.loads(result.splitlines()[-1]) for result, _ in written]


def _start(options: Options, rank: int, world: int, port: int) -> "subprocess.Popen[str]":
    place = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": world, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    if options.threads:
        place |= {"OMP_NUM_THREADS": options.threads, "NUMBA_NUM_THREADS": options.threads}
    place |= {"CUDA_VISIBLE_DEVICES": ""} if options.where == "cpu" else {}
    environment = os.environ | {key: str(value) for key, value in place.items()}
    pipe = subprocess.PIPE
    return subprocess.Popen(
        [sys.executable, "-c", WORK], stdin=pipe, stdout=pipe, stderr=pipe, text=True, env=environment
    )


def work() -> None:
    """What such a process does: read a job from standard input, write what it finds to standard output."""
    job = json.loads(sys.stdin.read())
    found = perform(Options.from_dict(job["options"]), job["task"], job["arguments"])
    sys.stdout.write("\n" + json.dumps(found) + "\n")


def perform(options: Options, task: str, arguments: list[Any]) -> Any:
    """Do a task in this process, joined with the others if there are several."""
    from capsnet_dist.bench.tasks import TASKS

    world, device = int(os.environ["WORLD_SIZE"]), torch.device(options.where)
    if device.type == "cuda":
        device = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        torch.cuda.set_device(device)
    if options.threads:
        torch.set_num_threads(options.threads)
    if world > 1:
        torch.distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        return TASKS[task](options, device, *arguments)
    finally:
        if world > 1:
            torch.distributed.destroy_process_group()
