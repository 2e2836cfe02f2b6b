"""What a run has found, as facts and as a table: the champion beside the problem's seeds."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console
from rich.progress import Progress
from rich.table import Table
from rich.text import Text

from evolve.account import print_account
from evolve.effects import COST_UNITS, operator_facts, operator_table
from evolve.evaluate import Evaluator
from evolve.problem import Problem
from evolve.records import SPLITS, Candidate, Evaluation, Member, Repeats, Split
from evolve.run import BEST_FILE, BEST_FOLDER, Result
from evolve.search import Search
from evolve.statistics import Interval, paired_bootstrap


@dataclass(frozen=True)
class Row:
    """One program's figures; an evaluation is None where it was not made."""

    name: str
    evaluations: dict[Split, Evaluation]

    def facts(self) -> dict[str, object]:
        """For --json."""
        return {
            "name": self.name,
            **{str(split): figures(found) for split, found in self.evaluations.items()},
        }


def figures(evaluation: Evaluation) -> dict[str, object]:
    """An evaluation's figures for --json; `score` and `raw` are null unless the status is OK."""
    ok = evaluation.ok
    return {
        "status": str(evaluation.status),
        "score": evaluation.score if ok else None,
        "raw": evaluation.objective if ok else None,
        "worst_decile": evaluation.worst_decile if ok else None,
        "instances": evaluation.instances,
        "cpu_s": round(evaluation.cpu_s, 6),
    }


def best_founder(search: Search) -> Member | None:
    """The best seed on train, of those in the first population that work."""
    sound = [member for member in search.founders.values() if member.evaluation.ok]
    return max(sound, key=lambda member: member.score, default=None)


def compare(problem: Problem, search: Search, evaluator: Evaluator) -> list[Row]:
    """The champion, the best seed of the first population and the problem's key seeds, on train and validation."""
    rows = []
    if search.champion is not None and search.champion_validation is not None:
        evaluations = {
            Split.TRAIN: search.champion.evaluation,
            Split.VALIDATION: search.champion_validation,
        }
        rows.append(Row("champion", evaluations))
    best = best_founder(search)
    names = dict.fromkeys([*([best.candidate.note] if best else []), *problem.spec.report.key_seeds])
    for name in names:
        title = f"{name} (best seed)" if best and name == best.candidate.note else name
        rows.append(Row(title, seed_evaluations(problem.seeds[name], search, evaluator)))
    return rows


def seed_evaluations(seed: Candidate, search: Search, evaluator: Evaluator) -> dict[Split, Evaluation]:
    """A seed on train and validation; what the run knows already is not run again."""
    founder = search.founders.get(seed.note)
    train = founder.evaluation if founder else evaluator.evaluate(seed, Split.TRAIN)
    champion = search.champion_validation
    if champion is not None and champion.candidate == seed.id:
        return {Split.TRAIN: train, Split.VALIDATION: champion}
    return {Split.TRAIN: train, Split.VALIDATION: evaluator.evaluate(seed, Split.VALIDATION)}


def render(problem: Problem, rows: Sequence[Row], splits: Sequence[Split], title: str = "") -> Table:
    """A rich table: mean objective and normalised score per split, and last the bound, which no program beats."""
    objective = problem.spec.objective
    table = Table(title=title or None, title_justify="left", header_style="bold")
    table.add_column("program")
    for split in splits:
        table.add_column(f"{split}: {objective.name} {objective.unit}", justify="right")
        table.add_column("score", justify="right")
    table.add_column("CPU ms / instance", justify="right")
    for index, row in enumerate(rows):
        style = "bold green" if index == 0 and row.name == "champion" else ""
        table.add_row(row.name, *_cells(row, splits), style=style)
    table.add_section()
    bounds = [cell for split in splits for cell in (f"{mean_bound(problem, split):.4g}", f"{1:.5f}")]
    table.add_row("bound", *bounds, "", style="dim")
    return table


def _cells(row: Row, splits: Sequence[Split]) -> list[str]:
    cells = []
    for split in splits:
        evaluation = row.evaluations.get(split)
        if evaluation is None:
            cells += ["-", "-"]
        elif evaluation.ok:
            cells += [f"{evaluation.objective:.4g}", shown_score(evaluation)]
        else:
            cells += [str(evaluation.status), "-"]
    last = row.evaluations.get(splits[-1])
    cells.append(f"{1000 * last.cpu_s / max(last.instances, 1):.2f}" if last else "-")
    return cells


