"""Traffic for a service of several language model instances, generated or recorded, and what nobody can beat on it.

Everything is drawn from the raw 64-bit words of PCG64 by comparisons, sums, products, divisions and square roots,
which every processor rounds alike.
"""

from __future__ import annotations

import csv
import json
import math
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import product
from pathlib import Path

import numpy as np
import numpy.typing as npt

from evolve import data
from evolve.errors import ProblemError
from evolve.records import Instance

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "evaluators"))
from routing import MIGRATE_NS, SECOND, Kind, Request, alone, loss

Floats = npt.NDArray[np.float64]
_SPLIT_KEYS = {"train": 1, "validation": 2, "holdout": 3}

# of the order of a model of 8 billion parameters on a recent GPU: 20,000 prompt tokens a second, 9 ms a token
# 128 KB a token, copied between instances at 12.5 GB a second
COPY = 10_000
FAST = Kind(7_000_000, 50_000, 50_000, 100, COPY, capacity=24_000, batch=24)
SLOW = Kind(12_000_000, 110_000, 80_000, 180, COPY, capacity=14_000, batch=16)
TTFT_S, TPOT_S = 0.6, 0.03
CPU_S = 0.4  # for the answers to 240 requests
MOST_LOOKS = 20  # questions about moves for each request that the limit has room for
BLOCK = 64
SLOT_NS = 2_000_000  # arrivals fall into slots of 2 ms
LONGEST = 6_000  # tokens of a prompt and its answer; any instance can hold them
PREDICTIONS = ("exact", "noisy", "adverse")


@dataclass(frozen=True)
class Draft:
    """A request before its arrival and prediction are known. blocks: of the shared beginning, in order."""

    prompt: int
    output: int
    blocks: tuple[int, ...] = ()


def words(key: tuple[int, ...], shape: tuple[int, ...]) -> Floats:
    """Numbers of (0, 1), the middles of 2**52 equal cells; `key` names the stream."""
    bits = np.random.PCG64(np.random.SeedSequence(key)).random_raw(math.prod(shape))
    return (((bits >> np.uint64(12)).astype(np.float64) + 0.5) * 2.0**-52).reshape(shape)


def tokens(smallest: int, u: float, most: int) -> int:
    """A length with a heavy tail: Pareto's law with exponent 2, cut off; its median is 1.4 times the smallest."""
    return min(most, int(smallest / math.sqrt(u)))


def own_blocks(number: int, prompt: int, shared: Sequence[int] = ()) -> tuple[int, ...]:
    """The shared blocks, and then the request's own ones, up to the end of the prompt."""
    full = prompt // BLOCK
    return (*shared[:full], *(1_000_000 + 1000 * number + i for i in range(len(shared), full)))


def chat(u: Floats) -> Iterator[Draft]:
    """Independent questions of moderate length."""
    for number, (one, other) in enumerate(u[:2].T.tolist()):
        prompt = tokens(500, one, 4000)
        yield Draft(prompt, tokens(60, other, 1000), own_blocks(number, prompt))


def heavy(u: Floats) -> Iterator[Draft]:
    """Few very long prompts and answers among many short ones."""
    for number, (one, other) in enumerate(u[:2].T.tolist()):
        prompt, output = min(4500, int(90 / one)), min(1400, int(25 / other))
        yield Draft(prompt, output, own_blocks(number, prompt))


def shared(u: Floats) -> Iterator[Draft]:
    """Twelve long system prompts, popular by Zipf's law, before short questions."""
    share = np.cumsum(1.0 / np.arange(1.0, 13.0))
    lengths = (12 + 3 * (np.arange(12) * 5 % 12)).tolist()  # blocks
    for number, (one, other, which) in enumerate(u[:3].T.tolist()):
        group = int(np.searchsorted(share, which * share[-1]))
        beginning = [10_000 * (1 + group) + i for i in range(lengths[group])]
        prompt = len(beginning) * BLOCK + tokens(80, one, 1500)
        yield Draft(prompt, tokens(50, other, 800), own_blocks(number, prompt, beginning))


def sessions(u: Floats) -> Iterator[Draft]:
    """Conversations: each prompt is the whole of what was said before, and a new question."""
    open_: list[tuple[int, ...]] = []  # prompts' blocks so far
    length: list[int] = []
    for number, (one, other, which, new) in enumerate(u[:4].T.tolist()):
        place = int(which * len(open_))
        if not open_ or new < 0.25 or length[place] > 3500:
            open_.append(())
            length.append(200)  # a system prompt of its own
            place = len(open_) - 1
        prompt = length[place] + tokens(60, one, 1200)
        output = tokens(60, other, 600)
        blocks = own_blocks(number, prompt, open_[place])
        open_[place], length[place] = blocks, prompt + output
        yield Draft(prompt, output, blocks)
        if len(open_) > 40:
            del open_[0], length[0]


