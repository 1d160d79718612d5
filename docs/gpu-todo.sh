#!/usr/bin/env bash
# What docs/gpu-todo.md lists, from the root of the repository:
#   docs/gpu-todo.sh DATA OUT [PART ...]      DATA holds MNIST (MNIST/raw); results and logs go to OUT
# Parts: tests bench reproduce profile; all of them if none is named, in at most ten minutes. Each has its own time and log,
# and the next one runs whatever became of it. Wheels of what is not installed may lie in wheels/: nothing is fetched.
# reproduce alone takes nine minutes, and goes on where it was when it is called again with the same OUT.
set -u
data=$(realpath "$1") && mkdir -p "$2" && out=$(realpath "$2")
shift 2
[ $# -gt 0 ] || set -- tests bench reproduce profile
parts=$#
export PYTHONPATH=$PWD${PYTHONPATH:+:$PYTHONPATH}
rounds=${ROUNDS:-10}
table1="capsnet_mnist_3_reconstruction capsnet_mnist_1_reconstruction capsnet_mnist_3 capsnet_mnist_1 cnn_mnist"
[ -d wheels ] && pip install --quiet --no-index --find-links wheels --no-deps wheels/*.whl
nvidia-smi --query-gpu=name,memory.total --format=csv || true

part() { # name, seconds, command
  local name=$1 seconds=$2 begin=$SECONDS
  shift 2
  timeout "$seconds" "$@" >"$out/$name.log" 2>&1
  echo "== $name: exit $?, $((SECONDS - begin)) s"
  tail -n "${LINES_SHOWN:-25}" "$out/$name.log"
}

tests() { # side by side where pytest-xdist is there, which pytest-benchmark does not go with
  local beside=()
  python -c "import xdist" 2>/dev/null && beside=(-n 12 -p no:benchmark)
  part tests 150 python -m pytest -q -m gpu "${beside[@]}" tests/test_gpu.py tests/kernels/test_kernels.py \
    tests/kernels/test_convolution.py tests/data/test_augmentations.py
}

bench() { # images/s and memory against plain PyTorch; a table at a time, since a table takes a minute and more
  for batch in 2048 128; do
    part "bench-$batch" 110 python -c "
from pathlib import Path
from capsnet_dist.bench import Options, bench, save
kinds = 'naive', 'ours', 'graphs'
options = Options(kinds, batches=($batch,), dtypes=('bfloat16',), gradients=('full',), rounds=$rounds, scaling=False)
save(bench(options), Path('$out/bench-$batch'))
print(Path('$out/bench-$batch/bench.md').read_text())"
  done
}

reproduce() { # as many seeds of RECIPES as fit, with the paper's epochs or EPOCHS of them; results in OUT/results
  local minutes=${MINUTES:-$([ "$parts" -eq 1 ] && echo 8.5 || echo 2.5)}
  export ACCELERATE_MIXED_PRECISION=${PRECISION:-bf16}
  # shellcheck disable=SC2086
  part reproduce 540 python -m capsnet_dist.commands.main reproduce ${RECIPES:-$table1} --root "$data" \
    --folder "$out/reproduced" --results "$out/results" --max-time "$minutes" ${EPOCHS:+--epochs "$EPOCHS"}
  unset ACCELERATE_MIXED_PRECISION
}

profile() {
  part profile 60 python - <<PROFILE
import runpy, sys
from torch.profiler import profile
sys.argv = ["recipes/mnist.py", "--steps", "20", "--validation", "0", "--data.root", "$data", "--run-dir", "$out/profiled"]
sys.argv += ["--compile", "no", "--mixed-precision", "bf16"]
with profile() as profiler:
    runpy.run_path("recipes/mnist.py", run_name="__main__")
print(profiler.key_averages().table(sort_by="self_device_time_total", row_limit=25))
PROFILE
}

for name; do "$name"; done
rm -rf "$out"/*/checkpoints
