"""Simulate thirteen weeks of Tallow Lane: loans, returns, repairs, payments, and reservations.

``make_data.py`` writes them to files. All random numbers come from ``Random.random``, because only for this function does Python guarantee
the same numbers in every version.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from random import Random
from typing import Any, NamedTuple, TypeVar

T = TypeVar("T")
Cells = Sequence[object]


def _split_words(text: str, separator: str | None = None) -> list[str]:
    return text.split(separator)


FIRST_DAY = date(2026, 7, 7)
ENDS = (date(2026, 9, 27), date(2026, 10, 4))
"""Last day of each batch; files are named after it."""
HOURS = range(10, 18)


class Branch(NamedTuple):
    """A branch of the library."""

    code: str
    name: str
    opened_on: date
    street: str
    floor_area: int


class Category(NamedTuple):
    """A category of items, with its shelf, loan period in days, and price and deposit in euros."""

    code: str
    name: str
    group: str
    zone: str
    days: int
    price: float
    deposit: int
    nouns: tuple[str, ...]
    electrical: bool


BRANCHES = (
    Branch("TAL", "Tallow Lane", date(2019, 3, 2), "4 Tallow Lane; back yard", 210),
    Branch("TAN", "Old Tannery", date(2020, 9, 12), '17 Hide Street, "the vats"', 340),
    Branch("QUA", "Quayside", date(2022, 5, 7), "Shed C, Coal Quay", 155),
    Branch("MIL", "Millrace", date(2023, 11, 18), "2 Weir Steps", 120),
    Branch("VAN", "The Wagon", date(2025, 4, 26), "no fixed pitch; see the timetable", 14),
)
NEW_BRANCH = Branch("ORC", "Orchard Row", date(2026, 10, 1), "31 Orchard Row", 95)

CATEGORIES = (
    Category(
        "DRI", "Drills and drivers", "Workshop", "A1", 4, 3.5, 20, ("Cordless drill", "Hammer drill", "Impact driver", "Angle drill"), True
    ),
    Category("SAW", "Saws", "Workshop", "A2", 4, 4.5, 40, ("Circular saw", "Jigsaw", "Mitre saw", "Tile cutter"), True),
    Category("SAN", "Sanders", "Workshop", "A3", 5, 4.0, 30, ("Belt sander", "Orbital sander", "Floor sander"), True),
    Category("LAD", "Ladders and trestles", "Workshop", "A9", 7, 2.5, 0, ("Roof ladder", "Step ladder", "Pair of trestles"), False),
    Category("GAR", "Garden machines", "Garden", "B1", 5, 6.0, 50, ("Scarifier", "Rotavator", "Lawn roller", "Leaf vacuum"), True),
    Category("HED", "Hedge and tree care", "Garden", "B2", 5, 4.0, 30, ("Hedge trimmer", "Pole pruner", "Fruit picker"), True),
    Category("SHR", "Shredders", "Garden", "B3", 3, 9.0, 80, ("Garden shredder", "Branch chipper"), True),
    Category("BAK", "Baking gear", "Kitchen", "C1", 7, 1.5, 0, ("Stand mixer", "Wedding cake tins", "Bread oven dish"), False),
    Category(
        "PRE", "Preserving and pressing", "Kitchen", "C2", 6, 3.0, 15, ("Apple press", "Steam juicer", "Dehydrator", "Jar steriliser"), True
    ),
    Category("CAT", "Catering kit", "Events", "D1", 4, 5.0, 40, ("Tea urn", "Crate of 48 glasses", "Hot cupboard"), False),
    Category("PRO", "Projectors and screens", "Events", "D2", 3, 8.0, 100, ("Projector", "Screen 2 m", "Slide projector"), True),
    Category("AUD", "Sound and microphones", "Events", "D3", 3, 7.0, 80, ("Speaker pair", "Radio microphone", "Mixing desk"), True),
    Category("TEN", "Tents and tarps", "Outdoors", "E1", 10, 3.0, 25, ("Tunnel tent", "Marquee 3 x 6", "Tarp with poles"), False),
    Category("BTR", "Bicycle trailers", "Outdoors", "E2", 7, 4.0, 35, ("Cargo trailer", "Child trailer", "Tag-along"), False),
)
NEW_CATEGORY = Category(
    "TEL", "Telescopes and binoculars", "Outdoors", "E3", 7, 5.0, 60, ("Dobsonian telescope", "Binoculars 10 x 50"), False
)

MAKERS = (("Brunnhold", "DE"), ("Kessamo", "FI"), ("Orrery & Pike", "IE"), ("Tindle", "GB"), ("Vastergard", "SE"), ("Lumeno", "IT"))
LABELS = ("heavy", "two people", "loud", "manual inside", "bring a car", "fragile", "spare battery", "beginners")
FIRST_NAMES = _split_words(
    "Aoife Bram Chidi Dervla Esme Fintan Greta Haruki Ines Jarlath Kofi Lena Maeve Nadia Oisín Priya Quentin Rosa Søren Tadhg "
    "Una Vikram Wanda Xenia Yusuf Zoë Łucja Émile Conall Saoirse"
)
LAST_NAMES = _split_words(
    "Ardle Boateng Carrick Dunmore Eklund Farrelly Gaskin Hollis Ibarra Jurek Keogh Lindqvist Mulrane Naidoo O'Dowd Pettigrew Quill "
    "Rasmussen Szabo Tierney Umarov Varga Whelan Yeats Zeller Brogan Castell Doran Ennis Fogarty"
)
PLANS = (("basic", 0.55), ("regular", 0.3), ("family", 0.15))
NOTES = ('says "after six only"; ring twice', "brings own gloves", "prefers letters; no mail", 'nickname "Drill Sergeant"', "")
REMARKS = ('for the "big" hedge', "either colour | any size", "back \\ shelf", "school fair, two please", "", "", "")
TECHNICIANS = (("Hester Vance", False), ("Dov Marlowe", False), ("Pia Nyland", True))
SUPPLIERS = ("Cogwell & Daughters", "Nordbolt", "Lane Hardware")
PARTS = _split_words(
    'Hose 1/2" ^ 2 m, Carbon brushes, Drive belt, Saw blade 190 mm, Sanding pad, Chuck 13 mm, Fuse 5 A, Fuse 13 A, Mains lead, Switch, '
    "Spring washer, Tent pole, Guy rope, Inner tube 16, Inner tube 20, Hitch pin, Lamp 230 W, Fan belt, Grub screw, Cutting line, "
    "Shear bolt, "
    "Knife set, Drip tray, Seal ring, Jack plug, XLR lead, Foam ball, Castor, Rubber foot, Hinge, Latch, Bearing 608, Grease, "
    "Battery 18 V, "
    "Battery 12 V, Spirit level vial",
    ", ",
)


class Dice:
    """A random number generator for a topic, whose numbers do not depend on other topics."""

    def __init__(self, topic: str) -> None:
        self._random = Random(f"tallow lane/{topic}")

    def below(self, number: int) -> int:
        """Return a whole number from 0 up to, but not including, the given one."""
        return int(self._random.random() * number)

    def between(self, low: int, high: int) -> int:
        """Return a whole number in a range that includes both ends."""
        return low + self.below(high - low + 1)

    def happens(self, share: float) -> bool:
        """Return True with a probability."""
        return self._random.random() < share

    def pick(self, values: Sequence[T]) -> T:
        """Return one of the values, with equal probabilities."""
        return values[self.below(len(values))]

    def pick_favorite(self, values: Sequence[T]) -> T:
        """Return one of the values. Those at the beginning are more likely."""
        return values[int(self._random.random() ** 1.7 * len(values))]

    def pick_weighted(self, values: Sequence[tuple[T, float]]) -> T:
        """Return one of the values, each with its own probability."""
        left = self._random.random()
        for value, share in values:
            left -= share
            if left < 0:
                return value
        return values[-1][0]


@dataclass(frozen=True)
class Member:
    """A version of a member."""

    member_id: str
    first_name: str
    last_name: str
    mail: str
    phone: str
    plan: str
    home_branch: str
    joined_on: date
    updated_at: datetime
    note: str

    @property
    def cells(self) -> Cells:
        """The columns of the desk's export."""
        return tuple(getattr(self, name) for name in MEMBER_COLUMNS)


