"""Adam on all parameters as one vector, and parameters that change their shape."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

# what takes the place of a parameter, and how a tensor that belongs to it, entry by entry, is carried over
Replacements = Mapping[nn.Parameter, tuple[nn.Parameter, Callable[[Tensor], Tensor]]]

Gradients = Mapping[Tensor, Tensor | None]
"""Of a loss with respect to parameters; None or missing where it does not depend on one."""


def replace_parameters(optimizer: torch.optim.Optimizer, replacements: Replacements) -> None:
    """Let an optimiser go on with other parameters in place of some of its own, its averages carried over.

    Args:
        optimizer: any that keeps numbers for each entry of a parameter in tensors of the parameter's shape.
        replacements: for each old parameter the new one, and a function from such a tensor to that of the new one.

    Raises:
        ValueError: the optimiser does not hold one of the old parameters.
    """
    held = optimizer.views if isinstance(optimizer, FlatAdam) else _parameters(optimizer)
    if not set(replacements) <= set(held):
        raise ValueError("the optimiser does not hold the parameters that are replaced; pass the one that trains them")
    if isinstance(optimizer, FlatAdam):
        optimizer.replace(replacements)
        return
    for group in optimizer.param_groups:
        group["params"] = [replacements[old][0] if old in replacements else old for old in group["params"]]
    for old, (new, carry) in replacements.items():
        if old in optimizer.state:
            kept = optimizer.state.pop(old)
            optimizer.state[new] = {
                name: carry(value) if isinstance(value, Tensor) and value.shape == old.shape else value
                for name, value in kept.items()
            }


def _parameters(optimizer: torch.optim.Optimizer) -> list[nn.Parameter]:
    return [parameter for group in optimizer.param_groups for parameter in group["params"]]


class FlatAdam(torch.optim.Adam):
    """Adam, with the parameters and their gradients turned into views of one vector each.

    Element by element the update is Adam's, but for a parameter without a gradient, whose gradient counts as zero. At
    small minibatches the time to clear, clip and apply gradients goes with the number of tensors, and here that is one.

    Args:
        params: the parameters, of one dtype and on one device.
        lr, **options: as ``torch.optim.Adam``.
    """

    def __init__(self, params: Iterable[nn.Parameter], lr: float | Tensor = 1e-3, **options: Any) -> None:
        self.views = list(params)
        super().__init__([nn.Parameter(self.views[0].new_empty(0))], lr, **options)
        self._join()
        self._register_hooks()

    @property
    def vector(self) -> nn.Parameter:
        """All parameters ``[P]``; its gradient holds theirs from :meth:`zero_grad` or :meth:`descend` on."""
        return self.param_groups[0]["params"][0]

    def zero_grad(self, set_to_none: bool = False) -> None:
        """Set all gradients to zero; they stay views, whatever ``set_to_none``."""
        self._join()
        assert self.vector.grad is not None
        self.vector.grad.zero_()
        self._share_gradients()

    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """One update, as Adam's; ``closure`` evaluates the loss anew and is called first."""
        if closure is not None or not self._is_common():
            return super().step(closure)
        self._update()
        return None

    def descend(self, gradients: Gradients, max_norm: float) -> None:
        """One update along a gradient, scaled down to a norm of ``max_norm`` where it is longer.

        What ``zero_grad``, ``backward()``, ``torch.nn.utils.clip_grad_norm_`` and ``step`` do to the parameters: at small
        minibatches adding to zeros, tensor by tensor, and telling torch's profiler of a step take longer than the update.
        A parameter without a gradient has that of zero.
        """
        self._join()
        if self.views[0].grad is not self.gradients[0]:
            self._share_gradients()
        gradient = self.vector.grad
        assert gradient is not None
        given = {i: own for i, view in enumerate(self.views) if (own := gradients.get(view)) is not None}
        if len(given) < len(self.views):
            gradient.zero_()
        torch._foreach_copy_([self.gradients[i] for i in given], list(given.values()))
        norm = torch.linalg.vector_norm(gradient).item() + 1e-6
        if norm > max_norm:
            gradient.mul_(max_norm / norm)
        if not self._is_common():
            self.step()
            return
        self._update()
        for hook in self._optimizer_step_post_hooks.values():
            hook(self, (), {})

    def _is_common(self) -> bool:
        """Whether Adam's averages exist and its options are those of :meth:`_update`."""
        group = self.param_groups[0]
        unusual = not group["fused"] or group["amsgrad"] or group["decoupled_weight_decay"]
        return bool(self.state[self.vector]) and not unusual

    @torch.no_grad()
    def _update(self) -> None:
        """Adam's update alone: its bookkeeping of many parameters would take as long as its arithmetic on this one."""
        group, state = self.param_groups[0], self.state[self.vector]
        state["step"] += 1
        beta1, beta2 = group["betas"]
        torch._fused_adam_(
            [self.vector],
            [self.vector.grad],  # type: ignore[list-item]
            [state["exp_avg"]],
            [state["exp_avg_sq"]],
            [],
            [state["step"]],
            lr=group["lr"],
            beta1=beta1,
            beta2=beta2,
            weight_decay=group["weight_decay"],
            eps=group["eps"],
            amsgrad=False,
            maximize=group["maximize"],
        )

    def replace(self, replacements: Replacements) -> None:
        """Go on with other parameters, as :func:`replace_parameters` says."""
        sizes = [view.numel() for view in self.views]
        moments = self.state[self.vector]
        for name, moment in moments.items():
            if moment.shape == self.vector.shape:
                parts = zip(self.views, moment.split(sizes), strict=True)
                moments[name] = torch.cat([_carried(view, part, replacements).flatten() for view, part in parts])
        self.views = [replacements[view][0] if view in replacements else view for view in self.views]
        self._gather()

    def _join(self) -> None:
        """Make the parameters views again, where a copy or a move to another device gave them memory of their own."""
        if self.views[0].data_ptr() != self.vector.data_ptr():
            self._gather()

    def _gather(self) -> None:
        self.vector.data = torch.cat([view.detach().flatten() for view in self.views])
        self.vector.grad = torch.zeros_like(self.vector)
        sizes = [view.numel() for view in self.views]
        for view, values in zip(self.views, self.vector.detach().split(sizes), strict=True):
            view.data = values.view_as(view)
        parts = zip(self.vector.grad.split(sizes), self.views, strict=True)
        self.gradients = [gradient.view_as(view) for gradient, view in parts]

    def _share_gradients(self) -> None:
        """Let the gradient of each parameter be its part of the vector's."""
        for view, gradient in zip(self.views, self.gradients, strict=True):
            view.grad = gradient

    def _collect(self, *_: Any) -> None:
        """Copy the gradients that are not views, as after a module's own ``zero_grad``."""
        self._join()
        for view, gradient in zip(self.views, self.gradients, strict=True):
            if view.grad is None:
                gradient.zero_()
            elif view.grad is not gradient:
                gradient.copy_(view.grad)

    def __getstate__(self) -> dict[str, Any]:
        return super().__getstate__() | {"views": self.views}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        if not self._optimizer_step_pre_hooks:  # a copy starts without hooks
            self._register_hooks()

    def _register_hooks(self) -> None:
        self.register_step_pre_hook(self._collect)
        self.register_step_post_hook(self._count_versions)

    def _count_versions(self, *_: Any) -> None:
        """Tell those who keep what they computed from a parameter that it has changed: the vector was written, not the view."""
        torch.autograd.graph.increment_version(self.views)


def _carried(view: nn.Parameter, part: Tensor, replacements: Replacements) -> Tensor:
    return replacements[view][1](part.view_as(view)) if view in replacements else part
