"""Write two batches of the files that Tallow Lane's sources deliver. The files are always the same.

    python make_data.py [FOLDER]

FOLDER is ``batches`` beside this file by default. A small simulation of thirteen weeks (``simulation.py``) makes loans, payments, repairs,
and reservations consistent. Each source then exports its data as of the end of the batch. Batch 1 ends on Sunday, September 27, 2026, batch
2 a week later. Batch 2 has new, changed, late, and unchanged rows.
"""

import gzip
import json
import shutil
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from pathlib import Path

from simulation import (
    BRANCHES,
    CATEGORIES,
    ENDS,
    FIRST_DAY,
    HOURS,
    MEMBER_COLUMNS,
    NEW_BRANCH,
    NEW_CATEGORY,
    PARTS,
    SUPPLIERS,
    Cells,
    Dice,
    Item,
    Loan,
    Member,
    World,
    at,
    find_category,
    format_sku,
    get_part_price,
    list_open_branches,
    open_days,
    simulate,
)


@dataclass
class Batch:
    """A batch of files.

    Attributes:
        folder: the folder to write to.
        number: 1 or 2.
    """

    folder: Path
    number: int

    @property
    def after(self) -> date:
        """The day before the batch begins."""
        return ENDS[0] if self.number == 2 else date.min

    @property
    def until(self) -> date:
        """The last day of the batch."""
        return ENDS[self.number - 1]

    def includes(self, day: date | datetime) -> bool:
        """Return whether a day is in this batch."""
        day = day.date() if isinstance(day, datetime) else day
        return self.after < day <= self.until

    def write(self, place: str, suffix: str, text: str) -> Path:
        """Write a file that is named after the last day of the batch. With ``.gz``, it is compressed."""
        path = self.folder / f"{place}_{self.until:%Y%m%d}{suffix}"
        path.parent.mkdir(parents=True, exist_ok=True)
        data = text.encode()
        path.write_bytes(gzip.compress(data, mtime=0) if suffix.endswith(".gz") else data)
        return path


def format_dsv(rows: Iterable[Cells], separator: str, quote: str = '"', escape: str = '"', null: str = "") -> str:
    """Return rows as delimited text. Cells are quoted if necessary."""

    def format_cell(value: object) -> str:
        if value is None:
            return null
        text = str(value)
        if not any(mark in text for mark in (separator, quote, escape, "\n")):
            return text
        return quote + "".join(escape + c if c in (quote, escape) else c for c in text) + quote

    return "".join(separator.join(format_cell(value) for value in row) + "\n" for row in rows)


def format_json(record: object) -> str:
    """Return a record as one line of JSON, with dates and times as strings."""
    return json.dumps(record, ensure_ascii=False, default=str)


def write_desk(world: World, batch: Batch) -> None:
    """Write the exports of the front desks: branches, members, and visitor counts."""
    branches = [*BRANCHES, NEW_BRANCH] if batch.number == 2 else BRANCHES
    head = ("branch_code", "name", "opened_on", "street", "floor_area_m2")
    batch.write("incoming/desk/branches", ".csv", format_dsv([head, *branches], ";"))
    batch.write("incoming/desk/members", ".csv", format_dsv([MEMBER_COLUMNS, *(m.cells for m in select_members(world, batch))], ";"))
    dice = Dice("visits")
    rows: list[Cells] = [("branch_code", "day", "hour", "visitors")]
    for day in open_days(FIRST_DAY, ENDS[1]):
        for branch in list_open_branches(day):
            for hour in HOURS:
                visitors = dice.between(0, 9) + (6 if day.weekday() == 5 else 0) + (4 if branch in ("TAL", "TAN") else 0)
                unread = branch == "QUA" and day == date(2026, 9, 26)  # the counter was read a week late
                again = batch.number == 2 and day >= date(2026, 9, 25)
                if (batch.number == 1 and day <= ENDS[0] and not unread) or again:
                    rows.append((branch, day, hour, visitors + (1 if again and day <= ENDS[0] and branch == "MIL" else 0)))
    batch.write("incoming/desk/visits", ".csv.gz", format_dsv(rows, "|"))


