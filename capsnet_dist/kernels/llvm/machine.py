"""Machine code of this processor, made by LLVM and kept on the disk.

A file holds what one loop was compiled to, for some kinds of arguments and a processor. It is read while no source of
the kernels has changed, and is then written anew. Many processes may read and write at once: a file appears whole.
"""

# pyright: basic
# llvmlite has no stubs.

import contextlib
import hashlib
import os
import threading
from collections.abc import Callable
from functools import cache
from pathlib import Path

import llvmlite
import llvmlite.binding as llvm

from capsnet_dist.kernels.sources import sources

LOADED: list[object] = []  # what the engine was given: it reads that, and does not own it


def address(loop: str, text: Callable[[str], str]) -> int:
    """Where a function begins, of machine code that is on the disk, or made now, and kept there if it can be written.

    Args:
        loop: Its name, which says all that its code depends on but sources and processor.
        text: Gives a module with a function of some name, in LLVM's language.
    """
    name = f"{loop}-{processor()[:16]}"
    files = [folder / f"{name}.o" for folder in folders()]
    code = next(filter(None, map(_read, files)), None)
    if code is None:
        code = machine_code(text(name))
        next(filter(None, (_write(file, code) for file in files)), None)  # in the first folder that takes it
    LOADED.extend((code, found := llvm.ObjectFileRef.from_data(code)))
    engine().add_object_file(found)
    engine().finalize_object()
    return engine().get_function_address(name)


def machine_code(text: str) -> bytes:
    """An object file of a module."""
    module = llvm.parse_assembly(text)
    module.triple, module.data_layout = llvm.get_process_triple(), str(target().target_data)
    module.verify()
    options = llvm.create_pipeline_tuning_options(speed_level=3)
    options.loop_vectorization = True
    passes = llvm.create_pass_builder(target(), options)
    passes.getModulePassManager().run(module, passes)
    return target().emit_object(module)


@cache
def target() -> llvm.TargetMachine:
    """This processor."""
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    architecture, (name, features) = llvm.Target.from_triple(llvm.get_process_triple()), host()
    return architecture.create_target_machine(
        cpu=name,
        features=features,
        opt=3,
        reloc="static" if architecture.name.startswith("x86") else "default",
        codemodel="jitdefault",
        jit=True,
    )


@cache
def engine() -> llvm.ExecutionEngine:
    """Where machine code is loaded."""
    return llvm.create_mcjit_compiler(llvm.parse_assembly(""), target())


@cache
def processor() -> str:
    """A hash of what machine code is made for, and by which LLVM."""
    return hashlib.sha256(" ".join((llvmlite.__version__, *host())).encode()).hexdigest()


def host() -> tuple[str, str]:
    """Name and features of this processor."""
    return llvm.get_host_cpu_name(), llvm.get_host_cpu_features().flatten()


def folders() -> list[Path]:
    """Where files may be: that of numba if it is named, beside the kernels, or the user's."""
    if named := os.environ.get("NUMBA_CACHE_DIR"):
        return [Path(named)]
    found, cached = [Path(__file__).parent / "__pycache__"], os.environ.get("XDG_CACHE_HOME")
    with contextlib.suppress(RuntimeError):  # a user without a home, as in some containers
        found.append(Path(cached or Path.home() / ".cache") / "capsnet_dist")
    return found


def _read(file: Path) -> bytes | None:
    """The code in a file, if it is there, whole, and not too old."""
    try:
        found = file.read_bytes()
    except OSError:  # it is not there, or another user's
        return None
    head, code = found[:64], found[64:]
    return code if head == _head(code) else None


def _write(file: Path, code: bytes) -> bool:
    """Whether code could be kept."""
    new = file.with_suffix(f".{os.getpid()}.{threading.get_ident()}")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        new.write_bytes(_head(code) + code)
        os.replace(new, file)
    except OSError:  # read-only, or full: then the next process compiles again
        with contextlib.suppress(OSError):
            new.unlink()
        return False
    return True


def _head(code: bytes) -> bytes:
    """What a file begins with, 64 bytes."""
    return bytes.fromhex(sources()) + hashlib.sha256(code).digest()
