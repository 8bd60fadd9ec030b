"""How much memory a training step takes, found out before the first one, and how much there is.

What grows with the batch is counted without computing anything: the networks run on torch's meta device,
where a tensor has a shape and no content, and every tensor that is kept for the gradient is added up.
"""

import resource
from pathlib import Path

import torch
from torch import Tensor

from training.models.vae import VAE

COPIES = 5
"""Of the weights: themselves, their gradient, two moments of the optimiser, their average."""
ALSO = 1.7
"""A step in units of what is kept for its gradient: gradients on their way, and what libraries hold."""
_CGROUP = Path("/sys/fs/cgroup")
_MEMINFO = Path("/proc/meminfo")
_STATUS = Path("/proc/self/status")


def bytes_of_weights(model: VAE) -> int:
    """What a training holds whatever its batch."""
    return COPIES * sum(parameter.nbytes for parameter in model.parameters())


def bytes_per_image(model: VAE) -> int:
    """What a step holds for each image of its batch; ``model`` lies on the meta device."""
    own = {_storage(parameter) for parameter in model.parameters()}
    kept: dict[int, Tensor] = {}

    def pack(tensor: Tensor) -> Tensor:
        kept[_storage(tensor)] = tensor  # held, so that no other storage gets its address
        return tensor

    image = torch.empty((1, *model.data_shape), device="meta")
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        mean, log_var = model.encoder(image)
        latent = mean + (0.5 * log_var).exp()
        logits = model.decoder(latent.expand(model.samples, *latent.shape[1:]))
        distortion = -model.likelihood.log_prob(image, logits).sum()
    sizes = [tensor.untyped_storage().nbytes() for storage, tensor in kept.items() if storage not in own]
    del distortion
    return round(ALSO * sum(sizes))


def _storage(tensor: Tensor) -> int:
    return int(tensor.untyped_storage()._cdata)


def free_bytes(device: torch.device) -> int | None:
    """That the device has left for this process, by all limits that are known; None where nothing is."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    known = [_of_machine(), _of_cgroup(_CGROUP), _of_process()]
    return min((max(0, size) for size in known if size is not None), default=None)


def _of_machine() -> int | None:
    kib = _field(_MEMINFO, "MemAvailable:")
    return None if kib is None else kib * 1024


def _of_cgroup(root: Path) -> int | None:
    """Version 2, then 1, as a container sees its own; file pages that nobody uses are as good as free."""
    for limit, used, idle in (
        ("memory.max", "memory.current", "inactive_file"),
        ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes", "total_inactive_file"),
    ):
        try:
            left = int((root / limit).read_text()) - int((root / used).read_text())
        except (OSError, ValueError):  # not that version, or "max"
            continue
        return left + (_field((root / limit).with_name("memory.stat"), idle) or 0)
    return None


def _of_process() -> int | None:
    """What ``ulimit -v`` leaves."""
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    used = _field(_STATUS, "VmSize:")
    return None if limit == resource.RLIM_INFINITY or used is None else limit - used * 1024


def _field(file: Path, name: str) -> int | None:
    """The number after a name at the beginning of a line."""
    try:
        for line in file.read_text().splitlines():
            words = line.split()
            if len(words) > 1 and words[0] == name:
                return int(words[1])
    except (OSError, ValueError):
        pass
    return None
