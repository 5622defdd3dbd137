"""Where an image set lives: on the device where it fits, else on the host."""

import torch

from p2be_exp.data.images import ImageSet

MAX_SHARE = 0.25  # of the free device memory: the rest is for the model, its activations and other sets


def place(data: ImageSet, device: torch.device) -> ImageSet:
    """The set on a CUDA device if that has room for it; else as it is, on the host.

    From the host, `ResidentLoader` copies batch by batch, through pinned memory.
    """
    if device.type != "cuda" or data.device == device:
        return data
    free_bytes, _ = torch.cuda.mem_get_info(device)
    return data.to(device) if fits(data.num_bytes, free_bytes) else data


def fits(num_bytes: int, free_bytes: int) -> bool:
    """Whether a set of `num_bytes` may be resident on a device with `free_bytes` of free memory."""
    return num_bytes <= MAX_SHARE * free_bytes
