"""What the launcher and its variables ask for: what of it a run does, what it ignores and says so, what it refuses."""

import itertools
import os
import sys
from argparse import ArgumentParser, Namespace
from pathlib import Path

import psutil
import torch
from accelerate.commands.config import config_args
from accelerate.utils import is_torch_xla_available, str_to_bool

from capsnet_dist.errors import UserError
from capsnet_dist.world import WORLD_SIZE, number

LAUNCHERS = {"accelerate", "accelerate-launch", "accelerate.commands.launch", "accelerate.commands.accelerate_cli"}
PRECISIONS = ("no", "fp16", "bf16")
FLAGS = ("ACCELERATE_USE_CPU", "ACCELERATE_DEBUG_MODE", "ACCELERATE_CPU_AFFINITY", "FORK_LAUNCHED")
SHARDING = {
    "ACCELERATE_USE_FSDP": ("FSDP", "--use_fsdp"),
    "ACCELERATE_USE_DEEPSPEED": ("DeepSpeed", "--use_deepspeed"),
    "ACCELERATE_USE_MEGATRON_LM": ("Megatron-LM", "--use_megatron_lm"),
    "ACCELERATE_USE_PARALLELISM_CONFIG": ("tensor, context or sequence parallelism", "--use_parallelism_config"),
}
HIDDEN = ("", "-1", "NoDevFiles")
"""Values of CUDA_VISIBLE_DEVICES that hide the GPUs on purpose."""


def refuse_what_cannot_be_done() -> None:
    """Refuse, before Accelerate does it at length, what a run does not do and what makes no sense.

    Raises:
        UserError: with the variable, its value and the mend.
    """
    for name in FLAGS:
        _flag(name)
    for name, (what, option) in SHARDING.items():
        if os.environ.get(name, "").lower() == "true":
            raise UserError(
                f"{name}={os.environ[name]} asks for {what}, but every process of a run holds the whole network. "
                f"Leave out {option}, or answer no to it in `accelerate config`."
            )
    kind = os.environ.get("ACCELERATE_SAGEMAKER_DISTRIBUTED_TYPE", "NO")
    if os.environ.get("ACCELERATE_USE_SAGEMAKER", "").lower() == "true" and kind != "NO":
        raise UserError(f"ACCELERATE_SAGEMAKER_DISTRIBUTED_TYPE={kind}: SageMaker must start a run with NO.")
    if is_torch_xla_available():
        raise UserError("A run trains on CPUs and GPUs of CUDA, not through XLA: set USE_TORCH_XLA=false.")
    device = os.environ.get("ACCELERATE_TORCH_DEVICE", "")
    if device not in ("", "cpu", "cuda"):
        raise UserError(
            f"ACCELERATE_TORCH_DEVICE={device!r}: must be cpu or cuda. CUDA_VISIBLE_DEVICES chooses among several GPUs."
        )
    if device == "cuda" and not torch.cuda.is_available():
        raise UserError("ACCELERATE_TORCH_DEVICE='cuda', but there is no GPU that PyTorch can use.")


def on_gpu() -> bool:
    """Whether to train on GPUs: where there are any, unless the launcher asks for the CPU.

    Raises:
        UserError: ACCELERATE_USE_CPU is neither true nor false.
    """
    asked_for_cpu = _flag("ACCELERATE_USE_CPU") or os.environ.get("ACCELERATE_TORCH_DEVICE") == "cpu"
    return torch.cuda.is_available() and not asked_for_cpu


def launcher_precision() -> str:
    """The mixed precision that the launcher asks for: "no", "fp16" or "bf16".

    Raises:
        UserError: any other.
    """
    # The second is what notebook_launcher sets, beside NPROC; Accelerate itself never reads it.
    names = ("ACCELERATE_MIXED_PRECISION", *(("MIXED_PRECISION",) if "NPROC" in os.environ else ()))
    name, wanted = next(((name, os.environ[name]) for name in names if os.environ.get(name)), ("", "no"))
    if wanted not in PRECISIONS:
        raise UserError(f"{name}={wanted!r}: must be one of {', '.join(PRECISIONS)}.")
    return wanted