def shown_score(evaluation: Evaluation) -> str:
    """The normalised score to five places, without a minus before zero."""
    return f"{round(evaluation.score, 5) + 0.0:.5f}"


def difference(ours: Evaluation, theirs: Evaluation, confidence: float = 0.95) -> Interval | None:
    """Paired difference of normalised scores with its interval; None unless both are OK."""
    if not (ours.ok and theirs.ok):
        return None
    return paired_bootstrap(ours.scores, theirs.scores, confidence)


def measure_seeds(
    problem: Problem, evaluator: Evaluator, splits: Sequence[Split], advance: Callable[[str], None]
) -> list[Row]:
    """Every seed on the given splits, best first on the last of them; failures at the end."""
    rows = []
    for name, seed in problem.seeds.items():
        advance(name)
        rows.append(Row(name, {split: evaluator.evaluate(seed, split) for split in splits}))
    last = splits[-1]
    return sorted(
        rows, key=lambda row: -row.evaluations[last].score if row.evaluations[last].ok else float("inf")
    )


@contextmanager
def progress(total: int, console: Console) -> Iterator[Callable[[str], None]]:
    """A progress bar; calling the yielded function says what comes next."""
    with Progress(console=console, transient=True) as bar:
        task = bar.add_task("", total=total)
        done = -1

        def advance(name: str) -> None:
            nonlocal done
            done += 1
            bar.update(task, description=name, completed=done)

        yield advance


def evaluation_facts(problem: Problem, evaluation: Evaluation) -> dict[str, object]:
    """For `evolve evaluate --json`."""
    found = figures(evaluation)
    return {
        "problem": problem.name,
        "candidate": evaluation.candidate,
        "status": found["status"],
        "split": str(evaluation.split),
        "data": problem.source or None,
        "score": found["score"],
        "worst_decile": found["worst_decile"],
        "raw": found["raw"],
        "bound": mean_bound(problem, evaluation.split),
        "unit": problem.spec.objective.unit,
        "instances": evaluation.instances,
        "groups": groups(problem, evaluation),
        "summary": summary(problem, evaluation),
        "cpu_s": found["cpu_s"],
        "peak_mb": round(evaluation.peak_mb, 1),
        "jail": evaluation.jail,
        "feedback": evaluation.feedback,
    }


def mean_bound(problem: Problem, split: Split) -> float:
    """Mean bound over a split, in the objective's unit."""
    instances = problem.split(split)
    return sum(instance.bound for instance in instances) / len(instances)


def groups(problem: Problem, evaluation: Evaluation) -> dict[str, dict[str, float]]:
    """Mean objective and score for each value of the first key of the problem's instance grid."""
    if not evaluation.ok or not problem.spec.report.group_by:
        return {}
    key = problem.spec.report.group_by[0]
    members: dict[str, list[int]] = {}
    for index, instance in enumerate(problem.split(evaluation.split)):
        members.setdefault(f"{key}={instance.group.get(key, '?')}", []).append(index)
    return {
        label: {
            "raw": sum(evaluation.objectives[index] for index in chosen) / len(chosen),
            "score": sum(evaluation.scores[index] for index in chosen) / len(chosen),
        }
        for label, chosen in members.items()
    }


def summary(problem: Problem, evaluation: Evaluation) -> dict[str, float]:
    """The evaluator's own further figures over a split, if it has any."""
    summarise = getattr(problem.evaluator, "summary", None)
    if summarise is None or not evaluation.ok:
        return {}
    found = summarise(problem.split(evaluation.split), evaluation.objectives)
    return {str(name): float(value) for name, value in found.items() if math.isfinite(value)}