MEMBER_COLUMNS = ("member_id", "first_name", "last_name", "mail", "phone", "plan", "home_branch", "joined_on", "updated_at", "note")


@dataclass(frozen=True)
class Item:
    """A version of an item."""

    item_id: str
    title: str
    category: str
    maker: tuple[str, str, int]
    labels: tuple[str, ...]
    value: float
    home_branch: str
    acquired_on: date
    retired_on: date | None
    updated_at: datetime

    @property
    def record(self) -> dict[str, Any]:
        """The record of the catalogue's export."""
        return {
            "item_id": self.item_id,
            "title": self.title,
            "category_code": self.category,
            "maker": dict(zip(("name", "country", "year"), self.maker, strict=True)),
            "labels": list(self.labels),
            "replacement_value": self.value,
            "home_branch": self.home_branch,
            "acquired_on": self.acquired_on,
            "retired_on": self.retired_on,
            "updated_at": self.updated_at,
        }


@dataclass
class Loan:
    """A loan, including its return."""

    loan_id: int
    item: Item
    member: Member
    branch: str
    loaned_at: datetime
    due_on: date
    back_at: datetime | None
    condition: str
    reported_late: bool = False

    def record(self, until: date) -> dict[str, Any]:
        """Return the record of the loan desk as of the end of a day."""
        back = self.back_at if self.back_at and self.back_at.date() <= until else None
        record: dict[str, Any] = {
            "loan_id": self.loan_id,
            "item_id": self.item.item_id,
            "member_id": self.member.member_id,
            "branch_code": self.branch,
            "loaned_at": self.loaned_at,
            "due_on": self.due_on,
        }
        return {**record, "returned_at": back, "condition": self.condition} if back else record


