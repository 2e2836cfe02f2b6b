"""What a reviewer has said about candidates of a run; kept beside the journal, so that no store can lose it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from evolve.errors import PublishError
from evolve.lineage import Lineage

FILE = "reviews.json"
APPROVED, REJECTED = "approved", "rejected"


@dataclass(frozen=True)
class Review:
    """A verdict: approved, rejected, or whatever somebody wrote instead. where: the store that had it."""

    candidate: str
    verdict: str
    reason: str = ""
    where: str = ""


def kept(folder: Path) -> dict[str, Review]:
    """The reviews that are kept with a run, by candidate; none if there is no readable file."""
    try:
        found = json.loads((folder / FILE).read_text(encoding="utf-8"))
        return {each["candidate"]: Review(**each) for each in found}
    except (FileNotFoundError, json.JSONDecodeError, TypeError, KeyError):
        return {}


def keep(folder: Path, reviews: Iterable[Review]) -> dict[str, Review]:
    """Add reviews to those that are kept, in place of older ones of the same candidates; gives all."""
    known = kept(folder)
    merged = {**known, **{each.candidate: each for each in reviews}}
    if merged != known:
        aside = folder / f".{FILE}.tmp"
        aside.write_text(json.dumps([asdict(each) for each in merged.values()], indent=1) + "\n", "utf-8")
        aside.replace(folder / FILE)
    return merged


def choose(lineage: Lineage, identity: str | None, reviews: Mapping[str, Review]) -> Review:
    """The review of what may be published: of the named candidate, or of the newest approved champion.

    Without an approved champion, of the one other candidate that was approved.

    Raises:
        PublishError: nothing was approved, or not this; the text says what to do.
        JournalError: there is no such candidate.
    """
    if identity is not None:
        return _named(lineage.resolve(identity), reviews)
    approved = [each for each in reviews.values() if each.verdict == APPROVED]
    champions = [each.challenger for each in reversed(lineage.promotions) if each.promoted]
    for champion in champions:
        if champion in {each.candidate for each in approved}:
            return reviews[champion]
    if len(approved) == 1:
        return approved[0]
    if approved:
        names = ", ".join(each.candidate for each in approved)
        raise PublishError(f"several candidates were approved, none of them a champion: {names}; name one")
    return _named(lineage.champion, reviews)


def _named(identity: str, reviews: Mapping[str, Review]) -> Review:
    review = reviews.get(identity)
    if review is not None and review.verdict == APPROVED:
        return review
    how = f"set the tag `review` of its run to '{APPROVED}' in MLflow (`evolve mlflow`), and `review.reason`"
    if not identity:
        raise PublishError(f"nothing was approved, and there is no champion; {how}")
    if review is None:
        raise PublishError(f"candidate {identity} was not reviewed; {how}")
    reason = f": {review.reason}" if review.reason else ""
    if review.verdict == REJECTED:
        raise PublishError(f"candidate {identity} was rejected by its reviewer{reason}")
    raise PublishError(
        f"candidate {identity}: the tag `review` is '{review.verdict}'; {how}, or to '{REJECTED}'"
    )