def evaluation_table(problem: Problem, evaluation: Evaluation) -> Table:
    """One evaluation for the terminal."""
    objective = problem.spec.objective
    table = Table(show_header=False, box=None, padding=(0, 2))
    style = "green" if evaluation.ok else "bold red"
    table.add_row("status", f"[{style}]{evaluation.status}[/]")
    table.add_row("split", f"{evaluation.split}, {evaluation.instances} instances decided")
    if evaluation.ok:
        bound = mean_bound(problem, evaluation.split)
        table.add_row(f"{objective.name} {objective.unit}", f"{evaluation.objective:.6g} (bound {bound:.6g})")
        table.add_row("score", f"{evaluation.score:.6f} (0 = {problem.spec.score.baseline}, 1 = bound)")
        table.add_row("worst decile", f"{evaluation.worst_decile:.6f}")
        for label, values in groups(problem, evaluation).items():
            table.add_row(f"  {label}", f"{values['raw']:.6g} {objective.unit}, score {values['score']:.5f}")
        for name, value in summary(problem, evaluation).items():
            table.add_row(name, f"{value:.6g}")
    table.add_row("CPU", f"{evaluation.cpu_s:.3f} s, slowest instance {evaluation.slowest:.0%} of its limit")
    table.add_row("peak memory", f"{evaluation.peak_mb:.0f} MB")
    table.add_row("jail", evaluation.jail)
    table.add_row("feedback", Text(evaluation.feedback))
    return table


def result_facts(problem: Problem, result: Result, rows: Sequence[Row]) -> dict[str, object]:
    """For `evolve run --json`."""
    return {
        "run": str(result.folder),
        "data": problem.source or None,
        "champion": result.champion.candidate.id if result.champion else None,
        "evaluations": result.evaluations,
        "seconds": round(result.elapsed_s, 3),
        "stopped": str(result.stopped),
        "duplicates": {"source": result.repeats.source, "decisions": result.repeats.decisions},
        "cache": {"hits": result.repeats.cache, "fault": result.cache_fault},
        "models": result.account.facts() if result.account else None,
        "shared": asdict(result.shared) if result.shared else None,
        "impossible": [
            {
                "candidate": each.candidate,
                "split": str(each.split),
                "instance": problem.split(each.split)[each.index].name,
                "bound": problem.split(each.split)[each.index].bound,
                "feedback": each.feedback,
            }
            for each in result.impossible
        ],
        "scores": {row.name: row.facts() for row in rows},
    }


def print_result(
    problem: Problem, search: Search, result: Result, rows: Sequence[Row], console: Console
) -> None:
    """What a run ends with: the champion's table, where the run lies, what to type next."""
    rate = result.evaluations / max(result.elapsed_s, 1e-9)
    console.print(
        f"\n{result.evaluations} candidates in {result.elapsed_s:.0f} s ({rate:.0f} per second); {result.stopped}."
    )
    console.print(f"Not run: {repeats_text(result.repeats)}.", highlight=False, soft_wrap=True)
    if result.cache_fault:
        console.print(Text(f"Warning: {result.cache_fault}.", style="yellow"), soft_wrap=True)
    if result.shared:
        taken, placed = result.shared.taken, result.shared.placed
        console.print(f"Of other runs: {taken} programs taken in, {placed} of them entered the archive.")
    if result.silence:
        console.print(Text(f"Warning: no model answers: {result.silence}.", style="yellow"), soft_wrap=True)
    console.print(render(problem, rows, [Split.TRAIN, Split.VALIDATION]))
    console.print(_claim(search, rows))
    if result.account:
        print_account(result.account, console)
    arms = search.credits.bandit.table()
    if arms and result.evaluations > len(search.founders):
        console.print(operator_table(operator_facts(arms), COST_UNITS[search.settings.bandit.cost]))
    _print_impossible(problem, result, console)
    folder = result.folder
    several = len(problem.spec.all_files) > 1
    best = folder / (BEST_FOLDER if several else BEST_FILE)
    console.print(f"The run lies in {folder}; its best program is {best}.", soft_wrap=True)
    console.print("Next:", style="bold")
    changed = [(f"evolve diff {folder}", "what the last step changed")]
    for command, purpose in (
        *(changed if result.champion and result.champion.candidate.parents else []),
        (f"evolve lineage {folder}", "how it came about"),
        (f"evolve publish {folder} --to my_heuristic", "a module to import, with its proof"),
        (f"evolve resume {folder} --seconds {2 * result.elapsed_s:.0f}", "search on"),
        ("evolve mlflow", "review the candidates"),
    ):
        console.print(f"  {command}   [dim]# {purpose}[/]", highlight=False, soft_wrap=True)


