"""The replacement of secrets in strings and exceptions."""

import logging
from typing import Any

import pytest

from starlake_dagster_components.masking import (
    Mask,
    forget_secrets,
    mask_data,
    mask_exception,
    mask_text,
    register_secret_names,
    register_secrets,
)
from starlake_dagster_components.masking.exceptions import Masked
from starlake_dagster_components.masking.known import build_mask, holds_secrets
from starlake_dagster_components.masking.mask import is_word
from starlake_dagster_components.masking.values import find_secrets


@pytest.fixture
def known() -> str:
    register_secrets("/project", "variables", {"API_TOKEN": "abc-123-def"})
    return "abc-123-def"


@pytest.mark.parametrize(
    ("secret", "text", "shown"),
    [
        ("orders", "orders_2026.csv orders x/orders", "orders_2026.csv *** x/***"),
        ("ordersorders", "ordersorders_2026.csv", "***_2026.csv"),
        ("ordersorder", "ordersorder_2026.csv", "ordersorder_2026.csv"),
        ("123456", "0123456 1234567 123456", "0123456 1234567 ***"),
        ("12ab56", "x12ab567", "x***7"),
        ("a.b.", "a.b. axbx", "*** axbx"),
    ],
)
def test_secret_words_are_hidden_only_as_whole_words(secret: str, text: str, shown: str) -> None:
    assert Mask(secrets=[secret])(text) == shown


@pytest.mark.parametrize(
    ("secret", "word"), [("orders", True), ("123456", True), ("12ab56", False), ("or-ders", False), ("a" * 11, True), ("a" * 12, False)]
)
def test_secrets_of_only_letters_or_digits_are_words(secret: str, word: bool) -> None:
    assert is_word(secret) is word


def test_longer_secrets_are_hidden_first() -> None:
    assert Mask(secrets=["ab-1", "ab-1-cd", "xab-1-cd"])("xab-1-cd ab-1-cd ab-1") == "*** *** ***"


def test_a_mask_without_secrets_hides_what_looks_like_one() -> None:
    assert Mask()("a b --password c") == "a b --password ***"


def test_a_mask_hides_additional_secrets(known: str) -> None:
    register_secret_names("/project", ["pin"])
    mask = build_mask({"DB_PASSWORD": "other-1"}, {"PIN": "55-66"})
    assert mask(f"{known} other-1 55-66") == "*** *** ***"
    assert mask_text(f"{known} other-1 55-66") == "*** other-1 55-66"


def test_secrets_that_are_registered_again_replace_earlier_ones(known: str) -> None:
    register_secrets("/project", "variables", {"API_TOKEN": "new-456"})
    register_secrets("/other", "variables", {"API_TOKEN": "third-789"})
    assert mask_text(f"{known} new-456 third-789") == f"{known} *** ***"


def test_secrets_that_are_registered_after_the_first_text_count_too(known: str) -> None:
    assert mask_text(f"{known} new-456 55-66") == "*** new-456 55-66"
    register_secrets("/other", "variables", {"API_TOKEN": "new-456", "PIN": "55-66"})
    assert mask_text(f"{known} new-456 55-66") == "*** *** 55-66"
    register_secret_names("/other", ["pin"])
    assert mask_text(f"{known} new-456 55-66") == "*** *** ***"


def test_forgotten_names_are_no_longer_secret() -> None:
    register_secret_names("/project", ["pin"])
    forget_secrets()
    assert build_mask({"PIN": "55-66"})("55-66") == "55-66"


