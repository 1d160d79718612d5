"""`capsnet-dist bench`: time and memory, against plain PyTorch."""

from pathlib import Path

from capsnet_dist.bench.command import chosen, main


def bench(
    *,
    impl: str = "",
    routings: str = "",
    gradients: str = "",
    networks: str = "",
    batch: str = "",
    dtypes: str = "",
    device: str = "auto",
    processes: int = 1,
    threads: int = 0,
    rounds: int = 0,
    fused_naive: bool = False,
    compile: bool = False,
    scaling: bool = True,
    quick: bool = False,
    json: bool = False,
    folder: Path | None = None,
    imports: tuple[str, ...] = (),
) -> None:
    """Measure time and memory of a training step and of inference, ours and that of plain PyTorch in turns.

    Args:
        impl: Of naive, einsum, channels_last, exact, ours and graphs, with commas; naive,ours if not given. "naive" is
            CapsNet as public implementations write it, "einsum" the same with the fastest votes of plain PyTorch,
            "channels_last" that in the other layout of memory, "exact" any network and routing of ours as it is
            defined, without fast paths, "graphs" ours, each step a CUDA graph.
        routings: Names with commas; dynamic if not given.
        gradients: Of full and last, with commas: through which rounds; both if not given.
        networks: Of paper and small, or names of other networks, which only we have; paper if not given.
        batch: Images in a step, numbers with commas; 128 if not given.
        dtypes: Of float32, tf32, bfloat16 (autocast) and float64, with commas; float32 if not given.
        device: "cpu", "cuda" or "auto".
        processes: How many train together.
        threads: Threads of each process on the CPU; 0 leaves them as PyTorch has them.
        rounds: How often each is timed; 15 if not given.
        fused_naive: Give the naive implementations our fused Adam too, instead of PyTorch's default.
        compile: Measure each also through torch.compile.
        scaling: Measure how class capsules grow with the number of capsules and of classes.
        quick: In less than a minute: a small network, batch 32, 5 rounds, full gradients, unless given otherwise.
        json: Print JSON instead of tables.
        folder: Where bench.json, bench.md and bench.png go; a new folder "bench", or "bench-2" and so on, if not given.
    """
    lists = {"implementations": impl, "routings": routings, "gradients": gradients, "networks": networks}
    lists |= {"batches": batch, "dtypes": dtypes}
    switches = {"fused_naive": fused_naive, "compile": compile, "scaling": scaling}
    numbers = {"processes": processes, "threads": threads, "rounds": rounds}
    main(chosen(quick, **lists, **numbers, **switches, device=device), json, folder)
