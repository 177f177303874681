"""Named, keyed random streams with three roots: server, client and world.

A stream is addressed by words and integers, `root.generator("shot-noise", layer, block)`. Its state is derived
from the root's entropy and the address by BLAKE2b, so that a stream does not depend on which other streams were
opened, in which order, by which thread or process. That is what makes runs resumable to the bit.

Two kinds of numbers come from a root:

* `generator` gives a `numpy.random.Generator` over SFC64, numpy's fastest bit generator for normals (see
  `benchmarks/`), for what physics draws: shot noise, amplifier noise, photon counts.
* `bits` gives choices that the other party must not be able to predict (which quadrature, which rows are
  counted), from SHAKE-256, which is cryptographic; SFC64 is not.
"""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

ENTROPY_BYTES = 32
_GENERATOR_WORDS = 8


def _address(purpose: str, key: tuple[int, ...]) -> bytes:
    """Unambiguous encoding of an address: length-prefixed purpose, then 8 bytes an integer."""
    name = purpose.encode()
    parts = [len(name).to_bytes(4, "little"), name]
    parts += [index.to_bytes(8, "little") for index in key]
    return b"".join(parts)


@dataclass(frozen=True, slots=True)
class Root:
    """The entropy of one party, from which all of its streams derive.

    `entropy` is 32 bytes; it is secret to its party and hidden from `repr`.
    """

    party: str
    entropy: bytes = field(repr=False)

    def __post_init__(self) -> None:
        if len(self.entropy) != ENTROPY_BYTES:
            raise ValueError(f"a root needs {ENTROPY_BYTES} bytes of entropy, got {len(self.entropy)}")

    def _digest(self, kind: bytes, purpose: str, key: tuple[int, ...], size: int) -> bytes:
        message = kind + _address(self.party, ()) + _address(purpose, key)
        return hashlib.blake2b(message, key=self.entropy, digest_size=size).digest()

    def generator(self, purpose: str, *key: int) -> np.random.Generator:
        """A generator for one purpose and key; the same address always gives the same stream."""
        words = np.frombuffer(self._digest(b"gen", purpose, key, 4 * _GENERATOR_WORDS), dtype="<u4")
        return np.random.Generator(np.random.SFC64(np.random.SeedSequence(words)))

    def bits(self, purpose: str, *key: int, count: int) -> NDArray[np.bool_]:
        """`count` fair bits that nobody without the entropy can predict; shape (count,)."""
        seed = self._digest(b"bit", purpose, key, 64)
        stream = hashlib.shake_256(seed).digest((count + 7) // 8)
        return np.unpackbits(np.frombuffer(stream, dtype=np.uint8), count=count).astype(np.bool_)

    def uniforms(self, purpose: str, *key: int, count: int) -> NDArray[np.float64]:
        """`count` numbers uniform in [0, 1) with 53 bits each, unpredictable like `bits`; shape (count,)."""
        seed = self._digest(b"uni", purpose, key, 64)
        words = np.frombuffer(hashlib.shake_256(seed).digest(8 * count), dtype="<u8")
        return (words >> np.uint64(11)).astype(np.float64) * 2.0**-53


@dataclass(frozen=True, slots=True)
class Roots:
    """The three roots of a run, which in a real bench live with three parties."""

    server: Root
    client: Root
    world: Root

    @classmethod
    def from_seed(cls, seed: int) -> Roots:
        """All three roots from one integer: for simulation only, and the record must say so."""
        if seed < 0:
            raise ValueError(f"a seed must not be negative, got {seed}")
        encoded = seed.to_bytes((seed.bit_length() + 7) // 8 or 1, "little")

        def root(party: str) -> Root:
            return Root(party, hashlib.blake2b(encoded, person=party.encode(), digest_size=ENTROPY_BYTES).digest())

        return cls(root("server"), root("client"), root("world"))

    @classmethod
    def from_system(cls) -> Roots:
        """Independent roots from the operating system's entropy."""
        return cls(*(Root(party, secrets.token_bytes(ENTROPY_BYTES)) for party in ("server", "client", "world")))
