"""A GPU for machines without one: tensors are computed on the CPU, but remember on which device
they would lie.

What a real GPU refuses is refused here, too: tensors of two devices in one operation, NumPy's view
of a tensor over there, draws by a generator of the host. Nothing is learned of speed, memory or
streams.
"""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode, resolve_name

GPU = torch.device("cuda", 0)
_CPU = torch.device("cpu")
_INDEXING = (torch.Tensor.__getitem__, torch.Tensor.__setitem__, torch.Tensor.index_put_)
_ACROSS = (torch.Tensor.copy_, torch.Tensor.type_as, torch._has_compatible_shallow_copy_type)
_TO_NUMPY = (torch.Tensor.numpy, torch.Tensor.__array__)
_JOINING = (torch.cat, torch.stack, torch.concat)


class PretendGPU(TorchFunctionMode):
    """Every call of torch's Python interface, with the devices that its tensors claim to be on."""

    def __torch_function__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Any = None
    ) -> Any:
        """Check a call, make it on the CPU, and note where its result would be."""
        kwargs = dict(kwargs or {})
        owner = getattr(func, "__self__", None)
        if owner is torch.Tensor.device:
            return device_of(args[0])
        if owner is torch.Tensor.is_cuda:
            return device_of(args[0]) == GPU
        if owner is torch.Tensor.grad and func.__name__ == "__get__":
            gradient = func(*args)  # made by autograd, which nobody can watch
            return gradient if gradient is None else _placed(gradient, device_of(args[0]))
        if func in _TO_NUMPY and device_of(args[0]) == GPU:
            raise TypeError("NumPy cannot see a tensor on the GPU: copy it to the host first")
        if func == torch.Tensor.pin_memory:
            return args[0].clone()
        tensors = list(_tensors((args, kwargs)))
        if func in (torch.Tensor.to, torch.Tensor.cpu, torch.Tensor.cuda):
            return self._moved(func, args, kwargs)
        wanted = kwargs.pop("device", None)
        if wanted is not None:
            kwargs["device"] = _CPU
        place = _place(wanted) if wanted is not None else _common(func, args, tensors)
        generator = kwargs.get("generator") or next(
            (each for each in args if isinstance(each, torch.Generator)), None
        )
        if generator is not None and place == GPU:
            raise RuntimeError(
                f"{resolve_name(func)}: a generator of the host cannot draw on the GPU"
            )
        result = func(*args, **kwargs)
        if place == GPU and func != torch.Tensor.__setitem__:
            for tensor in _tensors(result):
                if not any(tensor is each for each in tensors):
                    _placed(tensor, GPU)
        return result

    @contextmanager
    def found(self) -> Iterator[None]:
        """Have everyone who looks for a GPU find this one."""
        with pytest.MonkeyPatch.context() as monkeypatch:
            monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
            yield

    def _moved(self, func: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> Tensor:
        """Do what `Tensor.to`, `cpu` or `cuda` would."""
        source, *rest = args
        place, dtype = device_of(source), kwargs.pop("dtype", None)
        for each in (*rest, kwargs.pop("device", None)):
            if isinstance(each, Tensor):
                place, dtype = device_of(each), each.dtype
            elif isinstance(each, torch.device | str):
                place = _place(each)
            elif isinstance(each, torch.dtype):
                dtype = each
        if func != torch.Tensor.to:
            place = _CPU if func == torch.Tensor.cpu else GPU
        waits = not (kwargs.pop("non_blocking", False) or True in rest[1:])
        if place == _CPU and device_of(source) == GPU and not waits:
            raise RuntimeError(
                "a copy to the host that nobody waits for may be read before it is there"
            )
        moved = source.to(_CPU, dtype or source.dtype, **kwargs)
        if place != device_of(source) and moved.data_ptr() == source.data_ptr():
            moved = source.clone()
        return _placed(moved, place)


def device_of(tensor: Tensor) -> torch.device:
    """Where a tensor would lie."""
    return GPU if getattr(tensor.untyped_storage(), "pretends", False) else _CPU


@contextmanager
def pretended(monkeypatch: pytest.MonkeyPatch) -> Iterator[PretendGPU]:
    """A machine with a GPU: events, streams, autocast and threads included."""
    gpu, run = PretendGPU(), threading.Thread.run

    def run_with_gpu(thread: threading.Thread) -> None:
        with gpu:
            run(thread)

    autocast = torch.autocast
    monkeypatch.setattr(threading.Thread, "run", run_with_gpu)
    monkeypatch.setattr(
        torch, "autocast", lambda device_type, *args, **kwargs: autocast("cpu", *args, **kwargs)
    )
    monkeypatch.setattr(torch.cuda, "Event", _Event)
    monkeypatch.setattr(torch.cuda, "Stream", lambda device: _Stream())
    monkeypatch.setattr(torch.cuda, "stream", lambda stream: nullcontext())
    monkeypatch.setattr(torch.cuda, "device", lambda device: nullcontext())
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: _Stream())
    monkeypatch.setattr(torch.Tensor, "record_stream", lambda tensor, stream: None)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: True)
    for name in ("max_memory_allocated", "max_memory_reserved"):
        monkeypatch.setattr(torch.cuda, name, lambda device: 0)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "pretended")
    with gpu:
        yield gpu


class _Event:
    def __init__(self, enable_timing: bool = False):
        self.timed = enable_timing

    def record(self) -> None:
        """Pass at once."""

    def synchronize(self) -> None:
        """Wait for nothing."""

    def elapsed_time(self, end: "_Event") -> float:
        """A millisecond, for events that measure time."""
        assert self.timed
        assert end.timed
        return 1.0


class _Stream:
    def wait_event(self, event: _Event) -> None:
        """Wait for nothing."""


def _place(device: torch.device | str | int) -> torch.device:
    return GPU if torch.device(device).type == "cuda" else _CPU


def _placed(tensor: Tensor, place: torch.device) -> Tensor:
    tensor.untyped_storage().pretends = place == GPU  # pyright: ignore[reportAttributeAccessIssue]
    return tensor


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, dict):
        yield from _tensors(list(value.values()))
    elif isinstance(value, list | tuple):
        for each in value:
            yield from _tensors(each)


def _common(func: Any, args: Sequence[Any], tensors: Sequence[Tensor]) -> torch.device:
    """The device of an operation on tensors.

    Raises:
        RuntimeError: they are on two, and torch does not allow it.
    """
    if func in _ACROSS or getattr(func, "__name__", "") == "__set__":
        return device_of(args[0])
    if func in _INDEXING:  # indices of the host are fetched
        tensors = [args[0], *(args[2:] if isinstance(args[-1], Tensor) else ())]
    places = {device_of(tensor) for tensor in tensors}
    strict = [tensor for tensor in tensors if tensor.ndim or func in _JOINING]
    if GPU in places and any(device_of(tensor) == _CPU for tensor in strict):
        shapes = ", ".join(f"{device_of(tensor).type} {tuple(tensor.shape)}" for tensor in tensors)
        raise RuntimeError(f"{resolve_name(func)} of tensors on two devices: {shapes}")
    return GPU if GPU in places else _CPU
