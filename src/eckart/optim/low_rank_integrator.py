"""Training of low-rank layers in the tangent space of the matrices of low rank, with ranks that adapt."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from eckart.linalg.svd import balance
from eckart.optim.rank_truncation import Spectrum, Tolerance, Truncation


class LowRankIntegrator(Optimizer):
    r"""Dynamical low-rank training: one gradient, augmented bases, a step between them, truncation.

    Every module of the model that has parameters ``left (…, m, k)`` and ``right (…, k, n)`` stands for
    ``W = left @ right = U S Vᵀ``, and no step forms a matrix m × n. One backward pass gives ``G V`` (the K-step) and
    ``Uᵀ G`` (the L-step), where G is the gradient by W. The bases are augmented by the directions of both to
    ``[U, U₂]`` and ``[V, V₂]`` by QR, S makes its step between them, of size 2k × 2k, and its SVD is truncated. The
    truncation keeps k, or what ``tolerance`` or ``truncation`` ask for, so a rank can fall, and grow up to twofold in
    a step. The momentum is a tangent vector too: each step carries it along by projection.

    The step before truncation is the step of the dense layer, projected onto the tangent space at W, whatever the
    singular values of W are: small ones neither slow it down nor make it unstable, which is what factors trained by
    gradient descent suffer from. Between steps ``left`` and ``right`` are balanced: their columns and rows are
    orthogonal, with the square roots of the singular values as norms. So do not change them by hand; what an optimizer
    of the same model has changed is balanced when this one is made.

    All other parameters of the model are trained by gradient descent with the same momentum.

    Args:
        model: A model, at least one of whose modules has ``left`` and ``right``. The attribute ``rank`` of such a
            module follows its factors.
        lr: Step.
        momentum: Share of the last direction that is kept, in [0, 1).
        decay: Decay of ``‖W‖²``, the Frobenius decay of Khodak et al.: W shrinks by ``lr · decay`` in a step. Other
            parameters with at least two axes decay as well.
        tolerance: Relative truncation error τ in (0, 1) of each layer in each step:
            :class:`~eckart.optim.rank_truncation.Tolerance`. None keeps the ranks.
        truncation: A rule for all layers together, such as
            :class:`~eckart.compression.joint_truncation.JointTruncation`; not together with ``tolerance``. The
            attribute of this name may be replaced between steps.
        memory: Share of the measured sensitivities that a step keeps; None measures none. This attribute may be
            replaced between steps as well.

    Raises:
        ValueError: If no module of the model has both factors, or a number is out of its range.

    Example:
        >>> from eckart.nn.low_rank_linear import LowRankLinear
        >>> _ = torch.manual_seed(0)
        >>> target = torch.randn(30, 3) @ torch.randn(3, 20)
        >>> layer = LowRankLinear(20, 30, rank=10, bias=False)
        >>> optimizer = LowRankIntegrator(layer, lr=0.5, momentum=0.0, tolerance=1e-3)
        >>> for _ in range(60):
        ...     optimizer.zero_grad()
        ...     loss = ((layer.left @ layer.right - target) ** 2).sum() / 2
        ...     loss.backward()
        ...     _ = optimizer.step()
        >>> layer.rank, loss.item() < 1e-3
        (3, True)

    References:
        Schotthöfer, Zangrando, Kusch, Ceruti & Tudisco, NeurIPS 2022 (dynamical low-rank training). Ceruti, Kusch &
        Lubich, SIAM J. Sci. Comput. 46(3), 2024 (K, L and S from one gradient). Schotthöfer, Zangrando, Ceruti,
        Tudisco & Kusch, ICLR 2025 (in training, with one backward pass). Schotthöfer, Klein & Kusch,
        arXiv:2506.17475, 2025 (momentum). Khodak, Tenenholtz, Mackey & Fusi, ICLR 2021 (Frobenius decay).
    """

    def __init__(
        self,
        model: nn.Module,
        lr: float = 0.1,
        *,
        momentum: float = 0.9,
        decay: float = 0.0,
        tolerance: float | None = None,
        truncation: Truncation | None = None,
        memory: float | None = None,
    ) -> None:
        for name, value in (("lr", lr), ("decay", decay)):
            if not value >= 0:
                raise ValueError(f"The {name} must not be negative. Found {value}.")
        if not 0 <= momentum < 1:
            raise ValueError(f"The momentum must satisfy 0 <= momentum < 1. Found {momentum}.")
        if memory is not None and not 0 <= memory < 1:
            raise ValueError(f"The memory must satisfy 0 <= memory < 1. Found {memory}.")
        if tolerance is not None and truncation is not None:
            raise ValueError("The ranks follow from a tolerance or from a truncation. Found both.")
        self.layers = low_rank_layers(model)
        if not self.layers:
            raise ValueError("The model must have a module with parameters left and right. Found none.")
        self.truncation = truncation if tolerance is None else Tolerance(tolerance)
        self.memory = memory
        pairs = [factor for layer in self.layers.values() for factor in (layer.left, layer.right)]
        taken = {id(factor) for factor in pairs}
        others = [p for p in model.parameters() if id(p) not in taken and p.requires_grad]
        groups = [{"params": pairs}, *([{"params": others}] if others else [])]
        super().__init__(groups, {"lr": lr, "momentum": momentum, "decay": decay})
        with torch.no_grad():
            for layer in self.layers.values():
                # Signs of singular vectors are arbitrary, and a state that is loaded later is relative to these.
                if not _is_balanced(layer.left, layer.right):
                    set_factors(layer, *balance(layer.left, layer.right))

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Take one step; a closure is called first, and its loss returned.

        Raises:
            FloatingPointError: If a gradient of a factor is not finite; nothing has changed then.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        moving = {path: layer for path, layer in self.layers.items() if _has_gradients(layer)}
        group = self.param_groups[0]
        steps = [self._augmented(path, layer, **_settings(group)) for path, layer in moving.items()]
        # A rule for all layers waits until all of them have a gradient.
        if self.truncation is None or len(moving) < len(self.layers):
            kept: Sequence[Any] = [slice(layer.left.shape[-1]) for layer in moving.values()]
        else:
            kept = self.truncation([Spectrum(_joined(step.s), step.sensitivities) for step in steps])
        for layer, step, places in zip(moving.values(), steps, kept, strict=True):
            self._truncate(layer, step, places)
        for other in self.param_groups[1:]:
            self._descend(other["params"], **_settings(other))
        return loss

    @torch.no_grad()
    def truncate(self, truncation: Truncation) -> None:
        """Truncate the layers as they are, without a step.

        Args:
            truncation: The rule.
        """
        spectra = []
        for layer in self.layers.values():
            values = _joined(layer.left.square().sum(-2))
            measured = self.state[layer.left].get("sensitivities")
            spectra.append(Spectrum(values, torch.zeros_like(values) if measured is None else measured))
        for layer, places in zip(self.layers.values(), truncation(spectra), strict=True):
            state = self.state[layer.left]
            for name, axis in (("left", -1), ("right", -2), ("sensitivities", -1)):
                if name in state:
                    state[name] = state[name].index_select(axis, torch.tensor(places, device=state[name].device))
            set_factors(layer, layer.left[..., :, places], layer.right[..., places, :])

    def _augmented(self, path: str, layer: Any, lr: float, momentum: float, decay: float) -> "_Step":
        """The step of S between the augmented bases, decomposed."""
        left, right = layer.left, layer.right.mT
        k = left.shape[-1]
        # The norm of a column of either factor is the root of its singular value. A pair that is zero has no direction.
        root = left.norm(dim=-2, keepdim=True)
        inverse = torch.where(root > 0, 1 / root, 0)
        u, v = left * inverse, right * inverse
        state = self.state[layer.left]
        k_step, l_step = layer.left.grad * inverse, layer.right.grad.mT * inverse
        changes = None if self.memory is None else root.square() * (u * k_step).sum(-2, keepdim=True)
        if momentum and "left" in state:
            k_step = k_step.add(state["left"], alpha=momentum)
            l_step = l_step.add(state["right"].mT, alpha=momentum)
        bases, corners = [], []
        for basis, direction in ((u, k_step), (v, l_step)):
            q, r = torch.linalg.qr(torch.cat([basis, direction], dim=-1))
            bases.append(q)
            corners.append((r[..., :k], r[..., k:]))
        (u_part, k_part), (v_part, l_part) = corners
        # The projection of the direction D onto the tangent space, D V Vᵀ + U Uᵀ D − U Uᵀ D V Vᵀ, in these bases.
        tangent = k_part @ v_part.mT + u_part @ (l_part - v_part @ (k_step.mT @ u)).mT
        core = (u_part * (root.square() * (1 - lr * decay))) @ v_part.mT - lr * tangent
        if not core.isfinite().all():
            raise FloatingPointError(f"The gradient must be finite. Found NaN or infinity in {path or 'the model'}.")
        p, s, qh = _svd(core)
        sensitivities = s.new_zeros(s.shape[-1])
        if changes is not None:
            # A singular vector of the new core is as sensitive as the old ones that it is made of.
            parts = (u_part.mT @ p).square().reshape(-1, k, s.shape[-1]).mean(0)
            sensitivities = self._measured(layer, changes) @ parts
        return _Step(bases[0], bases[1], tangent, p, s, qh, sensitivities)

    def _measured(self, layer: Any, changes: Tensor) -> Tensor:
        """The running mean of the squared first-order changes ``(…, 1, k)`` of the loss, of each singular value."""
        change = changes.reshape(-1, changes.shape[-1]).sum(0).square()
        before = self.state[layer.left].get("sensitivities")
        assert self.memory is not None
        return change if before is None else before.lerp(change, 1 - self.memory)

    def _truncate(self, layer: Any, step: "_Step", places: Any) -> None:
        """Keep some of the singular values, and what the direction looks like from there."""
        rows, columns = step.p[..., :, places], step.qh[..., places, :].mT
        root = step.s[..., None, places].sqrt()
        set_factors(layer, (step.u @ rows) * root, ((step.v @ columns) * root).mT.contiguous())
        state = self.state[layer.left]
        state.pop("sensitivities", None)
        if self.memory is not None:
            state["sensitivities"] = step.sensitivities[places]
        if self.param_groups[0]["momentum"]:
            state["left"] = step.u @ (step.tangent @ columns)
            state["right"] = (step.v @ (step.tangent.mT @ rows)).mT.contiguous()

    def _descend(self, parameters: Sequence[nn.Parameter], lr: float, momentum: float, decay: float) -> None:
        moving: list[Tensor] = [parameter for parameter in parameters if parameter.grad is not None]
        if not moving:
            return
        directions: list[Tensor] = [parameter.grad for parameter in moving]  # type: ignore[misc]
        if momentum:
            for parameter in moving:
                self.state[parameter].setdefault("direction", torch.zeros_like(parameter))
            buffers = [self.state[parameter]["direction"] for parameter in moving]
            torch._foreach_mul_(buffers, momentum)
            torch._foreach_add_(buffers, directions)
            directions = buffers
        weights = [parameter for parameter in moving if parameter.ndim > 1]
        if decay and weights:
            torch._foreach_mul_(weights, 1 - lr * decay)
        torch._foreach_add_(moving, directions, alpha=-lr)


class _Step(NamedTuple):
    # Augmented bases, the direction between them, the SVD of the new core, and the sensitivities to its values.
    u: Tensor
    v: Tensor
    tangent: Tensor
    p: Tensor
    s: Tensor
    qh: Tensor
    sensitivities: Tensor


def low_rank_layers(model: nn.Module) -> dict[str, Any]:
    """Modules of a model that have parameters ``left`` and ``right``, by their paths.

    Example:
        >>> from eckart.nn.low_rank_linear import LowRankLinear
        >>> list(low_rank_layers(nn.Sequential(nn.Linear(3, 2), LowRankLinear(2, 2, rank=1))))
        ['1']
    """
    return {
        path: module
        for path, module in model.named_modules()
        if all(isinstance(getattr(module, side, None), nn.Parameter) for side in ("left", "right"))
    }


@torch.no_grad()
def set_factors(layer: Any, left: Tensor, right: Tensor) -> None:
    """Give a layer other factors, of any rank; the parameters stay the same objects, and ``layer.rank`` follows.

    Args:
        layer: Module with parameters ``left (…, m, k)`` and ``right (…, k, n)``.
        left: Shape ``(…, m, r)``.
        right: Shape ``(…, r, n)``.
    """
    _set(layer.left, left)
    _set(layer.right, right)
    if hasattr(layer, "rank"):
        layer.rank = left.shape[-1]


def _has_gradients(layer: Any) -> bool:
    return layer.left.grad is not None and layer.right.grad is not None


def _is_balanced(left: Tensor, right: Tensor) -> bool:
    values = left.square().sum(-2)
    near = torch.finfo(left.dtype).eps ** 0.5 * float(values.max())
    grams = (left.mT @ left, right @ right.mT)
    return all(bool((gram - torch.diag_embed(values)).abs().max() <= near) for gram in grams)


def _settings(group: dict[str, Any]) -> dict[str, float]:
    return {name: group[name] for name in ("lr", "momentum", "decay")}


def _joined(values: Tensor) -> Tensor:
    # Groups of a convolution share a rank: the energy that a rank holds is that of all groups.
    return values.reshape(-1, values.shape[-1]).square().sum(0).sqrt()


def _svd(core: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    # Small, so double precision costs little; in single, LAPACK's divide and conquer has failed on such cores.
    exact = (core.cpu() if core.device.type == "mps" else core).double()
    p, s, qh = torch.linalg.svd(exact, full_matrices=False)
    return p.to(core), s.to(core), qh.to(core)


def _set(parameter: nn.Parameter, value: Tensor) -> None:
    if parameter.shape == value.shape:
        parameter.copy_(value)
        return
    parameter.grad = None
    # A graph that is still alive, such as that of the last loss, keeps what autograd knows of the parameter's shape.
    # Data of another type make it forget.
    other = torch.float32 if value.dtype == torch.float16 else torch.float16
    parameter.data = value.new_empty(0, dtype=other)
    parameter.data = value
