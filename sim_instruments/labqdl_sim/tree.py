"""Header patterns as manuals print them, expanded once per class into a tree of keywords.

`SENSe:POWer[:DC]:RANGe[:UPPer]`: capitals are the short form, brackets may be left out, `<n>` is a numeric suffix
(1 when it is left out). A header matches in the short or the long form, in any case; `prefixes` admits everything
between the two.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any, NamedTuple

_TOKEN = re.compile(r"\[|\]|:|(?P<word>\*?[A-Za-z][A-Za-z0-9_]*)(?:<(?P<suffix>[a-z_]\w*)>)?")
_SHORT = re.compile(r"\*?[A-Z0-9_]+")
_NUMBERED = re.compile(r"(.*?[A-Z_])(\d+)$")
_CACHE_LIMIT = 20_000


@dataclass(frozen=True, slots=True)
class Keyword:
    """One keyword of a pattern: short and long form in capitals, name of its numeric suffix if it takes one."""

    short: str
    long: str
    suffix: str | None


def keyword_forms(word: str) -> tuple[str, str]:
    """Short and long form of a word in manual notation: ("RANG", "RANGE") of "RANGe"."""
    match = _SHORT.match(word)
    if match is None:
        raise ValueError(f"{word!r} has no capitals to mark its short form")
    return match.group(), word.upper()


def expand(pattern: str) -> list[list[Keyword]]:
    """All spellings of a pattern as lists of keywords (ValueError when it is malformed)."""
    position = 0

    def sequence(depth: int) -> list[list[Keyword]]:
        nonlocal position
        spellings: list[list[Keyword]] = [[]]
        while position < len(pattern):
            match = _TOKEN.match(pattern, position)
            if match is None:
                raise ValueError(f"pattern {pattern!r} at {pattern[position:]!r}")
            position = match.end()
            if match.group() == "[":
                inner = sequence(depth + 1)
                spellings = [left + right for left in spellings for right in ([], *inner)]
            elif match.group() == "]":
                if depth == 0:
                    raise ValueError(f"pattern {pattern!r} closes a bracket it never opened")
                return spellings
            elif match.group() != ":":
                short, long = keyword_forms(match["word"])
                spellings = [[*left, Keyword(short, long, match["suffix"])] for left in spellings]
        if depth:
            raise ValueError(f"pattern {pattern!r} leaves a bracket open")
        return spellings

    return sequence(0)


def suffix_names(pattern: str) -> tuple[str, ...]:
    """Names of the numeric suffixes of a pattern, in order."""
    return tuple(match["suffix"] for match in _TOKEN.finditer(pattern) if match["suffix"])


class Found(NamedTuple):
    """What a header leads to: target, values and names of its numeric suffixes, the header in its long form."""

    target: Any
    suffixes: tuple[int, ...]
    names: tuple[str, ...]
    header: str


@dataclass(slots=True)
class _Node:
    long: str = ""
    plain: dict[str, _Node] = field(default_factory=dict)
    numbered: dict[str, _Node] = field(default_factory=dict)
    leaves: dict[bool, tuple[Any, tuple[str, ...], tuple[str, ...]]] = field(default_factory=dict)


class Tree:
    """Targets by header, for sets and queries apart. Later additions of one header replace earlier ones."""

    def __init__(self, prefixes: bool = False) -> None:
        self._root = _Node()
        self._prefixes = prefixes
        self._found: dict[str, Found | None] = {}

    def add(self, pattern: str, target: Any) -> None:
        """Register a target; a pattern that ends in ? is a query."""
        query = pattern.endswith("?")
        names = suffix_names(pattern)
        for spelling in expand(pattern.rstrip("?")):
            if not spelling:
                continue
            node = self._root
            for keyword in spelling:
                branch = node.numbered if keyword.suffix else node.plain
                child = branch.get(keyword.long) or branch.get(keyword.short) or _Node(keyword.long)
                for form in self._forms(keyword):
                    branch.setdefault(form, child)
                node = branch[keyword.long]
            node.leaves[query] = (target, names, tuple(word.suffix for word in spelling if word.suffix))
        self._found.clear()

    def remove(self, pattern: str) -> None:
        """Forget a header and everything below it."""
        for spelling in expand(pattern):
            node: _Node | None = self._root
            for keyword in spelling[:-1]:
                node = None if node is None else (node.numbered if keyword.suffix else node.plain).get(keyword.long)
            if node is not None and spelling:
                branch = node.numbered if spelling[-1].suffix else node.plain
                for form in self._forms(spelling[-1]):
                    branch.pop(form, None)
        self._found.clear()

    def _forms(self, keyword: Keyword) -> list[str]:
        if not self._prefixes:
            return [keyword.long, keyword.short]
        return [keyword.long[:n] for n in range(len(keyword.long), len(keyword.short) - 1, -1)]

    def find(self, header: str) -> Found | None:
        """What an absolute header without its leading colon leads to; None: nothing."""
        try:
            return self._found[header]
        except KeyError:
            pass
        query = header.endswith("?")
        words = header.rstrip("?").upper().split(":")
        found = self._descend(self._root, words, (), (), query)
        if len(self._found) < _CACHE_LIMIT:
            self._found[header] = found
        return found

    def _descend(
        self, node: _Node, words: list[str], given: tuple[int, ...], path: tuple[str, ...], query: bool
    ) -> Found | None:
        if not words:
            leaf = node.leaves.get(query)
            if leaf is None:
                return None
            target, names, present = leaf
            values = dict(zip(present, given, strict=True))
            return Found(target, tuple(values.get(name, 1) for name in names), names, ":".join(path))
        word, rest = words[0], words[1:]
        if word in node.plain:
            child = node.plain[word]
            found = self._descend(child, rest, given, (*path, child.long), query)
            if found is not None:
                return found
        if word in node.numbered:
            child = node.numbered[word]
            found = self._descend(child, rest, (*given, 1), (*path, child.long), query)
            if found is not None:
                return found
        match = _NUMBERED.match(word)
        if match is not None and match[1] in node.numbered and len(match[2]) < 10:
            child = node.numbered[match[1]]
            return self._descend(child, rest, (*given, int(match[2])), (*path, child.long + match[2]), query)
        return None
