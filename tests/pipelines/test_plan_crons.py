"""Crons that Dagster accepts are accepted, unless they never occur. Others are rejected with the field and the expected values."""

import calendar

import pytest
from dagster._utils.schedules import cron_string_iterator, is_valid_cron_schedule
from hypothesis import given, settings
from hypothesis import strategies as st

from starlake_dagster_components.pipelines.crons import MACROS, InvalidCron, check_cron, convert_quartz


@pytest.mark.parametrize(
    "cron",
    ["0 0 * * *", "*/5 8-18 * * mon-fri", "0 0 L * *", "0 9 * * 1#1", "0 9 * * L5",
     "0 0 1,15 JAN-mar/2 ?", "0 0 ? 2 1", "59 23 31 12 7", "0 22-2 * * 6-1", "5/10 * * * *", "0 0 5-L * *", "0 0 31-l * *",
     "0 0 01-l/2 * *", "0 0 l,15 * *", "0 0 * * l5,L7", "0 0 * * mon#1,3#5", "0 0 * * sun#1,0", "0 0 * * 1#2,*", "0 0 * * 1#2,0-6"],
)  # fmt: skip
def test_crons_with_five_fields_are_unchanged(cron: str) -> None:
    assert check_cron(cron) == cron
    assert is_valid_cron_schedule(cron)


def test_whitespace_does_not_matter() -> None:
    assert check_cron("  0  0\t* * * ") == "0 0 * * *"


@pytest.mark.parametrize("macro", sorted(MACROS))
def test_cron_macros_are_converted_to_lower_case(macro: str) -> None:
    assert check_cron(macro.upper()) == macro
    assert is_valid_cron_schedule(macro)


@pytest.mark.parametrize(
    ("cron", "said"),
    [
        ("61 * * * *", "'61' (minute) is out of range: expected 0 to 59"),
        ("0 24 * * *", "(hour) is out of range"),
        ("0 0 0 * *", "(day of month) is out of range"),
        ("0 0 32 * *", "'32' (day of month) is out of range: expected 1 to 31"),
        ("0 0 * 13 *", "'13' (month) is out of range: expected 1 to 12"),
        ("0 0 * * 8", "(day of week) is out of range"),
        ("0 0 * foo *", "expected 1 to 12 or jan, feb"),
        ("*/0 * * * *", "step '0' in '*/0' (minute) is not a positive number"),
        ("1,,2 * * * *", "'' (minute): expected 0 to 59"),
        ("? * * * *", "'?' (minute): expected 0 to 59"),
        ("0 0 31 2 *", "never occurs: month 2 has no day 31"),
        ("0 0 * * 1#6", "'1#6' (day of week): expected 0 to 7 or sun, mon"),
        ("0 0 0-l * *", "'0-l' (day of month) is out of range: expected 1 to 31"),
        ("0 0 32-L * *", "'32-l' (day of month) is out of range: expected 1 to 31"),
        ("0 0 31-l/0 * *", "step '0' in '31-l/0' (day of month) is not a positive number"),
        ("0 0 1-lx * *", "'1-lx' (day of month): expected 1 to 31"),
        ("1-2-3 * * * *", "'1-2-3' (minute): expected 0 to 59"),
        ("0 0 * *", "has 4 fields; expected five"),
        ("", "cron '' is empty; expected five"),
        ("daily", "has 1 field;"),
    ],
)
def test_invalid_input_is_explained(cron: str, said: str) -> None:
    assert not is_valid_cron_schedule(cron)
    with pytest.raises(InvalidCron) as error:
        check_cron(cron)
    assert said in str(error.value)


@pytest.mark.parametrize(
    ("quartz", "cron"),
    [
        ("0 0 1 * * ?", "0 1 * * *"),
        ("0 0 12 ? * MON-FRI", "0 12 * * MON-FRI"),
        ("0 0 8 ? * 2-6", "0 8 * * 1-5"),
        ("0 0 8 ? * 2#1", "0 8 * * 1#1"),
        ("0 0 8 ? * 6L", "0 8 * * L5"),
        ("0 0/5 14,18 * * ? *", "0/5 14,18 * * *"),
    ],
)
def test_quartz_gets_its_five_field_equivalent(quartz: str, cron: str) -> None:
    assert convert_quartz(quartz) == cron
    with pytest.raises(InvalidCron, match="write '" + cron.replace("*", r"\*").replace("?", r"\?") + "'"):
        check_cron(quartz)


