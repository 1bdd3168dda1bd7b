"""The driver against a made-up world: whatever happens in whatever order, no scene is lost or ends twice."""

import random
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from geoseg.batch.driver import Driver
from geoseg.batch.event import (
    FINAL,
    Broke,
    Died,
    Entry,
    Event,
    Fetch,
    Finished,
    Interrupted,
    Offered,
    Order,
    Record,
    Restore,
    Returned,
    Staffed,
    Stop,
    Submit,
    Ticked,
    Ticket,
)
from geoseg.batch.ledger import Ledger
from geoseg.batch.policy import MAX_DEATHS, Pace, Policy
from geoseg.errors import SettingsError

NATURES = ("good", "good", "good", "corrupt", "poison", "killer", "flaky", "wreck", "down", "bug")
"""killer: kills its worker once. flaky: breaks twice, then passes. wreck: does both. down: breaks every time."""
ENDS = {"good": "done", "corrupt": "failed", "poison": "quarantined", "killer": "done", "flaky": "done",
        "wreck": "done", "down": "failed", "bug": "failed"}  # fmt: skip
BREAKS = {"corrupt": 99, "bug": 99, "down": 99, "flaky": 2, "wreck": 1}
POLICY = Policy(attempts=3, backoff_s=1, breaker=0, hang_min_s=5)


