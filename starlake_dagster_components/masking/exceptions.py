"""Mask the secrets in exceptions and their causes: Dagster stores the whole chain, and a parser's error contains the rejected text."""

import contextlib

from .known import mask_text


class Masked(Exception):
    """Replaces an exception whose text cannot be changed."""


def mask_exception(error: BaseException) -> None:
    """Hide the secrets in an exception, its causes, and the exceptions that were being handled when it was raised."""
    seen: set[int] = set()
    waiting: list[BaseException] = [error]
    while waiting:
        one = waiting.pop()
        if id(one) in seen:
            continue
        seen.add(id(one))
        _hide_arguments(one)
        cause, context = one.__cause__, one.__context__
        hidden = one.__suppress_context__
        if cause is not None:
            one.__cause__ = _replace_stubborn(cause)
        if context is not None:
            one.__context__ = _replace_stubborn(context)
        one.__suppress_context__ = hidden
        waiting += [other for other in (one.__cause__, one.__context__) if other is not None]
        waiting += [e for e in getattr(one, "exceptions", ()) if isinstance(e, BaseException)]


def _hide_arguments(error: BaseException) -> None:
    arguments = tuple(mask_text(a) if isinstance(a, str) else a for a in error.args)
    if arguments != error.args:
        error.args = arguments
    for name in ("description", "reason", "message", "filename", "__notes__"):
        value = error.__dict__.get(name)
        with contextlib.suppress(AttributeError, TypeError):
            if isinstance(value, str):
                setattr(error, name, mask_text(value))
            elif isinstance(value, list):
                setattr(error, name, [mask_text(v) if isinstance(v, str) else v for v in value])


def _replace_stubborn(error: BaseException) -> BaseException:
    """Return an exception, or a replacement if its text still contains secrets."""
    _hide_arguments(error)
    text = str(error)
    hidden = mask_text(text)
    if hidden == text:
        return error
    made = Masked(f"{type(error).__name__}: {hidden}").with_traceback(error.__traceback__)
    made.__cause__, made.__context__, made.__suppress_context__ = error.__cause__, error.__context__, error.__suppress_context__
    return made
