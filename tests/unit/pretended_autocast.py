"""CUDA's autocast for the pretended device: which operations it casts, and to what.

The operations are those of torch's documentation ("Autocast Op Reference", CUDA) that networks and
losses use. A cast of a weight is kept until the outermost autocast ends, as torch keeps it.
"""

from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.library import Library, fallthrough_kernel
from torch.utils._pytree import tree_leaves, tree_map

LOWER = ["conv1d", "conv2d", "conv3d", "linear", "matmul", "mm", "bmm", "mv", "addmm", "addmv"]
LOWER += ["addbmm", "baddbmm", "prelu", "scaled_dot_product_attention"]
SINGLE = ["exp", "log", "log1p", "expm1", "rsqrt", "reciprocal", "logsumexp", "softplus", "prod"]
SINGLE += ["softmax.int", "log_softmax.int", "layer_norm", "group_norm", "sum", "cumsum", "dist"]
SINGLE += ["sum.dim_IntList", "norm.Scalar", "norm.ScalarOpt_dim", "linalg_vector_norm"]
SINGLE += ["pow.Tensor_Scalar", "pow.Tensor_Tensor", "pow.Scalar", "cosine_similarity"]
SINGLE += ["mse_loss", "l1_loss", "smooth_l1_loss", "nll_loss", "kl_div", "cdist", "renorm"]
WIDEST = ["addcmul", "addcdiv", "cat", "stack", "dot", "cross", "bilinear", "index_put", "atan2"]

_KEY = torch._C.DispatchKeySet(torch._C.DispatchKey.AutocastPrivateUse1)
_KEY_NAME = "AutocastPrivateUse1"
_casts = Library("aten", "IMPL")
_others = Library("_", "IMPL")
_kept: dict[int, tuple[Tensor, Tensor]] = {}  # weights, by id, and their casts
_forget_all = torch.clear_autocast_cache


def register_autocast() -> None:
    """Let the PrivateUse1 backend cast, where autocast is on for it and for `cuda`."""
    _others.fallback(fallthrough_kernel, _KEY_NAME)
    for names, cast in ((LOWER, _lower), (SINGLE, _single), (WIDEST, _widest)):
        for name in names:
            _casts.impl(name, partial(_call, _operation(name), cast), _KEY_NAME)


def forget() -> None:
    """What torch does when the outermost autocast ends."""
    _kept.clear()
    _forget_all()


def _operation(name: str) -> Any:
    packet, _, overload = name.partition(".")
    return getattr(getattr(torch.ops.aten, packet), overload or "default")


def _call(operation, cast, *args, **kwargs):
    with torch._C._ExcludeDispatchKeyGuard(_KEY):
        if torch.is_autocast_enabled("cuda"):
            args, kwargs = cast((args, kwargs))
        return operation(*args, **kwargs)


def _is_castable(x: Any) -> bool:
    return isinstance(x, Tensor) and x.is_cuda and x.is_floating_point() and x.dtype != torch.double


def _lower(given):
    dtype = torch.get_autocast_dtype("cuda")
    return tree_map(lambda x: _kept_cast(x, dtype) if _is_castable(x) else x, given)


def _single(given):
    return tree_map(lambda x: x.float() if _is_castable(x) else x, given)


def _widest(given):
    kinds = {x.dtype for x in tree_leaves(given) if _is_castable(x)}
    return _single(given) if len(kinds) > 1 else given


def _kept_cast(x: Tensor, dtype: torch.dtype) -> Tensor:
    is_weight = x.requires_grad and x.is_leaf and x.dtype == torch.float32
    if x.dtype == dtype:
        return x
    if not is_weight or not torch.is_autocast_cache_enabled():
        return x.to(dtype)
    if id(x) not in _kept:
        _kept[id(x)] = (x, x.to(dtype))
    return _kept[id(x)][1]
