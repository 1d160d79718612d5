#!/usr/bin/env bash
# What docs/gpu-todo.md lists, in one call of at most ten minutes, from the root of the repository:
#   docs/gpu-todo.sh DATA OUT          DATA holds MNIST (MNIST/raw); results and logs go to OUT
# Each part has its own time and log, and the next one runs whatever became of it. Wheels of what is not installed may
# lie in wheels/: nothing is fetched.
set -u
data=$(realpath "$1") && mkdir -p "$2" && out=$(realpath "$2")
export PYTHONPATH=$PWD${PYTHONPATH:+:$PYTHONPATH}
steps=${STEPS:-850}   # two epochs of MNIST at batch 128
rounds=${ROUNDS:-10}
[ -d wheels ] && pip install --quiet --no-index --find-links wheels --no-deps wheels/*.whl
nvidia-smi --query-gpu=name,memory.total --format=csv || true

part() { # name, seconds, command
  local name=$1 seconds=$2 begin=$SECONDS
  shift 2
  timeout "$seconds" "$@" >"$out/$name.log" 2>&1
  echo "== $name: exit $?, $((SECONDS - begin)) s"
  tail -n "${LINES_SHOWN:-25}" "$out/$name.log"
}

# 1. Correctness of the kernels, training, exact resume.
part tests 150 python -m pytest -q -m gpu
# 2. Images/s and memory against plain PyTorch.
part bench 150 python -c "
from pathlib import Path
from capsnet_dist.bench import Options, bench, save
save(bench(Options(batches=(128, 2048), dtypes=('float32', 'bfloat16'), gradients=('full',), rounds=$rounds, scaling=False)), Path('$out/bench'))
print(Path('$out/bench/bench.md').read_text())"
# 3. Two epochs of MNIST at batch 128: seconds an epoch, and with a CUDA graph.
for how in no regions graphs; do
  part "mnist-$how" 60 python recipes/mnist.py --steps "$steps" --data.root "$data" --run-dir "$out/mnist-$how" \
    --mixed-precision bf16 --compile $how --progress plain
done
# 4. Where the time of a step goes.
part profile 60 python - <<PROFILE
import runpy, sys
from torch.profiler import profile
sys.argv = ["recipes/mnist.py", "--steps", "20", "--validation", "0", "--data.root", "$data", "--run-dir", "$out/profiled"]
with profile() as profiler:
    runpy.run_path("recipes/mnist.py", run_name="__main__")
profiler.export_chrome_trace("$out/trace.json")
print(profiler.key_averages().table(sort_by="self_device_time_total", row_limit=25))
PROFILE
rm -rf "$out"/*/checkpoints
