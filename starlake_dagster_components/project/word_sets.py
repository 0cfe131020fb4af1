"""Write long sets of words compactly."""


def split_words(text: str) -> frozenset[str]:
    """Return the words of a string that whitespace separates."""
    return frozenset(text.split())