def blend(u: Floats) -> Iterator[Draft]:
    """A third each of chat, shared and sessions, mixed. Holdout only."""
    sources = (chat(u), shared(u), sessions(u))
    for which in u[4].tolist():
        yield next(sources[int(3 * which)])


def agents(u: Floats) -> Iterator[Draft]:
    """One long common beginning for all, then long conversations: prefix affinity alone sends all to one place."""
    common = [5_000_000 + i for i in range(24)]
    for number, draft in enumerate(sessions(u)):
        prompt = len(common) * BLOCK + draft.prompt
        prompt = min(prompt, LONGEST - draft.output)
        yield Draft(prompt, draft.output, own_blocks(number, prompt, (*common, *draft.blocks)))


@dataclass(frozen=True)
class Traffic:
    """rate: requests a second for each fast instance. burst: how many times that in a burst, a fourth of the time."""

    drafts: Callable[[Floats], Iterator[Draft]]
    rate: float
    burst: float


KINDS: Mapping[str, Traffic] = {
    "bursty": Traffic(chat, 9.0, 2.2),
    "heavy": Traffic(heavy, 18.0, 1.3),
    "shared": Traffic(shared, 16.0, 1.6),
    "sessions": Traffic(sessions, 14.5, 1.6),
    "blend": Traffic(blend, 14.0, 1.8),
    "agents": Traffic(agents, 12.0, 1.6),
}
SEEN = ("bursty", "heavy", "shared", "sessions")
FLEETS: Mapping[str, tuple[Kind, ...]] = {
    "even": (FAST,) * 4,
    "mixed": (FAST, SLOW, FAST, SLOW, SLOW),
    "large": (FAST,) * 6 + (SLOW,) * 6,  # holdout only
}
# split: (kinds, fleets, requests, instances of each)
PLANS: Mapping[str, list[tuple[tuple[str, ...], tuple[str, ...], int, int]]] = {
    "train": [(SEEN, ("even", "mixed"), 240, 1)],
    "validation": [(SEEN, ("even", "mixed"), 240, 3)],
    "holdout": [
        (SEEN, ("even", "mixed"), 300, 2),
        (SEEN, ("large",), 800, 1),
        (("blend", "agents"), ("even", "mixed"), 300, 2),
    ],
}


def arrivals(traffic: Traffic, count: int, power: float, u: Floats) -> list[int]:
    """Nanoseconds, rising. power: of the fleet, in fast instances. u: (2, slots), as many as are needed."""
    low = traffic.rate * power * SLOT_NS / SECOND / (0.75 + 0.25 * traffic.burst)
    found: list[int] = []
    busy = False
    for slot, (change, come) in enumerate(u.T.tolist()):
        # bursts last 0.5 s, the time between them 1.5 s
        if change * (0.5 if busy else 1.5) < SLOT_NS / SECOND:
            busy = not busy
        if come < low * (traffic.burst if busy else 1.0):
            found.append(slot * SLOT_NS + int(come * 1e6))
            if len(found) == count:
                break
    return found


def predicted(kind: str, outputs: Sequence[int], u: Floats) -> list[int]:
    """Predictions of the lengths of answers: right, off by a factor of up to 4, or the wrong way round."""
    if kind == "exact":
        return list(outputs)
    if kind == "noisy":
        factors = np.where(u[1] < 0.5, 1.0 + 3.0 * u[0] * u[0], 1.0 / (1.0 + 3.0 * u[0] * u[0]))
        return [max(1, int(each * factor)) for each, factor in zip(outputs, factors.tolist(), strict=True)]
    ranked = sorted(range(len(outputs)), key=lambda each: (outputs[each], each))
    found = [0] * len(outputs)
    for short, long in zip(ranked, reversed(ranked), strict=True):
        found[short] = outputs[long]
    return found


def power_of(fleet: Sequence[Kind]) -> float:
    """What a fleet can do, in fast instances."""
    return sum(FAST.prompt_token / kind.prompt_token for kind in fleet)


