"""Counter-based random numbers in torch: the same words as csrc/core/random.h.

A word of 32 bits is held in int64, whose products torch takes modulo 2^64 as C++ does.
"""

import torch

SPARSE, HADAMARD_SIGNS, HADAMARD_ROWS, DENSE, LEFT_FACTOR, RIGHT_FACTOR = range(1, 7)
MASK = 0xFFFFFFFF


def words(seed, stream, index):
    """Return four 32-bit words per index, int64 (len(index), 4).

    Args:
        seed: Integer; its lowest 64 bits count.
        stream: Which of the streams above.
        index: Positions from 0, int64.

    Source:
        Philox4x32-10, Salmon et al., SC 2011.
    """
    c0, c1 = index & MASK, index >> 32
    c2, c3 = torch.full_like(index, stream), torch.zeros_like(index)
    k0, k1 = int(seed) & MASK, (int(seed) >> 32) & MASK
    for _ in range(10):
        p0, p1 = 0xD2511F53 * c0, 0xCD9E8D57 * c2
        c0, c2 = (p1 >> 32) & MASK ^ c1 ^ k0, (p0 >> 32) & MASK ^ c3 ^ k1
        c1, c3 = p1 & MASK, p0 & MASK
        k0, k1 = (k0 + 0x9E3779B9) & MASK, (k1 + 0xBB67AE85) & MASK
    return torch.stack([c0, c1, c2, c3], dim=-1)


def bucket_and_sign(seed, first, count, buckets):
    """Return the bucket (int64) and sign (float32) of coordinates first .. first + count - 1."""
    pair = torch.arange(first // 2, (first + count + 1) // 2)
    drawn = words(seed, SPARSE, pair).reshape(-1, 2)[first % 2 :][:count]
    return (drawn[:, 0] * buckets) >> 32, 1.0 - 2.0 * (drawn[:, 1] >> 31).float()


def to_signs(drawn):
    """Turn words (..., w) into one sign per bit, lowest first, float32 (..., 32 w)."""
    bits = (drawn[..., None] >> torch.arange(32)) & 1
    return 1.0 - 2.0 * bits.flatten(-2).float()


def coordinate_signs(seed, first, count):
    """Return one sign per coordinate of the Hadamard sketch, float32 (count)."""
    block = torch.arange(first // 128, (first + count + 127) // 128)
    return to_signs(words(seed, HADAMARD_SIGNS, block)).reshape(-1)[first % 128 :][:count]


def sign_matrix(seed, stream, rows, columns):
    """Return a matrix of signs, float32 (rows, columns)."""
    blocks = -(-columns // 128)
    drawn = words(seed, stream, torch.arange(rows * blocks)).reshape(rows, blocks * 4)
    return to_signs(drawn)[:, :columns]


def _horner(coefficients, x):
    total = torch.full_like(x, coefficients[0])
    for coefficient in coefficients[1:]:
        total = total * x + coefficient
    return total


def _minus_log(u):
    """Return -log(u) for u in (0, 1/2] with the operations of csrc/core/random.h."""
    mantissa, exponent = torch.frexp(u)
    mantissa, exponent = mantissa * 2, exponent.double() - 1
    large = mantissa > 1.4142135623730951
    mantissa, exponent = torch.where(large, mantissa * 0.5, mantissa), exponent + large
    s = (mantissa - 1.0) / (mantissa + 1.0)
    series = [1 / 15, 1 / 13, 1 / 11, 1 / 9, 1 / 7, 1 / 5, 1 / 3, 1.0]
    return -(exponent * 0.6931471805599453 + 2.0 * s * _horner(series, s * s))


def gaussian(drawn):
    """Turn words into standard normal values, float32.

    Source:
        PPND7 of Wichura, Applied Statistics 37 (1988).
    """
    u = (drawn.double() + 0.5) * (1.0 / 4294967296.0)
    q = u - 0.5
    r = 0.180625 - q * q
    a = [5.9109374720e01, 1.5929113202e02, 5.0434271938e01, 3.3871327179e00]
    b = [6.7187563600e01, 7.8757757664e01, 1.7895169469e01, 1.0]
    central = q * _horner(a, r) / _horner(b, r)
    r = torch.sqrt(_minus_log(torch.where(q < 0, u, 1.0 - u)))
    c = [1.7023821103e-01, 1.3067284816e00, 2.7568153900e00, 1.4234372777e00]
    d = [1.2021132975e-01, 7.3700164250e-01, 1.0]
    near = _horner(c, r - 1.6) / _horner(d, r - 1.6)
    e = [1.7337203997e-02, 4.2868294337e-01, 3.0812263860e00, 6.6579051150e00]
    f = [1.2258202635e-02, 2.4197894225e-01, 1.0]
    tail = torch.where(r <= 5.0, near, _horner(e, r - 5.0) / _horner(f, r - 5.0))
    tail = torch.where(q < 0, -tail, tail)
    return torch.where(torch.abs(q) <= 0.425, central, tail).float()
