"""Counter-based random numbers in numpy: the same words as csrc/core/random.h."""

import numpy as np

SPARSE, HADAMARD_SIGNS, HADAMARD_ROWS, DENSE, LEFT_FACTOR, RIGHT_FACTOR = range(1, 7)
MASK = np.uint64(0xFFFFFFFF)
SHIFT = np.uint64(32)


def words(seed, stream, index):
    """Return four 32-bit words per index, uint32 (len(index), 4).

    Source:
        Philox4x32-10, Salmon et al., SC 2011.
    """
    index = np.asarray(index, dtype=np.uint64)
    c0, c1 = index & MASK, index >> SHIFT
    c2, c3 = np.full_like(index, stream), np.zeros_like(index)
    seed = int(seed) & (2**64 - 1)
    k0, k1 = seed & 0xFFFFFFFF, seed >> 32
    for _ in range(10):
        p0, p1 = np.uint64(0xD2511F53) * c0, np.uint64(0xCD9E8D57) * c2
        c0, c2 = (p1 >> SHIFT) ^ c1 ^ np.uint64(k0), (p0 >> SHIFT) ^ c3 ^ np.uint64(k1)
        c1, c3 = p1 & MASK, p0 & MASK
        k0, k1 = (k0 + 0x9E3779B9) & 0xFFFFFFFF, (k1 + 0xBB67AE85) & 0xFFFFFFFF
    return np.stack([c0, c1, c2, c3], axis=-1).astype(np.uint32)


def bucket_and_sign(seed, first, count, buckets):
    """Return the bucket (int64) and sign (float32) of coordinates first .. first + count - 1."""
    pair = np.arange(first // 2, (first + count + 1) // 2)
    drawn = words(seed, SPARSE, pair).reshape(-1, 2)[first % 2 :][:count]
    bucket = (drawn[:, 0].astype(np.uint64) * np.uint64(buckets)) >> SHIFT
    return bucket.astype(np.int64), np.where(drawn[:, 1] >> 31, -1.0, 1.0).astype(np.float32)


def _to_signs(drawn):
    bits = np.unpackbits(drawn.view(np.uint8), bitorder="little").reshape(*drawn.shape[:-1], -1)
    return np.where(bits, -1.0, 1.0).astype(np.float32)


def coordinate_signs(seed, first, count):
    """Return one sign per coordinate of the Hadamard sketch, float32 (count)."""
    block = np.arange(first // 128, (first + count + 127) // 128)
    return _to_signs(words(seed, HADAMARD_SIGNS, block)).reshape(-1)[first % 128 :][:count]


def sign_matrix(seed, stream, rows, columns):
    """Return a matrix of signs, float32 (rows, columns)."""
    blocks = -(-columns // 128)
    drawn = words(seed, stream, np.arange(rows * blocks)).reshape(rows, blocks, 4)
    return _to_signs(drawn).reshape(rows, blocks * 128)[:, :columns]


def _horner(coefficients, x):
    total = np.full_like(x, coefficients[0])
    for coefficient in coefficients[1:]:
        total = total * x + coefficient
    return total


def _minus_log(u):
    """Return -log(u) for u in (0, 1/2] with the operations of csrc/core/random.h."""
    mantissa, exponent = np.frexp(u)
    mantissa, exponent = mantissa * 2, exponent - 1
    large = mantissa > 1.4142135623730951
    mantissa, exponent = np.where(large, mantissa * 0.5, mantissa), exponent + large
    s = (mantissa - 1.0) / (mantissa + 1.0)
    series = [1 / 15, 1 / 13, 1 / 11, 1 / 9, 1 / 7, 1 / 5, 1 / 3, 1.0]
    return -(exponent * 0.6931471805599453 + 2.0 * s * _horner(series, s * s))


def gaussian(drawn):
    """Turn words into standard normal values, float32.

    Source:
        PPND7 of Wichura, Applied Statistics 37 (1988).
    """
    u = (drawn.astype(np.float64) + 0.5) * (1.0 / 4294967296.0)
    q = u - 0.5
    r = 0.180625 - q * q
    a = [5.9109374720e01, 1.5929113202e02, 5.0434271938e01, 3.3871327179e00]
    b = [6.7187563600e01, 7.8757757664e01, 1.7895169469e01, 1.0]
    central = q * _horner(a, r) / _horner(b, r)
    r = np.sqrt(_minus_log(np.where(q < 0, u, 1.0 - u)))
    c = [1.7023821103e-01, 1.3067284816e00, 2.7568153900e00, 1.4234372777e00]
    d = [1.2021132975e-01, 7.3700164250e-01, 1.0]
    near = _horner(c, r - 1.6) / _horner(d, r - 1.6)
    e = [1.7337203997e-02, 4.2868294337e-01, 3.0812263860e00, 6.6579051150e00]
    f = [1.2258202635e-02, 2.4197894225e-01, 1.0]
    tail = np.where(r <= 5.0, near, _horner(e, r - 5.0) / _horner(f, r - 5.0))
    tail = np.where(q < 0, -tail, tail)
    return np.where(np.abs(q) <= 0.425, central, tail).astype(np.float32)
