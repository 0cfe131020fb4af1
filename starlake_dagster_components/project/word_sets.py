"""Long sets of words, written as text."""


def split_words(text: str) -> frozenset[str]:
    """Return the set of words in a string separated by spaces."""
    return frozenset(text.split())