def select_members(world: World, batch: Batch) -> list[Member]:
    """Return all members for batch 1; for batch 2 the new, 38 changed, 20 unchanged, and 3 old versions that arrive late."""
    old = [m for m in world.members if m.joined_on <= ENDS[0]]
    if batch.number == 1:
        return old
    dice = Dice("changes of members")
    reported = []
    for n, member in enumerate(old[5::6][:61]):
        if n < 38:
            plan = "regular" if member.plan == "basic" else "family" if n % 2 else "basic"
            moved = replace(member, plan=plan, home_branch="ORC" if n % 3 == 0 else member.home_branch)
            reported.append(replace(moved, updated_at=at(ENDS[0] + timedelta(2 + dice.below(5)), dice)))
        elif n < 58:
            reported.append(member)
        else:
            reported.append(replace(member, phone="+353 1 555 0000", updated_at=member.updated_at - timedelta(30)))
    return reported + [m for m in world.members if batch.includes(m.joined_on)]


def write_catalogue(world: World, batch: Batch) -> None:
    """Write the exports of the catalogue: categories, items, and tariffs, each with an empty ``.ready`` file."""
    second = batch.number == 2
    categories = [*CATEGORIES, NEW_CATEGORY] if second else CATEGORIES
    head = ("category_code", "name", "group_name", "zone", "loan_days", "electrical")
    rows = [(*c[:5], str(c.electrical).lower()) for c in categories]
    files = [batch.write("incoming/catalogue/categories", ".tsv", format_dsv([head, *rows], "\t"))]
    records = ",\n".join(format_json(i.record) for i in select_items(world, batch))
    files.append(batch.write("incoming/catalogue/items", ".json", f"[\n{records}\n]\n"))
    prices: list[Cells] = [("category_code", "period", "price", "deposit", "valid_from")]
    for category in categories:
        code = category.code
        for period, factor in (("day", 1.0), ("weekend", 1.8), ("week", 3.6), ("month", 9.0)):
            offered = period != "month" or (second and code == "TEN")
            withdrawn = second and (code, period) == ("SHR", "weekend")
            is_listed = not second or code in ("TEN", "SHR", "PRO", "AUD", "TEL")
            raised = second and code in ("PRO", "AUD")
            price = f"{category.price * factor * (1.1 if raised else 1.0):.2f}"
            if is_listed and offered and not withdrawn:
                new = raised or code == "TEL" or period == "month"
                prices.append((code, period, price, f"{category.deposit:.2f}", date(2026, 10, 1) if new else date(2026, 1, 1)))
    files.append(batch.write("incoming/catalogue/tariffs", ".txt", format_dsv(prices, "<|>")))
    for path in files:
        path.with_suffix(".ready").write_bytes(b"")


def select_items(world: World, batch: Batch) -> list[Item]:
    """Return all items for batch 1; for batch 2 the new, 22 changed, and 4 old versions that arrive late."""
    old = [i for i in world.items if i.acquired_on <= ENDS[0]]
    if batch.number == 1:
        return old
    dice = Dice("changes of items")
    reported = []
    for n, item in enumerate(old[3::9][:26]):
        when = at(ENDS[0] + timedelta(2 + dice.below(5)), dice)
        if n >= 22:
            reported.append(replace(item, title=f"{item.title} (as first entered)", updated_at=item.updated_at - timedelta(20)))
        elif n % 5 == 0:
            reported.append(replace(item, retired_on=when.date(), updated_at=when))
        elif n % 2:
            reported.append(replace(item, home_branch="ORC", updated_at=when))
        else:
            reported.append(replace(item, value=round(item.value * 0.8, 2), labels=(*item.labels, "patina"), updated_at=when))
    return reported + [i for i in world.items if batch.includes(i.acquired_on)]


