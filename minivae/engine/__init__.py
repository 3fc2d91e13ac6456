"""What the loop stands on, and a reader may skip.

`device` has device, precision and compiler; `processes` those that share a
run; `signals` holds Ctrl+C between two steps; `checkpoint` saves and loads;
`run` puts these together and goes on where a run was stopped.
"""

from minivae.engine.device import (
    COMPILE,
    PAYS_FROM,
    PRECISIONS,
    find_device,
    has_bf16,
)
from minivae.engine.processes import Processes, processes

__all__ = [
    "COMPILE",
    "PAYS_FROM",
    "PRECISIONS",
    "Processes",
    "find_device",
    "has_bf16",
    "processes",
]
