"""Sort strings in the iteration order of Scala's immutable hash map, in which dag-generate numbers inline crons."""

from collections.abc import Iterable

_BITS_PER_LEVEL = 5


def sort_as_scala(strings: Iterable[str]) -> list[str]:
    """Return strings, without duplicates, in the iteration order of Scala 2.13's ``immutable.HashMap``.

    The map is a trie over slices of five bits, lowest first. A node has the strings that are alone in their slice, then the subnodes,
    both in ascending order of their slices. Strings with equal hashes keep their order.

    Starlake: DagGenerateJob (``groupBy(_.schedule)``).
    """
    return _walk_trie([(_spread_bits(_hash_as_java(text)), text) for text in dict.fromkeys(strings)], 0)


def _walk_trie(entries: list[tuple[int, str]], shift: int) -> list[str]:
    if len({code for code, _ in entries}) <= 1:
        return [text for _, text in entries]
    slices: dict[int, list[tuple[int, str]]] = {}
    for code, text in entries:
        slices.setdefault((code >> shift) & 31, []).append((code, text))
    ordered = [slices[key] for key in sorted(slices)]
    alone = [group[0][1] for group in ordered if len(group) == 1]
    deeper = [text for group in ordered if len(group) > 1 for text in _walk_trie(group, shift + _BITS_PER_LEVEL)]
    return alone + deeper


def _hash_as_java(text: str) -> int:
    """Return Java's ``String.hashCode``, which is computed from UTF-16 code units, as an unsigned 32-bit number."""
    units = text.encode("utf-16-be", "surrogatepass")
    code = 0
    for index in range(0, len(units), 2):
        code = (31 * code + (units[index] << 8 | units[index + 1])) & 0xFFFFFFFF
    return code


def _spread_bits(code: int) -> int:
    """Spread the bits of a hash as ``scala.collection.Hashing.improve`` does."""
    mask = 0xFFFFFFFF
    code = (code + (~(code << 9) & mask)) & mask
    code ^= code >> 14
    code = (code + (code << 4)) & mask
    return code ^ (code >> 10)