def write_lending(world: World, batch: Batch) -> None:
    """Write the files that the loan desk and the bank put into the stage area, and the ack file."""
    loans = [loan for loan in world.loans if is_reported(loan, batch)]
    batch.write("stage/lending/loans", ".jsonl", "".join(format_json(loan.record(batch.until)) + "\n" for loan in loans))
    numbered = [(f"R{n:05d}", *r) for n, r in enumerate(world.reservations, 1)]
    late = {row[0] for row in numbered if row[1].date() == ENDS[0] - timedelta(1)}  # the website sends those of Saturday a week later
    rows = [r for r in numbered if (batch.number == 2 and r[0] in late) or (batch.includes(r[1]) and r[0] not in late)]
    cells = [(r, m, i, asked, wanted, channel, remark) for r, asked, m, i, wanted, channel, remark in rows]
    head = ("reservation_id", "member_id", "item_id", "asked_at", "wanted_from", "channel", "remark")
    batch.write("stage/lending/reservations", ".psv", format_dsv([head, *cells], "|", escape="\\"))
    paid = [(f"TL{n:08d}", *p) for n, p in enumerate(world.payments, 1)]
    again = [p for p in paid if p[1] == ENDS[0] - timedelta(1)][-5:]  # the bank repeats the last lines of its previous statement
    lines = [f"{r}{day}{m:<8}{amount:09.2f}{method:<8}{kind:<8}\n" for r, day, m, amount, method, kind in paid if batch.includes(day)]
    repeated = [f"{r}{day}{m:<8}{amount:09.2f}{method:<8}{kind:<8}\n" for r, day, m, amount, method, kind in again]
    batch.write("stage/lending/payments", ".dat", "".join(repeated + lines if batch.number == 2 else lines))
    ack = batch.folder / "pending" / "lending" / "complete.ack"
    ack.parent.mkdir(parents=True, exist_ok=True)
    ack.write_text(f"3 files for {batch.until}\n", encoding="utf-8")


def is_reported(loan: Loan, batch: Batch) -> bool:
    """Return whether a loan is in a batch: it is new, was returned, arrives late, or is unchanged (every seventh that is still out)."""
    assert loan.back_at is not None
    begun = loan.loaned_at.date()
    if batch.number == 1:
        return begun <= ENDS[0] and not loan.reported_late
    still_out = begun <= ENDS[0] and loan.back_at.date() > ENDS[1]
    return (
        loan.reported_late
        or batch.includes(begun)
        or (begun <= ENDS[0] and batch.includes(loan.back_at))
        or (still_out and loan.loan_id % 7 == 0)
    )


def write_workshop(world: World, batch: Batch) -> None:
    """Write the files that the workshop puts into the stage area: repairs, spare parts, and inspections."""
    repairs = [r for r in world.repairs if batch.includes(r.opened_on) or (batch.includes(r.closed_on) and r.opened_on <= batch.until)]
    batch.write("stage/workshop/repairs", ".ndjson", "".join(format_json(r.record(batch.until)) + "\n" for r in repairs))
    parts: list[Cells] = [("sku", "label", "stock", "unit_price", "supplier", "discontinued_on")]
    for n, label in enumerate(PARTS):
        used = sum(q for r in world.repairs for number, q in r.parts if number == n and r.closed_on <= batch.until)
        stock = 0 if batch.number == 2 and n == 11 else max(1, 60 - used)
        gone = date(2026, 6, 30) if n % 12 == 5 else None
        parts.append((format_sku(n), label, stock, f"{get_part_price(n):.2f}", None if n % 9 == 4 else SUPPLIERS[n % 3], gone))
    batch.write("stage/workshop/spare_parts", ".csv", format_dsv(parts, "^", quote="~", escape="~", null="n/a"))
    dice = Dice("inspections")
    rows: list[Cells] = [("inspection_id", "item_id", "inspected_on", "verdict", "mains_tested", "remarks")]
    number = 0
    for day in open_days(FIRST_DAY, ENDS[1]):
        shelf = [i for i in world.items if i.acquired_on <= day and i.retired_on is None]
        for _ in range(dice.between(2, 8)):
            number += 1
            item = dice.pick(shelf)
            verdict = dice.pick_weighted((("pass", 0.85), ("watch", 0.1), ("fail", 0.05)))
            remarks = {"pass": "", "watch": "lead worn, \nlook again in a month", "fail": 'off the shelf, "do not lend"'}[verdict]
            tested = str(find_category(item).electrical).lower()
            if batch.includes(day):
                rows.append((f"I{number:04d}", item.item_id, f"{day:%d/%m/%Y}", verdict, tested, remarks))
    batch.write("stage/workshop/inspections", ".csv", format_dsv(rows, ","))


SOURCES: tuple[Callable[[World, Batch], None], ...] = (write_desk, write_catalogue, write_lending, write_workshop)


def main(folder: Path) -> None:
    """Write both batches. Other files in the folder are removed."""
    world = simulate()
    shutil.rmtree(folder, ignore_errors=True)
    for number in (1, 2):
        for source in SOURCES:
            source(world, Batch(folder / str(number), number))


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "batches")