def instance(
    name: str, requests: Sequence[Request], fleet: Sequence[Kind], group: Mapping[str, str], block: int = BLOCK,
    ttft_s: float = TTFT_S, tpot_s: float = TPOT_S, family: str = "",
) -> Instance:  # fmt: skip
    """With the points that are lost when every request is alone as its bound.

    Raises:
        ValueError: a request is longer than an instance can hold.
    """
    room = min(kind.capacity for kind in fleet)
    for request in requests:
        if request.prompt + request.output + 2 > room:
            raise ValueError(
                f"{name}: a request of {request.prompt} + {request.output} tokens; room is for {room}"
            )
    facts = {
        "requests": list(requests), "block": block, "kinds": list(fleet), "ttft_s": ttft_s, "tpot_s": tpot_s,
    }  # fmt: skip
    # the problem's own limit is for some 240 requests, which come within seconds; a recording may take hours
    looks = (requests[-1].arrival - requests[0].arrival) // MIGRATE_NS
    asked = len(requests) + min(looks, MOST_LOOKS * len(requests))
    cpu_s = CPU_S * asked / 240 if len(requests) > 300 else None
    return Instance(name, {}, loss(facts, *alone(facts)), dict(group), facts, cpu_s, family)


def drawn(split: str, kind: str, fleet: str, prediction: str, count: int, repeat: int) -> Instance:
    """On the holdout the same requests come with each kind of prediction; elsewhere every instance has its own."""
    traffic, machines = KINDS[kind], FLEETS[fleet]
    numbers: tuple[int, ...] = list(KINDS).index(kind), list(FLEETS).index(fleet)
    if split != "holdout":
        numbers = (*numbers, PREDICTIONS.index(prediction))
    key = (_SPLIT_KEYS[split], repeat, count, *numbers)
    power = power_of(machines)
    slots = int(3 * count / (traffic.rate * power) * SECOND / SLOT_NS) + 5000
    times = arrivals(traffic, count, power, words((*key, 1), (2, slots)))
    drafts = list(traffic.drafts(words((*key, 2), (5, count))))
    outputs = [draft.output for draft in drafts]
    guesses = predicted(prediction, outputs, words((*key, 3), (2, len(outputs))))
    requests = [
        Request(time, draft.prompt, draft.output, guess, draft.blocks)
        for time, draft, guess in zip(times, drafts, guesses, strict=False)
    ]
    name = f"{split}/{kind}-{fleet}-{prediction}-{len(requests)}-{repeat}"
    family = f"{kind}-{fleet}-{len(requests)}-{repeat}" if split == "holdout" else ""
    return instance(name, requests, machines, {"traffic": kind, "prediction": prediction}, family=family)


def instances(split: str) -> Iterable[Instance]:
    """The instances of "train", "validation" or "holdout", always the same and in the same order.

    Raises:
        ProblemError: there is no such split.
    """
    if split not in PLANS:
        raise ProblemError(f"no split {split!r} in problems/llm_routing; there is: {', '.join(PLANS)}")
    yield from _drawn_by_plan(split)


def further() -> Iterable[Instance]:
    """As many instances like those of train again."""
    return _drawn_by_plan("train", 1)


def _drawn_by_plan(split: str, turn: int = 0) -> Iterable[Instance]:
    for kinds, fleets, size, repeats in PLANS[split]:
        # repeats outermost: a prefix holds every kind of traffic
        numbers = range(turn * repeats, (turn + 1) * repeats)
        for repeat, prediction, fleet, kind in product(numbers, PREDICTIONS, fleets, kinds):
            yield drawn(split, kind, fleet, prediction, size, repeat)


def count(split: str) -> int:
    """How many instances a split has, without making them."""
    return sum(
        repeats * len(PREDICTIONS) * len(fleets) * len(kinds) for kinds, fleets, _, repeats in PLANS[split]
    )


# -- recorded traffic ------------------------------------------------------------------------------------

MOONCAKE_BLOCK = 512
MOONCAKE_KEYS = "a line is a JSON object with timestamp, input_length, output_length and hash_ids"
AZURE_COLUMNS = ("TIMESTAMP", "ContextTokens", "GeneratedTokens")
LARGE = replace(FAST, capacity=400_000, batch=64)
RECORDED_FLEET = 16  # for Mooncake's trace: what its authors' prompts of 12,000 tokens keep busy
AZURE_FLEET = 2  # for Azure's, of some 1,200 tokens
WINDOW = 400  # requests of an instance that is cut from a recording
PER_SPLIT = {"train": 6, "validation": 10, "holdout": 10}
RECORDED_TTFT_S = 2.0


