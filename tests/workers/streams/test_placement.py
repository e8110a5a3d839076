"""Placement: simulated hosts, which look one after another, come to hold even shares."""

from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from workers.streams.placement import Host, to_give, to_take

PATIENCE = 1


class Simulated:
    """Hosts and who holds which worker; `may` says which host may hold which."""

    def __init__(self, may: dict[str, frozenset[str]]) -> None:
        self.may = may
        self.holders: dict[str, str] = {}
        self.alive = set(may)
        self.waited: dict[str, dict[str, int]] = {host: {} for host in may}

    def held(self, host: str) -> list[str]:
        return sorted(name for name, holder in self.holders.items() if holder == host)

    def hosts(self) -> dict[str, Host]:
        return {host: Host(len(self.held(host)), self.may[host]) for host in self.alive}

    def look(self, host: str) -> None:
        free = [name for name in sorted(self.may[host]) if name not in self.holders]
        waited = {name: self.waited[host].get(name, -1) + 1 for name in free}
        self.waited[host] = waited
        for name in to_take(host, self.hosts(), free, waited, PATIENCE):
            assert name not in self.holders and name in self.may[host]
            self.holders[name] = host

    def give(self, host: str) -> bool:
        given = to_give(host, self.hosts(), self.held(host))
        if given is not None:
            assert self.holders.pop(given) == host
        return given is not None


def names_of(count: int) -> list[str]:
    return [f"w{number}" for number in range(count)]


@given(st.integers(1, 6), st.integers(0, 40), st.randoms(use_true_random=False))
def test_equal_hosts_share_evenly_at_once(hosts: int, workers: int, chance: object) -> None:
    names = frozenset(names_of(workers))
    fleet = Simulated({f"h{number}": names for number in range(hosts)})
    order = sorted(fleet.alive)
    chance.shuffle(order)  # type: ignore[attr-defined]
    for host in order:
        fleet.look(host)
    shares = [len(fleet.held(host)) for host in order]
    assert sum(shares) == workers
    assert max(shares) <= -(-workers // hosts)


@settings(max_examples=60)
@given(
    st.lists(st.frozensets(st.integers(0, 11)), min_size=1, max_size=4),
    st.lists(st.integers(0, 3), max_size=40),
)
def test_what_some_host_may_run_is_run_within_a_few_looks(
    may: list[frozenset[int]], deaths: list[int]
) -> None:
    fleet = Simulated(
        {f"h{n}": frozenset(f"w{each}" for each in names) for n, names in enumerate(may)}
    )
    for number in [*deaths, -1]:
        if number >= 0 and len(fleet.alive) > 1 and f"h{number}" in fleet.alive:
            fleet.alive.discard(f"h{number}")
            for name in fleet.held(f"h{number}"):
                del fleet.holders[name]
        for _ in range(PATIENCE + 2):
            for host in sorted(fleet.alive):
                fleet.look(host)
        could = frozenset[str]().union(*(fleet.may[host] for host in fleet.alive))
        assert set(fleet.holders) == could


@given(st.integers(2, 5), st.integers(0, 30))
def test_one_that_held_all_gives_until_all_is_even_and_then_nothing_moves(
    hosts: int, workers: int
) -> None:
    names = frozenset(names_of(workers))
    fleet = Simulated({f"h{number}": names for number in range(hosts)})
    fleet.holders = dict.fromkeys(sorted(names), "h0")
    moves = 0
    while any(fleet.give(host) for host in sorted(fleet.alive)):
        moves += 1
        for _ in range(PATIENCE + 2):
            for host in sorted(fleet.alive, reverse=True):  # the emptier hosts look first
                fleet.look(host)
        assert moves <= workers - workers // hosts
    shares = Counter(fleet.holders.values())
    counts = [shares[host] for host in fleet.alive]
    assert max(counts) - min(counts) <= 1
    assert sum(counts) == workers
