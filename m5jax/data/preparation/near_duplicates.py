"""Near-duplicates: MinHash signatures in bands to find candidates, exact Jaccard of word shingles to decide.

Broder 1997 (resemblance of documents), Indyk and Motwani 1998 (locality-sensitive hashing); as a step of preparing
training text: Lee et al. 2022, arXiv 2107.06499, appendix A. A signature of b bands of r minima puts two texts of
Jaccard similarity s into a common bucket with the probability 1 - (1 - s^r)^b.
"""

import dataclasses
import functools
import hashlib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from m5jax.data.preparation.normalize import split_words
from m5jax.errors import UserError

if TYPE_CHECKING:
    from datasketch import MinHash

_SEED = 1
# Two texts whose similarity is the threshold become candidates with at least this probability.
_RECALL = 0.995
_PERMUTATIONS_AT_ONCE = 4096
_WORD_HASHES = 1 << 17

# Sorted 64-bit hashes of a text's shingles, uint64 [n].
Shingles = np.ndarray


@dataclasses.dataclass(frozen=True)
class NearDuplicates:
    """What counts as a near-duplicate, and how it is looked for.

    Attributes:
        threshold: Jaccard similarity of two texts' sets of word shingles from which on they are near-duplicates.
        shingle_words: consecutive words in a shingle; a text with fewer is one shingle.
        permutations: minima that a signature may have: more find candidates with fewer false ones among them.
    """

    threshold: float = 0.8
    shingle_words: int = 3
    permutations: int = 128

    def __post_init__(self) -> None:
        if not 0.3 <= self.threshold <= 1.0:
            raise UserError(f"NearDuplicates.threshold = {self.threshold}; allowed: 0.3 to 1")
        if self.shingle_words < 1:
            raise UserError(f"NearDuplicates.shingle_words = {self.shingle_words}; allowed: 1 or more")
        if not 16 <= self.permutations <= 1024:
            raise UserError(f"NearDuplicates.permutations = {self.permutations}; allowed: 16 to 1024")

    @property
    def bands(self) -> tuple[int, int]:
        """Bands and rows a band: the most rows that find pairs at the threshold with a probability of 0.995 or more."""
        rows = _rows_a_band(self.threshold, self.permutations)
        return self.permutations // rows, rows

    def candidate_probability(self, similarity: float) -> float:
        """Returns the probability that two texts of this Jaccard similarity have a common bucket."""
        bands, rows = self.bands
        return 1.0 - (1.0 - similarity**rows) ** bands

    def shingles(self, text: str) -> Shingles:
        """Returns the shingles of a text; empty for one without words."""
        return shingle_hashes(split_words(text), self.shingle_words)

    def band_keys(self, shingles: Shingles, language: str) -> list[bytes]:
        """Returns the bucket of each band, 16 bytes each; texts of different languages share none."""
        bands, rows = self.bands
        signature = minhash_signature(shingles, bands * rows).reshape(bands, rows)
        return [
            hashlib.blake2b(band.tobytes(), digest_size=16, key=f"{language} {index}".encode()).digest()
            for index, band in enumerate(signature)
        ]


@functools.lru_cache(maxsize=16)
def _rows_a_band(threshold: float, permutations: int) -> int:
    # One row is always enough: 16 bands of it find 0.3 with 0.9967.
    return max(
        rows
        for rows in range(1, permutations + 1)
        if 1.0 - (1.0 - threshold**rows) ** (permutations // rows) >= _RECALL
    )


def shingle_hashes(words: Sequence[str], size: int) -> Shingles:
    """Returns the sorted distinct 64-bit hashes of all sequences of `size` words.

    A polynomial of the words' own 64-bit hashes: two different shingles share one with a probability of about 2^-64.
    """
    if not words:
        return np.zeros(0, np.uint64)
    hashes = np.fromiter(map(_word_hash, words), np.uint64, len(words))
    size = min(size, len(words))
    mixed = np.zeros(len(words) - size + 1, np.uint64)
    for offset in range(size):
        # An odd factor loses no bit; the shift keeps the order of the words from being a sum of products only.
        mixed = mixed * np.uint64(0x9E3779B97F4A7C15) + hashes[offset : offset + len(mixed)]
        mixed ^= mixed >> np.uint64(29)
    return np.unique(mixed)


@functools.lru_cache(maxsize=_WORD_HASHES)
def _word_hash(word: str) -> int:
    return int.from_bytes(hashlib.blake2b(word.encode("utf-8", errors="replace"), digest_size=8).digest(), "little")


def minhash_signature(shingles: Shingles, permutations: int) -> np.ndarray:
    """Returns the minima of the shingles, n of them, under so many permutations; uint64 [permutations]."""
    sketch = _empty_sketch(permutations).copy()
    for start in range(0, len(shingles), _PERMUTATIONS_AT_ONCE):
        sketch.update_batch(shingles[start : start + _PERMUTATIONS_AT_ONCE].tolist())
    return sketch.digest()


@functools.lru_cache(maxsize=4)
def _empty_sketch(permutations: int) -> "MinHash":
    from datasketch import MinHash

    # The shingles are hashes already.
    return MinHash(permutations, seed=_SEED, hashfunc=int, scheme="affine64")


def jaccard(left: Shingles, right: Shingles) -> float:
    """Returns the Jaccard similarity of two sorted arrays without repetitions."""
    if not len(left) or not len(right):
        return 0.0
    positions = np.searchsorted(right, left)
    common = int(np.count_nonzero(right[np.minimum(positions, len(right) - 1)] == left))
    return common / (len(left) + len(right) - common)


def later_duplicates(texts: Iterable[Shingles], threshold: float) -> Iterator[int]:
    """Yields the positions of texts that are near-duplicates of one before them that is not.

    Exact, and fast for any number of texts: two sets of similarity t share an element among the rarest
    n - ceil(t n) + 1 of each (prefix filtering: Chaudhuri, Ganti and Kaushik 2006; Bayardo, Ma and Srikant 2007), so
    that thousands that share a template and nothing else are never compared with each other.
    """
    sets = list(texts)
    values, counts = np.unique(np.concatenate([*sets, np.zeros(0, np.uint64)]), return_counts=True)
    kept_with: defaultdict[int, list[int]] = defaultdict(list)
    for position, shingles in enumerate(sets):
        frequency = counts[np.searchsorted(values, shingles)]
        # Python's integers: numpy's would be slower to look up.
        rarest = shingles[np.lexsort((shingles, frequency))][: _prefix(len(shingles), threshold)].tolist()
        candidates = {other for shingle in rarest for other in kept_with.get(shingle, ())}
        if any(jaccard(shingles, sets[other]) >= threshold for other in sorted(candidates)):
            yield position
        else:
            for shingle in rarest:
                kept_with[shingle].append(position)


def _prefix(size: int, threshold: float) -> int:
    # A product of floats may come out above the whole number that it is.
    return size - int(np.ceil(threshold * size - 1e-9)) + 1