def read_mooncake(path: Path) -> list[Request]:
    """Requests of a trace of Mooncake (FAST'25): a JSON object a line.

    Keys: timestamp (ms), input_length, output_length, hash_ids (of blocks of 512 tokens, the last may be partial).

    Raises:
        ValueError: naming the line.
    """
    found = []
    for number, line in enumerate(data.text(path).splitlines(), 1):
        where = f"{path.name}, line {number}"
        try:
            row = json.loads(line)
            prompt, output = int(row["input_length"]), int(row["output_length"])
            blocks = tuple(int(each) for each in row["hash_ids"])[: prompt // MOONCAKE_BLOCK]
            arrival = round(row["timestamp"] * 1_000_000)
        except KeyError as error:
            raise ValueError(f"{where}: there is no key {error}; {MOONCAKE_KEYS}") from None
        except (ValueError, TypeError, OverflowError, RecursionError) as error:
            raise ValueError(f"{where}: {type(error).__name__}: {error}; {MOONCAKE_KEYS}") from None
        found.append(_recorded(arrival, prompt, output, blocks, where))
    return sorted(found, key=lambda each: each.arrival)


def read_azure(path: Path) -> list[Request]:
    """Requests of a trace of the Azure LLM inference dataset: a CSV of TIMESTAMP, ContextTokens, GeneratedTokens.

    It says nothing about common beginnings, so there are none.

    Raises:
        ValueError: naming the line.
    """
    found: list[Request] = []
    first: datetime | None = None
    try:
        table = csv.DictReader(data.text(path).splitlines())
        names, rows = table.fieldnames or (), list(table)
    except csv.Error as error:
        raise ValueError(f"{path.name}: no CSV: {error}") from None
    if missing := [name for name in AZURE_COLUMNS if name not in names]:
        raise ValueError(f"{path.name}: no column {missing[0]}; there have to be {', '.join(AZURE_COLUMNS)}")
    for number, row in enumerate(rows, 2):
        where = f"{path.name}, line {number}"
        try:
            # seven digits of a second: more than datetime holds
            time = datetime.fromisoformat(row["TIMESTAMP"][:26])
            first = first or time
            arrival = round((time - first).total_seconds() * 1e6) * 1000
            prompt, output = int(row["ContextTokens"]), int(row["GeneratedTokens"])
        except (ValueError, TypeError, OverflowError) as error:
            raise ValueError(f"{where}: {type(error).__name__}: {error}") from None
        found.append(_recorded(arrival, prompt, output, (), where))
    return sorted(found, key=lambda each: each.arrival)


def _recorded(arrival: int, prompt: int, output: int, blocks: tuple[int, ...], where: str) -> Request:
    if prompt < 1 or output < 0:
        raise ValueError(f"{where}: {prompt} prompt tokens and {output} to generate; at least 1 and 0")
    return Request(arrival, prompt, max(1, output), max(1, output), blocks)


def read_requests(path: Path) -> list[Request]:
    """The requests of a .jsonl file of Mooncake or a .csv file of Azure, by arrival.

    Raises:
        ValueError: another kind of file, or a broken one.
    """
    if _suffix(path) == ".jsonl":
        return read_mooncake(path)
    if _suffix(path) == ".csv":
        return read_azure(path)
    raise ValueError(f"{path.name}: neither a .jsonl(.gz) of Mooncake nor a .csv(.gz) of Azure")


def _suffix(path: Path) -> str:
    return Path(path.name.removesuffix(".gz")).suffix


def from_data(split: str, path: Path) -> Iterable[Instance]:
    """Windows of a recording: its first third for train, the second for validation, the last for holdout.

    The lengths of answers count as predicted exactly.

    Raises:
        ProblemError: the file cannot be read as a trace, or is too short.
    """
    part, azure = list(_SPLIT_KEYS).index(split), _suffix(path) == ".csv"
    try:
        everything = read_requests(path)
        third = len(everything) // 3
        mine = everything[part * third : (part + 1) * third]
        count = min(PER_SPLIT[split], third // WINDOW)
        if not count:
            raise ValueError(f"{len(everything)} requests; at least {3 * WINDOW} are needed")
        for number in range(count):
            start = number * third // count
            cut = mine[start : start + WINDOW]
            shifted = [replace(each, arrival=each.arrival - cut[0].arrival) for each in cut]
            yield instance(
                f"{split}/{path.stem}-{part * third + start}",
                shifted,
                (LARGE,) * (AZURE_FLEET if azure else RECORDED_FLEET),
                {"traffic": path.stem, "prediction": "exact"},
                MOONCAKE_BLOCK,
                TTFT_S if azure else RECORDED_TTFT_S,
            )
    except (ValueError, OSError) as error:
        raise ProblemError(f"--data {path}: {error}") from None
