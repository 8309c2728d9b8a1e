"""Torch twins of the gradient ops; see reference.py."""

import torch

from . import philox


def gradient_gram(gradients, half, gram):
    """Add X X^T to `gram`, float64 (n, n), in place; `half` allows less accuracy, unused here."""
    for block in gradients.split(1 << 16, dim=1):
        block = block.double()
        gram += block @ block.T


def gradient_gram_factors(outputs, inputs, half, gram):
    """Add <D_i A_i^T, D_j A_j^T> to `gram`, float64 (n, n), in place."""
    for rows in outputs.split(16, dim=1):
        built = torch.einsum("nop,nip->noi", rows.double(), inputs.double()).flatten(1)
        gram += built @ built.T


def gradient_sketch_sparse(gradients, seed, first, out):
    """Add signed coordinates to their buckets, float32 (n, k), in place."""
    step = 1 << 20
    for start in range(0, gradients.shape[1], step):
        block = gradients[:, start : start + step].float()
        drawn = philox.bucket_and_sign(seed, first + start, block.shape[1], out.shape[1])
        bucket, sign = (part.to(out.device) for part in drawn)
        out.index_add_(1, bucket, block * sign)


def gradient_sketch_fold(gradients, seed, first, folded):
    """Add signed coordinates, wrapped around the width of `folded`, float32 (n, size), in place."""
    size = folded.shape[1]
    step = 1 << 20
    for start in range(0, gradients.shape[1], step):
        block = gradients[:, start : start + step].float()
        sign = philox.coordinate_signs(seed, first + start, block.shape[1])
        position = (first + start + torch.arange(block.shape[1])) % size
        signed = block * sign.to(folded.device)
        folded.index_add_(1, position.to(folded.device), signed)


def gradient_sketch_hadamard(folded, chosen, scale):
    """Return chosen rows of the Walsh-Hadamard transform of each row, float32 (n, k)."""
    n, size = folded.shape
    values, half = folded.clone(), 1
    while half < size:
        pairs = values.view(n, -1, 2, half)
        values = torch.stack([pairs[:, :, 0] + pairs[:, :, 1], pairs[:, :, 0] - pairs[:, :, 1]], 2)
        half *= 2
    return values.reshape(n, size)[:, chosen] * scale


def gradient_sketch_dense(gradients, seed, first, p_total, normal, scale, half, out):
    """Add scale * X R^T to `out`, float32 (n, k), in place; R (k, p_total) is made row by row."""
    k, p = out.shape[1], gradients.shape[1]
    for row in range(k):
        if normal:
            blocks = torch.arange(first // 4, (first + p + 3) // 4)
            drawn = philox.words(seed, philox.DENSE, row * (-(-p_total // 4)) + blocks).reshape(-1)
            values = philox.gaussian(drawn[first % 4 :][:p])
        else:
            blocks = torch.arange(first // 128, (first + p + 127) // 128)
            drawn = philox.words(seed, philox.DENSE, row * (-(-p_total // 128)) + blocks)
            values = philox.to_signs(drawn).reshape(-1)[first % 128 :][:p]
        column = values.to(out.device)
        out[:, row] += scale * (gradients.double() @ column.double()).float()


def gradient_sketch_kronecker(outputs, inputs, k1, k2, k, seed):
    """Return the first k entries of (R1 D_i)(R2 A_i)^T / sqrt(k), float32 (n, k)."""
    device = outputs.device
    left = philox.sign_matrix(seed, philox.LEFT_FACTOR, k1, outputs.shape[1])
    right = philox.sign_matrix(seed, philox.RIGHT_FACTOR, k2, inputs.shape[1])
    small = left.to(device) @ outputs
    wide = right.to(device) @ inputs
    return (small @ wide.transpose(1, 2)).flatten(1)[:, :k] / k**0.5