@dataclass
class Repair:
    """A repair, including its end."""

    repair_id: int
    item_id: str
    branch: str
    opened_on: date
    closed_on: date
    technician: tuple[str, bool]
    parts: tuple[tuple[int, int], ...]
    minutes: int

    def record(self, until: date) -> dict[str, Any]:
        """Return the record of the workshop as of the end of a day. The parts are known when the repair is done."""
        done = self.closed_on <= until
        return {
            "repair_id": self.repair_id,
            "item_id": self.item_id,
            "branch_code": self.branch,
            "opened_on": self.opened_on,
            "closed_on": self.closed_on if done else None,
            "technician": dict(zip(("name", "apprentice"), self.technician, strict=True)),
            "parts_used": [{"sku": format_sku(n), "quantity": q, "unit_price": get_part_price(n)} for n, q in self.parts] if done else [],
            "minutes": self.minutes if done else 0,
        }


@dataclass
class World:
    """The events of thirteen weeks."""

    members: list[Member] = field(default_factory=list)
    items: list[Item] = field(default_factory=list)
    loans: list[Loan] = field(default_factory=list)
    repairs: list[Repair] = field(default_factory=list)
    payments: list[tuple[date, str, float, str, str]] = field(default_factory=list)
    """(day, member, amount, method, kind)."""
    reservations: list[tuple[datetime, str, str, date, str, str]] = field(default_factory=list)
    """(time, member, item, first day, channel, remark)."""


def open_days(first: date, last: date) -> list[date]:
    """Return the opening days: Tuesday to Saturday."""
    days = (first + timedelta(n) for n in range((last - first).days + 1))
    return [d for d in days if 1 <= d.weekday() <= 5]


def find_next_open_day(day: date) -> date:
    """Return the day itself, or the next opening day."""
    return open_days(day, day + timedelta(2))[0]


def at(day: date, dice: Dice) -> datetime:
    """Return a time within the opening hours of a day."""
    return datetime.combine(day, time(dice.pick(HOURS), dice.below(60), dice.below(60)))


def format_sku(number: int) -> str:
    """Return the code of a spare part."""
    return f"SP{100 + number}"


def get_part_price(number: int) -> float:
    """Return the price of a spare part."""
    return round(0.6 + (number * 37 % 19) * 1.15, 2)


def list_open_branches(day: date) -> list[str]:
    """Return the codes of the branches that are open on a day."""
    return [b.code for b in (*BRANCHES, NEW_BRANCH) if b.opened_on <= day]


def find_category(item: "Item") -> Category:
    """Return the category of an item."""
    return next(c for c in (*CATEGORIES, NEW_CATEGORY) if c.code == item.category)


def make_members(dice: Dice) -> list[Member]:
    """Return the members as they were on the day of their last change within batch 1, or of joining."""
    members = []
    for n in range(404):
        new = n >= 380
        joined = ENDS[0] + timedelta(1 + dice.below(6)) if new else FIRST_DAY - timedelta(dice.below(1500) - 70)
        first, last = dice.pick(FIRST_NAMES), dice.pick(LAST_NAMES)
        plain = f"{first}.{last}".lower().translate(str.maketrans("íøëłé", "ioele", "'"))
        updated = at(joined if new else min(ENDS[0] - timedelta(1), joined + timedelta(dice.below(400))), dice)
        members.append(
            Member(
                member_id=f"M{n + 1:06d}",
                first_name=first,
                last_name=last,
                mail=f"{plain}{n + 1}@post.example",
                phone=f"+353 1 555 {dice.below(10000):04d}",
                plan=dice.pick_weighted(PLANS),
                home_branch=dice.pick_favorite(list_open_branches(joined if new else ENDS[0])),
                joined_on=joined,
                updated_at=updated,
                note=dice.pick(NOTES),
            )
        )
    return members