@dataclass
class World:
    """Scenes with a nature, workers that take packs, and dice; it checks every order it is given."""

    natures: list[str]
    workers: int
    dice: random.Random
    ledger: Ledger
    policy: Policy = POLICY
    now: float = 1000.0
    packs: list[list[Ticket]] = field(default_factory=list)
    begun: Counter[int] = field(default_factory=Counter)
    breaks: Counter[int] = field(default_factory=Counter)
    ends: Counter[int] = field(default_factory=Counter)
    stop: Stop | None = None
    restored: int = 0

    def __post_init__(self) -> None:
        self.start()

    def start(self) -> None:
        """A new driver takes the batch up; the old one, if any, was killed."""
        self.packs, self.stop = [], None
        self.ledger.resume(self.now)
        self.driver = Driver(self.policy, workers=self.workers, suspects=self.ledger.suspects())
        self.tell(Ticked(at=self.now))

    def tell(self, event: Event) -> None:
        """One event, and all the orders that follow."""
        waiting: list[Event] = [event]
        while waiting:
            for order in self.driver.on(waiting.pop(0)):
                answer = self.obey(order)
                waiting += [answer] if answer else []

    def obey(self, order: Order) -> Event | None:
        assert self.stop is None, "an order after the end"
        match order:
            case Fetch():
                return Offered(at=self.now, tickets=self.ledger.pending(after=order.after, count=order.count))
            case Submit():
                self.check_pack(order)
                self.packs.append(list(order.tickets))
            case Record():
                self.ends[order.ticket.row] += order.state in FINAL
                self.ledger.write([order])
            case Restore():
                self.restored += 1
            case Stop():
                self.stop = order
        return None

    def check_pack(self, order: Submit) -> None:
        out = [ticket.row for pack in self.packs for ticket in pack]
        assert not self.driver.draining
        assert order.timeout_s >= self.policy.hang_min_s
        assert len(self.packs) < max(1, self.workers + -(-self.workers // 2))
        for ticket in order.tickets:
            assert ticket.row not in out, "out twice"
            assert not self.ends[ticket.row], "tried again after its end"
            assert ticket.not_before <= self.now
            assert ticket.deaths < MAX_DEATHS
            assert ticket.attempts <= self.policy.attempts
        if any(ticket.deaths for ticket in order.tickets):
            assert len(order.tickets) == 1
            assert not self.packs, "a suspect is alone"

    def end_one(self) -> None:
        """A worker comes to the end of a scene, or dies in it with all that it had."""
        if not self.packs:
            return
        pack = self.dice.choice(self.packs)
        ticket = pack.pop(0)
        self.begun[ticket.row] += 1
        nature, row = self.natures[ticket.row - 1], ticket.row
        if nature == "poison" or (nature in {"killer", "wreck"} and not ticket.deaths):
            self.lose(pack, Died(at=self.now, row=row))
            return
        if not pack:
            self.packs.remove(pack)
        self.breaks[row] += 1
        if self.breaks[row] > BREAKS.get(nature, 0):
            self.tell(Finished(at=self.now, row=row, seconds=self.dice.random()))
        else:
            kind = {"corrupt": "data", "bug": "internal"}.get(nature, "transient")
            self.tell(Broke(at=self.now, row=row, kind=kind, code=nature, error=nature))  # type: ignore[arg-type]

    def lose(self, pack: list[Ticket], *events: Event) -> None:
        """A worker is gone: what it had not begun comes back, also of packs that waited for it."""
        gone = [pack] + [one for one in self.packs if one is not pack and self.dice.random() < 0.3]
        self.packs = [one for one in self.packs if one not in gone]
        for event in (*events, *(Returned(at=self.now, row=ticket.row) for one in gone for ticket in one)):
            self.tell(event)

    def recall_one(self) -> None:
        """Somebody takes a worker away between two scenes."""
        if self.packs:
            self.lose(self.dice.choice(self.packs))

    def pass_time(self) -> None:
        wake = self.driver.wake_at
        self.now = max(self.now, wake if wake is not None else 0) + self.dice.choice([0.01, 1.0])
        self.tell(Ticked(at=self.now))

    def run(self, steps: int = 20_000) -> None:
        """To the end, without further accidents."""
        for _ in range(steps):
            if self.stop:
                return
            self.end_one() if self.packs else self.pass_time()
        raise AssertionError(f"no end in sight: {self.ledger.counts()}")


def make_world(folder: Path, natures: list[str], *, workers: int, seed: int, policy: Policy = POLICY) -> World:
    scenes = [Entry(scene=f"{k:04x}", uri=f"/s/{k}.tif", fingerprint=str(k)) for k in range(len(natures))]
    path = folder / f"{random.Random().getrandbits(60):x}.sqlite"
    return World(natures, workers, random.Random(seed), Ledger.create(path, scenes, job="j"), policy)


def ends_of(world: World) -> dict[int, str]:
    return {row["id"]: row["state"] for row in world.ledger.rows()}


@settings(max_examples=60)
@given(
    natures=st.lists(st.sampled_from(NATURES), max_size=40),
    workers=st.integers(1, 4),
    seed=st.integers(0, 2**32),
    accidents=st.lists(st.sampled_from(["end", "end", "end", "end", "time", "recall", "kill"]), max_size=80),
)
def test_no_scene_is_lost_or_ends_twice(
    tmp_path: Path, natures: list[str], workers: int, seed: int, accidents: list[str]
) -> None:
    """Each scene ends as its nature says, once, though workers vanish and the driver itself is killed."""
    world = make_world(tmp_path, natures, workers=workers, seed=seed)
    kills = 0
    for accident in accidents:
        if world.stop:
            break
        match accident:
            case "end":
                world.end_one()
            case "time":
                world.pass_time()
            case "recall":
                world.recall_one()
            case "kill" if kills < 3:  # four times the same scene would be quarantined, rightly
                kills += 1
                world.start()
    world.run()
    assert world.stop == Stop(code=0, reason="every scene has ended")
    assert ends_of(world) == {k + 1: ENDS[nature] for k, nature in enumerate(natures)}
    assert all(world.ends[k + 1] == 1 for k in range(len(natures)))
    limits = {"good": 1, "corrupt": 1, "bug": 1, "poison": 2, "killer": 2, "flaky": 3, "wreck": 3, "down": 3}
    assert all(world.begun[k + 1] <= limits[nature] + kills for k, nature in enumerate(natures))
    again = make_world(tmp_path, [], workers=1, seed=0)
    again.ledger, again.natures = world.ledger, natures
    again.start()
    assert again.stop is not None
    assert not again.begun, "a finished batch does nothing"


@settings(max_examples=30)
@given(
    natures=st.lists(st.sampled_from(NATURES), min_size=1, max_size=30),
    before=st.integers(0, 40),
    seed=st.integers(0, 2**32),
)
def test_an_interrupt_lets_what_is_out_come_home_and_can_be_resumed(
    tmp_path: Path, natures: list[str], before: int, seed: int
) -> None:
    world = make_world(tmp_path, natures, workers=2, seed=seed)
    for _ in range(before):
        world.end_one() if world.packs else world.pass_time()
        if world.stop:
            return
    out = sum(map(len, world.packs))
    world.tell(Interrupted(at=world.now))
    for _ in range(out):
        world.end_one()
    assert world.stop is not None
    assert world.stop.code == 130
    assert "running" not in ends_of(world).values()
    world.start()
    world.run()
    assert ends_of(world) == {k + 1: ENDS[nature] for k, nature in enumerate(natures)}


def test_a_scene_during_which_the_whole_batch_dies_is_tried_alone_and_then_no_more(tmp_path: Path) -> None:
    """Out of memory in a cgroup kills driver and worker alike: no death is ever reported."""
    world = make_world(tmp_path, ["good"] * 6, workers=2, seed=1)
    deadly = 2
    for _ in range(10):
        for _ in range(50):
            if world.stop:
                break
            if any(pack and pack[0].row == deadly for pack in world.packs):
                world.start()
                break
            world.end_one() if world.packs else world.pass_time()
    assert ends_of(world) == {row: "quarantined" if row == deadly else "done" for row in range(1, 7)}


def test_failures_of_one_class_in_a_row_stop_the_batch(tmp_path: Path) -> None:
    world = make_world(tmp_path, ["corrupt"] * 50, workers=2, seed=1, policy=Policy(breaker=20))
    world.run()
    assert world.stop is not None
    assert world.stop.code == 4
    assert "21 failures in a row" in world.stop.reason
    assert 21 <= Counter(ends_of(world).values())["failed"] <= 24, "what was out came home"


def test_failures_with_successes_between_do_not_stop_it(tmp_path: Path) -> None:
    world = make_world(tmp_path, ["corrupt", "corrupt", "good"] * 20, workers=1, seed=1, policy=Policy(breaker=6))
    world.run()
    assert world.stop is not None
    assert world.stop.code == 0


def test_a_full_disk_stops_the_batch_once_and_costs_the_scene_nothing(tmp_path: Path) -> None:
    world = make_world(tmp_path, ["good"] * 8, workers=2, seed=1)
    world.end_one()
    ticket = world.packs[0].pop(0)
    world.packs = [pack for pack in world.packs if pack]
    world.tell(Broke(at=world.now, row=ticket.row, kind="disk", code="disk", error="disk full: free space"))
    while world.packs:
        world.end_one()
    assert world.stop == Stop(code=4, reason="disk full: free space")
    (row,) = (one for one in world.ledger.rows() if one["id"] == ticket.row)
    assert (row["state"], row["attempts"]) == ("pending", 0)
    world.start()
    world.run()
    assert set(ends_of(world).values()) == {"done"}


def test_missing_workers_are_restored_and_none_at_all_stops_the_batch(tmp_path: Path) -> None:
    world = make_world(tmp_path, ["good"] * 8, workers=2, seed=1, policy=Policy(missing_s=60, deserted_s=300))
    world.tell(Staffed(at=world.now, workers=1))
    world.now += 59
    world.tell(Ticked(at=world.now))
    assert world.restored == 0
    world.now += 1
    world.tell(Ticked(at=world.now))
    assert world.restored == 1
    world.tell(Staffed(at=world.now, workers=0))
    world.now += 299
    world.tell(Ticked(at=world.now))
    assert world.stop is None
    world.now += 1
    world.tell(Ticked(at=world.now))
    assert world.stop is not None
    assert world.stop.code == 4


def test_the_first_scene_goes_alone(tmp_path: Path) -> None:
    """A model that fails everywhere costs one scene at a time until it is known to work."""
    world = make_world(tmp_path, ["good"] * 30, workers=4, seed=1)
    assert [len(pack) for pack in world.packs] == [1]
    world.end_one()
    assert len(world.packs) == 6


def test_a_large_scene_may_take_longer() -> None:
    """Of scenes of 1 MB that take 1 s, one of 2 GB is not expected within twenty."""
    pace = Pace(Policy(hang_min_s=10, hang_factor=20))

    def timeout(*sizes: int | None) -> float:
        tickets = [Ticket(row=k, scene="", uri="", fingerprint="", size=size) for k, size in enumerate(sizes)]
        return pace.timeout_s(tickets)

    assert timeout(1) == 60, "nothing is known"
    for _ in range(5):
        pace.saw(1.0, 10**6)
    assert timeout(10**6) == 20
    assert timeout(None) == 20
    assert timeout(10**3, 2 * 10**9) == 40_000


def test_short_scenes_are_packed_and_the_last_ones_shared(tmp_path: Path) -> None:
    world = make_world(tmp_path, ["good"] * 3000, workers=2, seed=1)
    ticket = world.packs.pop()[0]
    world.tell(Finished(at=world.now, row=ticket.row, seconds=0.01))
    assert [len(pack) for pack in world.packs] == [200, 200, 150]
    sizes = []
    while world.packs:
        sizes.append(len(world.packs[0]))
        for one in list(world.packs[0]):
            world.packs[0].remove(one)
            if not world.packs[0]:
                world.packs.pop(0)
            world.tell(Finished(at=world.now, row=one.row, seconds=0.01))
    assert sizes[-1] == 1
    assert world.stop is not None


def test_a_report_that_comes_too_late_changes_nothing(tmp_path: Path) -> None:
    world = make_world(tmp_path, ["good"], workers=1, seed=1)
    world.tell(Finished(at=world.now, row=77, seconds=1))
    world.run()
    world.tell(Died(at=world.now, row=1))
    assert ends_of(world) == {1: "done"}


@pytest.mark.parametrize("bad", [{"attempts": 0}, {"breaker": -1}, {"hang_min_s": 0}])
def test_an_impossible_policy_is_refused(bad: dict[str, int]) -> None:
    with pytest.raises(SettingsError, match="at least 1"):
        Policy(**bad)