def remarks(processes: int) -> list[str]:
    """What to tell a user who has asked for something that a run leaves.

    Args:
        processes: How many train together, as Accelerate counts them.
    """
    words, found = _launcher(), [] if (missing := shortfall(processes)) is None else [missing]
    asked, environment = _options(words), os.environ
    if (backend := environment.get("ACCELERATE_DYNAMO_BACKEND") or "no").lower() != "no":
        found.append(f"The launcher's dynamo backend {backend.lower()} is left out: --compile regions compiles.")
    steps = asked.gradient_accumulation_steps or environment.get("ACCELERATE_GRADIENT_ACCUMULATION_STEPS") or "1"
    if steps not in ("1", "auto"):
        found.append(f"The launcher's gradient accumulation of {steps} is left out: --accumulation {steps} does it.")
    limit = asked.gradient_clipping or environment.get("ACCELERATE_GRADIENT_CLIPPING") or "none"
    if limit not in ("none", "auto"):
        found.append(f"The launcher's gradient clipping at {limit} is left out: --clip-norm {limit} does it.")
    if asked.downcast_bf16:
        found.append("The launcher's --downcast_bf16 is left out: it is for TPUs.")
    visible = environment.get("CUDA_VISIBLE_DEVICES", "")
    if visible not in HIDDEN and not torch.cuda.is_available():
        found.append(f"CUDA_VISIBLE_DEVICES={visible!r} names no GPU that PyTorch can use: training on the CPU.")
    elif torch.accelerator.is_available() and not torch.cuda.is_available():
        kind = torch.accelerator.current_accelerator()
        found.append(f"Training on the CPU: a run knows no other accelerators than CUDA's, such as {kind}.")
    return found


def shortfall(processes: int) -> str | None:
    """What to tell a user whose launcher was asked for more processes than train together; None if all do.

    Args:
        processes: How many train together, as Accelerate counts them.
    """
    asked = max(number(WORLD_SIZE) or 1, _asked(_launcher()))
    if asked > processes:
        start = "ACCELERATE_USE_CPU=true accelerate launch"
        return (
            f"The launcher was asked for {asked} processes, but training runs with {processes}. On a CPU, several "
            f"start only with `{start} --multi_gpu --num_processes {asked} --num_machines 1 {sys.argv[0]}` "
            f"or `{start} --config_file launch/cpu.yaml {sys.argv[0]}`."
        )
    tasks = os.environ.get("SLURM_STEP_NUM_TASKS", "1")  # not set but by srun
    if processes == 1 and tasks.isdecimal() and int(tasks) > 1:
        return f"srun started {tasks} tasks, each of which trains alone: launch/slurm.sbatch starts a run on all."
    return None


def _flag(name: str) -> bool:
    try:
        return bool(str_to_bool(os.environ.get(name, "false")))
    except ValueError as error:
        raise UserError(f"{name}={os.environ[name]!r}: must be true or false, or unset.") from error


def _launcher() -> list[str]:
    """The words of `accelerate launch` before the script it starts; empty if something else started us."""
    try:
        parent = psutil.Process().parent()
        words = parent.cmdline() if parent else []
    except (psutil.Error, OSError):
        return []  # processes of others may be hidden: without the words there is nothing to compare with
    if not any(Path(word).name in LAUNCHERS for word in words[:3]):
        return []
    return list(itertools.takewhile(lambda word: word != sys.argv[0], words))


def _options(words: list[str]) -> Namespace:
    """What a command line of `accelerate launch` says of what is looked at here."""
    parser = ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--num_processes", "--num-processes", type=int)
    parser.add_argument("--config_file", "--config-file")
    parser.add_argument("--gradient_accumulation_steps", "--gradient-accumulation-steps")
    parser.add_argument("--gradient_clipping", "--gradient-clipping")
    for switch in ("cpu", "downcast_bf16"):
        parser.add_argument(f"--{switch}", f"--{switch.replace('_', '-')}", action="store_true", dest=switch)
    return parser.parse_known_args(words)[0]


def _asked(words: list[str]) -> int:
    """The number of processes in a command line of `accelerate launch` or in its configuration file."""
    if not words:
        return 1
    known = _options(words)
    if known.num_processes is not None:
        return known.num_processes
    # As the launcher does: the user's default configuration counts unless --cpu is given.
    default = None if known.cpu else config_args.default_config_file
    file = known.config_file or default
    if file is None or not Path(file).is_file():
        return 1
    asked: object = getattr(config_args.load_config_from_file(file), "num_processes", 1)
    return asked if isinstance(asked, int) else 1  # "gpu": the launcher counts them itself
