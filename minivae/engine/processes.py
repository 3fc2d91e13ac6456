"""The processes that share a run: who they are, and how they agree."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

T = TypeVar("T")


class Processes:
    """The processes that share a run, as torchrun starts them; else one.

    Attributes:
        rank: number of this process, from 0; only 0 writes and prints.
        world_size: how many there are.

    Example:
        >>> alone = Processes()  # without torchrun
        >>> alone.rank, alone.world_size, alone.any(False)
        (0, 1, False)
    """

    def __init__(self) -> None:
        several = dist.is_available() and dist.is_initialized()
        self.rank = dist.get_rank() if several else 0
        self.world_size = dist.get_world_size() if several else 1

    @property
    def key(self) -> tuple[int, ...]:
        """What sets the random numbers of this process apart."""
        alone = self.world_size == 1
        return () if alone else (self.world_size, self.rank)

    def mean(self, values: Tensor, n: int) -> Tensor:
        """The mean over a batch of n rows, of which these are a part.

        Several processes share a batch, and DDP takes the mean over them.
        """
        if self.world_size == 1:
            return values.mean()
        return values.sum() * (self.world_size / n)

    def total(self, values: Tensor) -> Tensor:
        """The sum over all processes, float64 on the CPU."""
        values = values.detach().cpu().double().clone()
        if self.world_size > 1:
            dist.all_reduce(values)
        return values

    def any(self, flag: bool) -> bool:
        """Whether it is so in any process; all get the same answer."""
        if self.world_size == 1:
            return flag
        return bool(self.total(torch.tensor([flag])).item())

    def from_first(self, compute: Callable[[], T]) -> T:
        """What the first process computes, its error included, in all."""
        result: list = [None]
        if self.rank == 0:
            try:
                result = [compute()]
            except Exception as error:
                if self.world_size == 1:
                    raise
                result = [error]
        if self.world_size > 1:
            dist.broadcast_object_list(result)
            if isinstance(result[0], Exception):
                raise result[0]
        return result[0]


@contextmanager
def processes() -> Iterator[Processes]:
    """Join the other processes if torchrun has started several.

    Example:
        >>> with processes() as found:
        ...     found.world_size
        1
    """
    if int(os.environ.get("WORLD_SIZE", 1)) > 1 and not dist.is_initialized():
        cuda = torch.cuda.is_available()
        store, rank, size = next(dist.rendezvous("env://"))
        # torchrun starts all anew when one dies, but keeps the store, where
        # they would look for the dead. Of several machines each counts its
        # own starts, so there is no name that all of them know
        if os.environ.get("GROUP_WORLD_SIZE") == "1":
            start = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
            store = dist.PrefixStore(f"start {start}", store)
        dist.init_process_group(
            "cpu:gloo,cuda:nccl" if cuda else "gloo",
            store=store,
            rank=rank,
            world_size=size,
        )
        try:
            yield Processes()
        finally:
            dist.destroy_process_group()
    else:
        yield Processes()