def test_secrets_that_are_registered_during_a_search_are_known_to_the_next(known: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another thread may load a project while this one masks a message."""

    def search_slowly(*arguments: Any) -> Any:
        found = find_secrets(*arguments)
        monkeypatch.undo()
        register_secrets("/later", "variables", {"API_TOKEN": "late-456"})
        return found

    monkeypatch.setattr("starlake_dagster_components.masking.known.find_secrets", search_slowly)
    register_secret_names("/project", ())
    mask_text("anything")
    assert mask_text(f"{known} late-456") == "*** ***"


def test_secrets_are_found_in_bytes(known: str) -> None:
    register_secrets("/project", "words", {"DB_PASSWORD": "orders"})
    assert holds_secrets(f"x{known}y".encode())
    assert not holds_secrets(b"orders abc-123")
    forget_secrets()
    assert not holds_secrets(f"x{known}y".encode())


def test_data_keeps_its_types(known: str) -> None:
    class Row(tuple[str, ...]):
        pass

    row = Row((known,))
    data = {known: [known, (known, 1), {known: None}], "row": row, "bytes": known.encode(), "set": {1}}
    hidden = mask_data(data)
    assert hidden == {"***": ["***", ("***", 1), {"***": None}], "row": row, "bytes": known.encode(), "set": {1}}
    assert hidden["row"] is row


class Described(Exception):
    """An exception with its text in attributes, like those of other libraries."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.description, self.reason, self.message, self.filename = text, text, text, text
        self.other = 5


class Stubborn(Exception):
    """An exception whose text cannot be changed."""

    def __init__(self, text: str) -> None:
        self._text = text

    def __str__(self) -> str:
        return self._text


def test_attributes_and_notes_of_exceptions_are_masked(known: str) -> None:
    error = Described(f"a {known}")
    error.__dict__["__notes__"] = [f"note {known}", 7]
    mask_exception(error)
    assert error.args == ("a ***",)
    assert (error.description, error.reason, error.message, error.filename, error.other) == ("a ***",) * 4 + (5,)
    assert error.__dict__["__notes__"] == ["note ***", 7]


def test_exceptions_without_secrets_stay_as_they_are(known: str) -> None:
    cause, arguments = Stubborn("harmless"), ("a", 1, None)
    error = RuntimeError(*arguments)
    error.__cause__ = cause
    mask_exception(error)
    assert error.args == arguments
    assert error.__cause__ is cause


def test_secrets_in_chained_exceptions_are_hidden(known: str) -> None:
    inner = Stubborn(f"inner {known}")
    inner.__cause__ = ValueError(f"innermost {known}")
    middle = KeyError(f"middle {known}")
    middle.__context__ = inner
    error = RuntimeError("outer")
    error.__cause__ = middle
    error.__suppress_context__ = False
    mask_exception(error)
    assert str(middle) == "'middle ***'"
    replaced = middle.__context__
    assert isinstance(replaced, Masked)
    assert str(replaced) == "Stubborn: inner ***"
    assert str(replaced.__cause__) == "innermost ***"
    assert error.__suppress_context__ is False


def test_suppressed_contexts_stay_suppressed_and_are_hidden(known: str) -> None:
    error = RuntimeError("outer")
    error.__context__ = ValueError(known)
    error.__suppress_context__ = True
    mask_exception(error)
    assert str(error.__context__) == "***"
    assert error.__suppress_context__ is True


def test_exception_groups_and_cycles_do_not_hang(known: str) -> None:
    one, two = ValueError(f"one {known}"), ValueError(f"two {known}")
    one.__context__, two.__context__ = two, one

    class Group(Exception):
        exceptions = (one, "text")

    mask_exception(Group("group"))
    assert (str(one), str(two)) == ("one ***", "two ***")


def test_secrets_in_log_records_of_the_package_are_hidden(known: str, caplog: pytest.LogCaptureFixture) -> None:
    logger = logging.getLogger("starlake_dagster_components")
    with caplog.at_level(logging.INFO):
        logger.info("with %s and %d", known, 5)
        logger.info("harmless %s", "text")
    secret, harmless = (record for record in caplog.records if record.name == logger.name)
    assert (secret.getMessage(), harmless.getMessage()) == ("with *** and 5", "harmless text")
    assert harmless.args == ("text",)
