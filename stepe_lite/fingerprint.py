"""What identifies a run: short digests of its data and network, and a rule's text. A checkpoint is checked by these."""

import hashlib
import re

import torch


def data(dataset):
    """Digest of all images and labels of a Dataset, also of those that are only scored with."""
    digest = hashlib.sha256()
    for name in ("images", "labels", "clean_labels", "test_images", "test_labels"):
        part = getattr(dataset, name)
        digest.update(b"" if part is None else part.contiguous().numpy())
    return digest.hexdigest()[:16]


def network(net):
    """Digest of the architecture and the present weights of an nn.Module."""
    digest = hashlib.sha256(repr(net).encode())
    for name, value in net.state_dict().items():
        digest.update(name.encode() + value.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:16]


def rule(rule):
    """How a rule prints, without the address that functions and plain objects print: it differs in every process."""
    return re.sub(r" at 0x[0-9a-f]+", "", repr(rule))
