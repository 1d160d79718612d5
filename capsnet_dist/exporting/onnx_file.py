"""ONNX files: one file with weights and metadata, for any batch."""

import re
import warnings
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.fx import GraphModule
from torch.onnx import OnnxExporterError

from capsnet_dist.errors import UserError
from capsnet_dist.exporting.comparison import Computed
from capsnet_dist.exporting.parts import Traced
from capsnet_dist.text import printable

PACKAGES = "onnx", "onnxruntime", "onnxscript"
OPSET = 18
"""Of ONNX's operators: that of PyTorch's exporter, which ONNX Runtime reads since 1.14."""
LARGEST = 2**31 - 2**20
"""Bytes of weights that one file may hold: Protocol Buffers end at 2 GB."""


def write(traced: Traced, metadata: Mapping[str, str], file: Path) -> None:
    """Write a graph and its weights as one file.

    Raises:
        UserError: an operation has no counterpart in ONNX, or there is too much for one file.
        OSError: it cannot be written.
    """
    require_packages()
    from onnxscript.optimizer import fold_constants, remove_unused_nodes

    size = sum(tensor.numel() * tensor.element_size() for tensor in traced.program.state_dict.values())
    if size > LARGEST:
        raise UserError(f"The weights have {size:,} bytes, and an ONNX file ends at 2 GB: use --format torch.")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the exporter's own
            program: Any = torch.onnx.export(
                traced.program,
                input_names=traced.inputs,
                output_names=traced.outputs,
                opset_version=OPSET,
                dynamic_shapes=traced.sizes,
                external_data=False,
                optimize=False,  # which would also drop an epsilon of 1e-8, as if it were 0
                verbose=False,
            )
    except OnnxExporterError as error:
        raise UserError(_refusal(traced, error)) from error
    fold_constants(program.model)  # ONNX Runtime lacks operations, on bytes, that this replaces
    remove_unused_nodes(program.model)
    program.model.producer_name, program.model.producer_version = "capsnet_dist", metadata["capsnet_dist"]
    program.model.metadata_props.update(metadata)
    program.save(file, external_data=False)


def runner(file: Path) -> Computed:
    """What ONNX Runtime computes by a file, on CPU."""
    import onnxruntime

    session: Any = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]

    def computed(inputs: Mapping[str, Tensor]) -> Mapping[str, np.ndarray]:
        found = session.run(names, {key: value.numpy() for key, value in inputs.items()})
        return dict(zip(names, found, strict=True))

    return computed


def require_packages() -> None:
    """See to it that what makes and reads ONNX files is there.

    Raises:
        UserError: it is not.
    """
    if missing := [name for name in PACKAGES if find_spec(name) is None]:
        raise UserError(f"ONNX files need {', '.join(missing)}: pip install 'capsnet_dist[export]'.")


def _refusal(traced: Traced, error: OnnxExporterError) -> str:
    """Which part of the network cannot be expressed: the operation that ONNX lacks, and the module that computes it."""
    if lacking := re.search(r"No ONNX function found.*?target=torch\.ops\.\w+\.(\w+)", str(error), re.DOTALL):
        what = f"{lacking[1]}{_place(traced, lacking[1])} is no operation of ONNX"
        return f"The network cannot be exported to ONNX: {what}. Use --format torch, or train with another part."
    cause = error.__cause__ or error
    what = printable(f"{type(cause).__name__}: {str(cause).strip().partition(chr(10))[0]}")
    return (
        f"PyTorch {torch.__version__} cannot export the network to ONNX: {what:.500}. "
        "Use --format torch, or another version of PyTorch."
    )


def _place(traced: Traced, operation: str) -> str:
    """The module that computes it, where the graph says so."""
    graphs = [part.graph for part in traced.program.graph_module.modules() if isinstance(part, GraphModule)]
    for node in (node for graph in graphs for node in graph.nodes if node.op == "call_function"):
        stack = node.meta.get("nn_module_stack")
        if stack and operation in str(node.target).split("."):
            *_, (place, kind) = stack.values()
            name = getattr(kind, "__name__", str(kind).rpartition(".")[2])
            return f", which {place.removeprefix('model.')} ({name}) computes,"
    return ""
