"""The steps' DAG: order, cycles, and which needs others imply. Cheap on 1,000 steps."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

Needs = Mapping[str, Iterable[str]]


def topological_order(needs: Needs) -> tuple[str, ...]:
    """The ids so that each comes after its needs, and otherwise as early as the mapping's own order lets it.

    Kahn's algorithm with the definition's order as tie break. Ids on a cycle, and what lies behind one, are left out;
    needs that are no ids are taken as met.
    """
    rank = {step: index for index, step in enumerate(needs)}
    waiting = {step: {need for need in wanted if need in rank} for step, wanted in needs.items()}
    followers: dict[str, list[str]] = {step: [] for step in rank}
    for step, wanted in waiting.items():
        for need in wanted:
            followers[need].append(step)
    missing = {step: len(wanted) for step, wanted in waiting.items()}
    names = list(rank)
    ready = [rank[step] for step, count in missing.items() if count == 0]
    heapq.heapify(ready)
    order: list[str] = []
    while ready:
        step = names[heapq.heappop(ready)]
        order.append(step)
        for follower in followers[step]:
            missing[follower] -= 1
            if missing[follower] == 0:
                heapq.heappush(ready, rank[follower])
    return tuple(order)


def cycles(needs: Needs) -> list[tuple[str, ...]]:
    """Cycles, each once, as ids in the order in which they wait for one another; every cyclic part gives at least one.

    A depth-first walk: each edge back into the path being walked closes a cycle.
    """
    found: list[tuple[str, ...]] = []
    done: set[str] = set()
    for start in needs:
        if start in done:
            continue
        path = [start]
        position = {start: 0}
        iterators = [iter(needs[start])]
        while path:
            following = next(iterators[-1], None)
            if following is None:
                iterators.pop()
                finished = path.pop()
                del position[finished]
                done.add(finished)
            elif following in position:
                found.append(tuple(path[position[following] :]))
            elif following in needs and following not in done:
                position[following] = len(path)
                path.append(following)
                iterators.append(iter(needs[following]))
    return found


@dataclass(frozen=True, slots=True)
class Ancestry:
    """Who waits for whom, directly or not, as one bit a step."""

    index: Mapping[str, int]
    above: Mapping[str, int]

    def reduced(self, needs: Sequence[str]) -> tuple[str, ...]:
        """``needs`` without those that another of them already waits for (transitive reduction)."""
        implied = 0
        for need in needs:
            implied |= self.above[need]
        return tuple(need for need in needs if not implied >> self.index[need] & 1)


def ancestry(needs: Needs) -> Ancestry:
    """The ancestry of every step that is on no cycle and behind none."""
    index = {step: position for position, step in enumerate(needs)}
    above: dict[str, int] = {}
    for step in topological_order(needs):
        bits = 0
        for need in needs[step]:
            if need in above:
                bits |= above[need] | 1 << index[need]
        above[step] = bits
    return Ancestry(index, above)
