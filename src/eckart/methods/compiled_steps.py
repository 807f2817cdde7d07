"""Adam on small linear nets, in compiled steps: the optimizer of the config, without its calls."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.optim import Adam

from eckart.data.probes import Probes
from eckart.methods.problems import LossProblem, Trained
from eckart.nn.bottleneck import Bottleneck
from eckart.optim.compiled import compiled
from eckart.optim.compiled_adam import train_nets
from eckart.optim.schedules import Schedule

# Of larger nets, products of matrices in torch take less time than the compiled loops.
_LARGEST = 8192
# Products of two numbers in a call, a tenth of a second or so: a training that is interrupted ends between two calls.
_WORK = 5e8
# Settings of Adam by which a user asks for a way of torch's own, or for another method.
_OWN = ("amsgrad", "maximize", "foreach", "capturable", "differentiable", "fused", "decoupled_weight_decay")


class Probed(Trained, Protocol):
    """What compiled steps ask of a method, besides what every problem does."""

    net: Bottleneck
    probes: Probes
    schedule: Schedule | None

    def examples(self) -> tuple[Tensor, Tensor]:
        """The fixed probes of each seed, ``(S, N, n)``, and what each member is to make of its own, ``(J, N, m)``."""


def takes(optimizer: object, net: Bottleneck) -> bool:
    """Whether the steps of an optimizer on a net are those that are compiled.

    They are for Adam with its plain settings on nets of at most 8192 weights on the CPU. Settings that choose among
    torch's implementations, such as ``fused=True``, get torch's, and so do weights that are frozen or have hooks.

    Example:
        >>> net = Bottleneck([4, 4, 2, 4], bottleneck=2)
        >>> takes(Adam(net.parameters()), net), takes(Adam(net.parameters(), fused=True), net)
        (True, False)
    """
    if type(optimizer) is not Adam or len(optimizer.param_groups) != 1:
        return False
    (group,) = optimizer.param_groups
    weights = list(net.weights)
    plain = not any(group.get(name) for name in _OWN) and all(isinstance(beta, float) for beta in group["betas"])
    hooked = optimizer._optimizer_step_pre_hooks or optimizer._optimizer_step_post_hooks
    # What a callback did to the weights as the training began.
    own = all(weight.requires_grad and not _hooks(weight) for weight in weights) and not _hooks(net)
    same = [id(weight) for weight in group["params"]] == [id(weight) for weight in weights]
    small = sum(weight[0].numel() for weight in weights) <= _LARGEST
    right = {(weight.dtype, weight.device.type) for weight in weights} <= {
        (torch.float32, "cpu"),
        (torch.float64, "cpu"),
    }
    return plain and own and not hooked and same and small and right and not isinstance(group["lr"], Tensor)


class CompiledSteps(LossProblem):
    """A stack of small linear nets that Adam trains on fixed probes, each for many steps at once.

    The state is that of the optimizer, to be saved and resumed as ever. Members are divided among the threads; the
    numbers of one depend neither on that nor on the others.

    Args:
        method: What is trained.
        threads: How many threads train, each a part of the members.
    """

    def __init__(self, method: Probed, threads: int) -> None:
        super().__init__(method)
        self._nets = method
        net = method.net
        self._layers = np.array(net.widths, dtype=np.int64)
        self._own = np.array(method.ranks, dtype=np.int64)
        self._members = method.probes.members.numpy()
        self._threads = threads
        self._cost = sum(weight.numel() for weight in net.weights) * 6 * method.probes.batch_size

    def advance_to(self, step: int, stop: int, active: Tensor) -> tuple[int, Tensor]:
        """Steps of Adam up to the end of the epoch at most, and the losses before the last of them."""
        method, probes, batch = self._nets, self._nets.probes, self._nets.probes.batch_size
        most = min(stop - step, max(1, int(_WORK * self._threads / self._cost)))
        optimizer = method.scheduled(step)
        (group,) = optimizer.param_groups
        if batch == probes.count:
            orders, count = torch.arange(batch).expand(len(probes.sets), -1), most
        else:
            orders = probes.order(step, most)
            count = -(-orders.shape[1] // batch)
        # One layout of the arrays, for which the loops are compiled once.
        orders = orders.contiguous()
        rates = np.full(count, group["lr"])
        if method.schedule is not None:
            rates[:] = [method.scheduled(each).param_groups[0]["lr"] for each in range(step, step + count)]
        states = [_state(optimizer, weight) for weight in group["params"]]
        done = int(states[0]["step"])
        small, large = (np.array([beta ** (done + each + 1) for each in range(count)]) for beta in group["betas"])
        kept: list[list[Tensor]] = [
            [weight.data for weight in group["params"]],
            *([state[name] for state in states] for name in ("exp_avg", "exp_avg_sq")),
        ]
        packed = [torch.cat([part.flatten(1) for part in parts], dim=1) for parts in kept]
        inputs, outputs = (part.contiguous() for part in method.examples())
        losses = torch.zeros_like(method.loss_unit)

        def train(members: NDArray[np.int64]) -> None:
            compiled(train_nets)(
                *(part.numpy() for part in packed),
                losses.numpy(),
                self._layers,
                np.array([method.net.bottleneck]),
                self._own,
                members,
                self._members,
                inputs.numpy(),
                outputs.numpy(),
                orders.numpy(),
                batch,
                rates / (1 - small),
                np.sqrt(1 - large),
                tuple(map(float, group["betas"])),
                float(group["eps"]),
                float(group["weight_decay"]),
            )

        _shared(train, active.numpy().nonzero()[0], self._threads)
        for parts, changed in zip(kept, packed, strict=True):
            sizes = [part[0].numel() for part in parts]
            for part, new in zip(parts, changed.split(sizes, dim=1), strict=True):
                part.copy_(new.view_as(part))
        for state in states:
            state["step"] += count
        return step + count, 2 * method.loss_unit * losses


def _hooks(owner: Bottleneck | Tensor) -> bool:
    names = ("_backward_hooks", "_post_accumulate_grad_hooks", "_backward_pre_hooks", "_forward_hooks")
    return any(getattr(owner, name, None) for name in (*names, "_forward_pre_hooks"))


def _state(optimizer: Adam, weight: Tensor) -> dict[str, Any]:
    state = optimizer.state[weight]
    if not state:
        # What Adam itself begins with.
        state["step"] = torch.zeros((), dtype=torch.float32)
        state["exp_avg"], state["exp_avg_sq"] = torch.zeros_like(weight.data), torch.zeros_like(weight.data)
    return state


def _shared(task: Callable[[NDArray[np.int64]], None], members: NDArray[np.int64], threads: int) -> None:
    parts = np.array_split(members, min(threads, max(1, len(members))))
    if len(parts) == 1:
        task(parts[0])
        return
    # The first call compiles, or reads what was compiled.
    with ThreadPoolExecutor(len(parts)) as pool:
        list(pool.map(task, parts))