def test_a_quartz_cron_without_an_equivalent_is_rejected() -> None:
    assert convert_quartz("0 0 12 15W * ?") is None
    with pytest.raises(InvalidCron, match="like those of Quartz; expected five"):
        check_cron("0 0 12 15W * ?")
    with pytest.raises(InvalidCron, match=r"write '0 0 1 1 \*' \(without the seconds, without the years\)$"):
        check_cron("30 0 0 1 1 ? 2030")
    with pytest.raises(InvalidCron, match=r"write '0 0 1 1 \*'$"):
        check_cron("0 0 0 1 1 ? *")


_RANGES = ((0, 59), (0, 23), (1, 31), (1, 12), (0, 7))


@st.composite
def _fields(draw: st.DrawFn) -> str:
    """Make crons of which about half are valid: values may be just outside their range, steps zero, or items malformed."""
    fields = []
    odd = draw(st.integers(0, 4))
    for index, (low, high) in enumerate(_RANGES):
        if index != odd:
            fields.append(draw(st.sampled_from(["*", str(low or 1), "*/2"])))
            continue
        value = st.integers(max(low - 1, 1), high + 1).map(str)
        words = {2: ["l", "?"], 3: ["jan", "DEC", "febr"], 4: ["sun", "FRI", "?", "l3", "2#2", "1#6", "mon-fri"]}.get(index, ["x", "?", ""])
        item = st.one_of(
            value,
            st.sampled_from([*words, "*", "*/5", "*/0", "1-", "/2"]),
            st.builds("{}-{}".format, value, value),
            st.builds("{}-{}/{}".format, value, value, st.integers(0, 9)),
            st.builds("{}/{}".format, value, st.integers(0, 9)),
        )
        items = draw(st.lists(item, min_size=1, max_size=1 if index == 4 else 3))
        fields.append(",".join(items))
    return " ".join(fields)


@pytest.mark.parametrize("cron", ["0 0 31 4 *", "0 0 30,31 2 *", "0 0 31 4,6,9,11 *", "0 0 30-31 feb ?", "0 0 31 4/5,2 *", "0 0 31 4 1"])
def test_a_cron_that_never_occurs_is_rejected(cron: str) -> None:
    with pytest.raises(InvalidCron, match=r"never occurs: month .* has no day 3"):
        check_cron(cron)


@pytest.mark.parametrize("month", range(1, 13))
def test_the_last_days_of_months(month: int) -> None:
    name, days = calendar.month_abbr[month].lower(), calendar.monthrange(2024, month)[1]
    for written in (str(month), name, name.upper()):
        assert check_cron(f"0 0 {days} {written} *")
        if days < 31:
            with pytest.raises(InvalidCron, match=rf"never occurs: month .* has no day {days + 1}"):
                check_cron(f"0 0 {days + 1} {written} *")


@pytest.mark.parametrize("day", ["sun", "mon", "tue", "wed", "thu", "fri", "sat"])
def test_names_of_weekdays(day: str) -> None:
    for written in (day, day.upper(), f"{day}#1", f"{day}-{day}"):
        assert check_cron(f"0 0 * * {written}") == f"0 0 * * {written}"
    with pytest.raises(InvalidCron, match="expected 0 to 7 or sun, mon, tue, wed, thu, fri, sat"):
        check_cron(f"0 0 * * {day}x")


@pytest.mark.parametrize(
    "cron",
    [
        "0 0 31 */2 *", "0 0 29 2 *", "0 0 l 2 *", "0 0 31 11-1 *", "0 0 30/5 1-2 *", "0 0 31 4/3 *", "0 0 31 2/1 *",
        "0 0 31 2-3 *", "0 0 30-31 2,4 *", "0 0 */31 2 *",
    ],
)  # fmt: skip
def test_a_cron_that_occurs_rarely_is_accepted(cron: str) -> None:
    assert check_cron(cron) == cron
    assert next(cron_string_iterator(1_700_000_000, cron, "UTC")) is not None


@settings(max_examples=600, deadline=None)
@given(_fields())
def test_crons_that_dagster_supports_are_accepted(cron: str) -> None:
    try:
        check_cron(cron)
    except InvalidCron as error:
        if "never occurs" in str(error):
            if is_valid_cron_schedule(cron):
                with pytest.raises(Exception, match="failed to find next date"):
                    next(cron_string_iterator(1_700_000_000, cron, "UTC"))
        else:
            assert not is_valid_cron_schedule(cron)
