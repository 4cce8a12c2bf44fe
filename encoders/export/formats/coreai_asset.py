"""Core AI assets (`.aimodel`): a PyTorch module written as one, and one executed from ordinary, synchronous code.

The packages are pre-releases: if importing them raises any exception, they count as not installed.
"""

import asyncio
import contextlib
import errno
import importlib
import io
import os
import shutil
import tempfile
import threading
import warnings
import weakref
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from encoders.errors import InputError, MissingExtra
from encoders.export.graph import reason_of, tensor_bytes, trace
from encoders.files import sha256_file

EXTRA, PACKAGE = "coreai", "coreai-torch"
FUNCTION = "main"  # what the converter calls a program's only function
SUFFIX = ".aimodel"
PROGRAM, CHECKSUM = f"{FUNCTION}.mlirb", f"{FUNCTION}.hash"  # in an asset's folder: `AIProgram.save_asset`
ROOM_FACTOR, ROOM_BYTES = 1.1, 2**22  # of a program beside its weights: SAM's decoder is 16.2 MB of them and 17.0 MB


def need(module: str) -> Any:
    """Import a module of coreai-core or coreai-torch, without its warning that it only supports older versions of torch.

    Raises:
        MissingExtra: it is not installed, or does not work here.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return importlib.import_module(module)
    except Exception as error:  # a pre-release that is broken in any way is as good as absent
        raise MissingExtra(PACKAGE, extra=EXTRA) from error


def write_asset(
    module: nn.Module,
    path: Path,
    *,
    example: tuple[Tensor, ...],
    inputs: tuple[str, ...],
    outputs: tuple[str, ...],
    description: str,
    dynamic_shapes: Any = None,
) -> None:
    """Write a module in eval mode as `path`, a folder named `*.aimodel`.

    Args:
        example: tensors that the module can be called with.
        inputs, outputs: names, in the module's order.
        description: inputs and outputs in words, for the asset's metadata.
        dynamic_shapes: as for `torch.export.export`; by default every shape is that of the example.

    Raises:
        MissingExtra: coreai-torch is not installed.
        InputError: the module is in train mode, cannot be traced, or has an operation that the converter does not know.
        OSError: the disk does not have enough free space.
    """
    converter, runtime = need("coreai_torch"), need("coreai.runtime")
    metadata = runtime.AIModelAssetMetadata()
    metadata.model_description = description
    with warnings.catch_warnings(), torch.no_grad(), contextlib.redirect_stdout(io.StringIO()):  # it prints its progress
        warnings.simplefilter("ignore")
        exported = trace(module, example, dynamic_shapes=dynamic_shapes, strict=True)
        check_room(path.parent, needed=tensor_bytes([*exported.state_dict.values(), *exported.constants.values()]))
        try:
            exported = exported.run_decompositions(converter.get_decomp_table())
            program = converter.TorchConverter().add_exported_program(
                exported, input_names=list(inputs), output_names=list(outputs)
            )
            program.to_coreai().save_asset(path, metadata)
        except OSError:
            raise
        except Exception as error:  # its own exceptions have no common base
            raise InputError(f"coreai-torch cannot convert the model: {reason_of(error)}; choose another format") from error


def check_room(folder: Path, *, needed: int) -> None:
    """Check for enough free disk space: Core AI writes through LLVM, which ends the whole process if it cannot write.

    Args:
        needed: size of the weights in bytes; a program is a little larger.

    Raises:
        OSError: the disk of `folder` does not have enough free space.
    """
    if shutil.disk_usage(folder).free < needed * ROOM_FACTOR + ROOM_BYTES:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(folder))


class Asset:
    """A Core AI asset compiled for this machine, whose function is called with numpy arrays.

    Core AI's interface is asynchronous. An event loop in a separate thread waits for it, so this also works where a loop is
    already running, as in a notebook.

    Args:
        path: the `.aimodel` folder.

    Raises:
        MissingExtra: coreai-core is not installed.
        InputError: it is missing or damaged, or cannot be compiled.
    """

    def __init__(self, path: Path) -> None:
        assets, self._runtime = need("coreai.authoring"), need("coreai.runtime")
        check_whole(path)
        self._path = path
        try:
            check_room(Path(tempfile.gettempdir()), needed=(path / PROGRAM).stat().st_size)  # where it is compiled to
        except OSError as error:
            raise InputError(f"{path} cannot be compiled ({error}); make room, or set TMPDIR") from error
        self._loop = asyncio.new_event_loop()
        self._open = contextlib.AsyncExitStack()
        thread = threading.Thread(target=self._loop.run_forever, name="core-ai", daemon=True)
        thread.start()
        self.close = weakref.finalize(self, _close, self._loop, self._open, thread)
        try:
            self._function = self._wait(_load(assets.AIModelAsset, path, self._open))
        except Exception as error:  # its own exceptions have no common base
            self.close()
            raise InputError(f"{path} cannot be opened by Core AI ({reason_of(error)}); export it again") from error

    def __call__(self, **arrays: np.ndarray) -> dict[str, np.ndarray]:
        """Call the function with named inputs and return its named outputs.

        Raises:
            InputError: Core AI refuses them.
        """
        given = {name: self._runtime.NDArray(np.ascontiguousarray(array)) for name, array in arrays.items()}
        try:
            found = self._wait(self._function(given))
        except Exception as error:  # as above
            shapes = ", ".join(f"{name} {array.shape} {array.dtype}" for name, array in arrays.items())
            raise InputError(f"{self._path} cannot be run by Core AI with {shapes} ({error})") from error
        return {name: np.array(value.numpy()) for name, value in found.items()}

    def _wait(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()


def check_whole(path: Path) -> None:
    """Compare an asset's program with the checksum beside it: a damaged program would crash the whole process.

    Raises:
        InputError: a file is missing, or the checksum differs.
    """
    program, checksum = path / PROGRAM, path / CHECKSUM
    for file in (program, checksum):
        if not file.is_file():
            raise InputError(f"{file} does not exist; expected an exported Core AI model")
    if sha256_file(program) != checksum.read_bytes().hex():
        raise InputError(f"{program} is damaged, its checksum is not that of {CHECKSUM}; export it again")


async def _load(asset_class: Any, path: Path, opened: contextlib.AsyncExitStack) -> Any:
    """Load the function of an asset, usable until `opened` is closed. `AIModel.load` of an `.aimodel` only works on a Mac."""
    model = await opened.enter_async_context(asset_class.load(path).executable())
    return model.load_function(FUNCTION)


def _close(loop: asyncio.AbstractEventLoop, opened: contextlib.AsyncExitStack, thread: threading.Thread) -> None:
    asyncio.run_coroutine_threadsafe(opened.aclose(), loop).result()
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()