def repeats_text(repeats: Repeats) -> str:
    """What did not have to be run, in words."""
    return (
        f"{repeats.source} proposals of a known program, {repeats.decisions} candidates dropped because they decide "
        f"as a known one, {repeats.cache} evaluations from the cache"
    )


def _print_impossible(problem: Problem, result: Result, console: Console) -> None:
    """A loud report: the bound, the evaluator or the problem is wrong, and so no score can be trusted."""
    for each in result.impossible:
        instance = problem.split(each.split)[each.index].name
        text = f"IMPOSSIBLE: candidate {each.candidate} on {instance}: {each.feedback}"
        console.print(Text(text, style="bold red"), soft_wrap=True)
    if result.impossible:
        advice = (
            f"A score beyond the bound is a defect of the problem: mend the bound in {problem.spec.instances} or the "
            f"check in {problem.spec.evaluator}, then search anew. `evolve show {result.folder} ID` shows a program."
        )
        console.print(Text(advice, style="bold red"), soft_wrap=True)


def _claim(search: Search, rows: Sequence[Row]) -> Text:
    best = best_founder(search)
    if search.champion is None or search.champion_validation is None or best is None:
        return Text("No program passed validation: there is no champion.", style="bold red")
    if search.champion.candidate.id == best.candidate.id:
        return Text(f"No program was shown to beat the best seed, {best.candidate.note}; it is the champion.")
    seed = next(row for row in rows if row.name.endswith("(best seed)")).evaluations[Split.VALIDATION]
    interval = difference(search.champion_validation, seed, search.settings.promotion.confidence)
    if interval is None:
        return Text(f"The best seed on train, {best.candidate.note}, fails on validation: {seed.status}.")
    verdict = "better than" if interval.low > 0 else "not shown to be better than"
    return Text(
        f"On validation the champion is {verdict} the best seed, {best.candidate.note}: score {interval.mean:+.5f}, "
        f"{search.settings.promotion.confidence:.0%} interval [{interval.low:+.5f}, {interval.high:+.5f}]."
    )


def problem_facts(problem: Problem) -> dict[str, object]:
    """For `evolve problems --json`."""
    spec = problem.spec
    return {
        "name": spec.name,
        "title": spec.title,
        "summary": spec.summary,
        "entry": spec.entry.signature,
        "may_define": [each.signature for each in spec.entry.also],
        "objective": f"{spec.objective.direction} {spec.objective.name} ({spec.objective.unit})",
        "instances": {str(split): problem.count(split) for split in SPLITS},
        "bound": spec.report.bound,
        "needs": list(spec.needs),
        "takes_data": problem.takes_data,
        "seeds": list(problem.seeds),
        "evaluator": Path(spec.evaluator).name,
        "baseline": spec.score.baseline,
        "folder": str(problem.folder),
    }


def problem_table(facts: Sequence[Mapping[str, object]]) -> Table:
    """The bundled problems for the terminal: a block of lines each, which fits any width."""
    table = Table(header_style="bold", show_lines=True)
    table.add_column("problem", no_wrap=True)
    table.add_column("what it is")
    for fact in facts:
        table.add_row(str(fact["name"]), Text("\n".join(_told(fact))))
    return table


def _told(fact: Mapping[str, object]) -> Iterator[str]:
    """The lines about one problem, from its facts."""
    counts, seeds, needs, also = (fact[key] for key in ("instances", "seeds", "needs", "may_define"))
    assert isinstance(counts, Mapping)
    assert isinstance(seeds, list)
    assert isinstance(needs, list)
    assert isinstance(also, list)
    sizes = ", ".join(f"{count} {split}" for split, count in counts.items())
    yield str(fact["summary"])
    yield f"entry: {fact['entry']}"
    yield from (f"may also define: {signature}" for signature in also)
    yield f"objective: {fact['objective']}; bound: {fact['bound'] or 'see its README'}"
    yield f"instances: {sizes}{'; or --data PATH' if fact['takes_data'] else ''}"
    yield f"{len(seeds)} seeds; evaluator: {fact['evaluator']}; needs: {', '.join(needs) or 'nothing'}"