def make_items(dice: Dice) -> list[Item]:
    """Return the items: 240 of the old categories, then 12 that are acquired in the week of batch 2."""
    items = []
    counts: dict[str, int] = {}
    for n in range(252):
        new = n >= 240
        category = (NEW_CATEGORY if n >= 245 else dice.pick(CATEGORIES)) if new else CATEGORIES[n % len(CATEGORIES)]
        code = category.code
        counts[code] = counts.get(code, 0) + 1
        acquired = ENDS[0] + timedelta(1 + dice.below(4)) if new else FIRST_DAY - timedelta(30 + dice.below(2000))
        retired = acquired + timedelta(400 + dice.below(300)) if not new and dice.happens(0.05) else None
        retired = retired if retired and retired < FIRST_DAY else None
        maker = dice.pick(MAKERS)
        items.append(
            Item(
                item_id=f"{code}-{counts[code]:03d}",
                title=f"{dice.pick(category.nouns)} no. {counts[code]}",
                category=code,
                maker=(*maker, acquired.year - dice.below(3)),
                labels=tuple(dict.fromkeys(dice.pick(LABELS) for _ in range(dice.below(4)))),
                value=round(category.price * dice.between(18, 60), 2),
                home_branch=dice.pick_favorite([b.code for b in BRANCHES]),
                acquired_on=acquired,
                retired_on=retired,
                updated_at=at(retired or acquired + timedelta(dice.below(25) if not new else 0), dice),
            )
        )
    return items


def simulate() -> World:
    """Simulate thirteen weeks, and return their events."""
    dice = Dice("days")
    world = World(make_members(Dice("members")), make_items(Dice("items")))
    world.items.sort(key=lambda item: Dice(item.item_id).below(10**6))  # the first items are the popular ones
    free_from = {item.item_id: date.min for item in world.items}
    for day in open_days(FIRST_DAY, ENDS[1]):
        guests = [m for m in world.members if m.joined_on <= day]
        shelf = [i for i in world.items if i.acquired_on <= day and (i.retired_on is None or i.retired_on > day)]
        for branch in list_open_branches(day):
            for _ in range(dice.between(2, 7) + (day.weekday() == 5)):
                item, member = dice.pick_favorite(shelf), dice.pick_favorite(guests)
                if free_from[item.item_id] <= day:
                    free_from[item.item_id] = lend(world, dice, day, branch, item, member)
                elif dice.happens(0.55):
                    channel = dice.pick_weighted((("web", 0.5), ("app", 0.3), ("desk", 0.1), ("", 0.1)))
                    wanted = day + timedelta(dice.between(2, 15))
                    world.reservations.append((at(day, dice), member.member_id, item.item_id, wanted, channel, dice.pick(REMARKS)))
    world.members.sort(key=lambda m: m.member_id)
    world.items.sort(key=lambda i: i.item_id)
    world.loans.sort(key=lambda loan: loan.loaned_at)
    for number, loan in enumerate(world.loans, 1):
        loan.loan_id = 50_000 + number
    for loan in [loan for loan in world.loans if ENDS[0] - timedelta(4) <= loan.loaned_at.date() <= ENDS[0]][:6]:
        loan.reported_late = True
    world.repairs.sort(key=lambda r: (r.opened_on, r.item_id))
    for number, repair in enumerate(world.repairs, 1):
        repair.repair_id = 7000 + number
    world.payments.sort()
    world.reservations.sort()
    return world


def lend(world: World, dice: Dice, day: date, branch: str, item: Item, member: Member) -> date:
    """Lend an item, and add its payments and a repair if it breaks. Return the day from which it is available again."""
    category = find_category(item)
    deposit = category.deposit
    due = find_next_open_day(day + timedelta(category.days))
    late = dice.pick_weighted(((-2, 0.2), (-1, 0.2), (0, 0.45), (3, 0.07), (9, 0.05), (200, 0.03)))
    back = find_next_open_day(max(day + timedelta(1), due + timedelta(late)))
    condition = dice.pick_weighted((("good", 0.78), ("worn", 0.14), ("broken", 0.08)))
    world.loans.append(Loan(0, item, member, branch, at(day, dice), due, at(back, dice), condition))
    method = dice.pick_weighted((("card", 0.7), ("cash", 0.2), ("voucher", 0.1)))
    if member.plan == "basic":
        world.payments.append((day, member.member_id, round(category.price * category.days * 0.6, 2), method, "fee"))
    if deposit >= 40 and member.plan != "family":
        world.payments.append((day, member.member_id, float(deposit), method, "deposit"))
        world.payments.append((back, member.member_id, -float(deposit) if condition != "broken" else -deposit / 2, method, "refund"))
    if back > due:
        world.payments.append((back, member.member_id, round(0.4 * min(30, (back - due).days), 2), method, "fine"))
    if condition == "good":
        return back
    opened = find_next_open_day(back + timedelta(dice.between(0, 2)))
    closed = find_next_open_day(opened + timedelta(dice.between(0, 8)))
    if condition == "broken" or dice.happens(0.6):
        parts = tuple((dice.below(len(PARTS)), dice.between(1, 4)) for _ in range(dice.below(4)))
        minutes = 5 * dice.between(2, 40)
        world.repairs.append(Repair(0, item.item_id, branch, opened, closed, dice.pick(TECHNICIANS), tuple(dict(parts).items()), minutes))
        return closed
    return back
