"""What placements cost in time: grouped bf16 products of every GPU's experts, on a real GPU or by a table of times.

    python problems/moe_placement/gpu.py --out h200.json     # measure: a table of tokens and times, and the seeds
    python problems/moe_placement/gpu.py --table h200.json   # calibrated: the seeds by a table that was measured
    python problems/moe_placement/gpu.py --simulate          # simulated: the seeds by a roofline; needs no GPU
    python problems/moe_placement/gpu.py --host              # the benchmark itself with toy sizes on the CPU

Every GPU of a placement is played by one, one after the other.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "evaluators")]

import gpu  # noqa: E402
import grouped_gemm as experts  # noqa: E402
import numpy as np  # noqa: E402

from evolve import problem  # noqa: E402
from evolve.records import Instance, Split  # noqa: E402

SLOTS = 9  # of a GPU: 288 on 32
GRID = (1, 8, 16, 32, 64, 128, 192, 256, 384, 512, 768, 1024, 1536, 2048, 3072, 4096)
HOST_GRID = (1, 2, 4, 8)
H200 = {"peak_flops": 989.5e12, "bandwidth": 4.8e12}  # NVIDIA's data sheet: dense bf16, HBM3e
HOST = {"peak_flops": 1e13, "bandwidth": 1e12}  # more than a CPU can
TOLERANCE = 0.15  # of bf16 against bf16, the largest error over the root mean square


class Bench:
    """The experts of a GPU on a device, timed for numbers of tokens."""

    def __init__(self, device: Any, weights: Any, rates: dict[str, float], repeats: int) -> None:
        self.device, self.weights, self.rates, self.repeats = device, weights, rates, repeats

    def us(self, tokens: Sequence[int]) -> gpu.Timing:
        """Time of a GPU whose slots have these tokens; impossible ones are refused."""
        x, ends = self.weights.inputs(tokens)
        timing = gpu.measure(self.device, partial(self.weights.grouped, x, ends), self.repeats)
        gpu.possible(timing, self._roofline(tokens))
        return timing

    def against_reference(self, tokens: Sequence[int]) -> gpu.Comparison:
        """Grouped products against one slot after the other: first that they agree, then both times."""

        def make(_: int) -> tuple[gpu.Work, gpu.Work]:
            x, ends = self.weights.inputs(tokens)
            grouped, total = partial(self.weights.grouped, x, ends), sum(tokens)
            return (lambda: grouped()[:total]), partial(self.weights.one_by_one, x, tokens)

        return gpu.compare(self.device, make, self._roofline(tokens), TOLERANCE, self.repeats)

    def _roofline(self, tokens: Sequence[int]) -> gpu.Roofline:
        used = [count for count in tokens if count]
        expert = self.weights.expert
        return gpu.Roofline(sum(map(expert.flops, used)), sum(map(expert.bytes, used)), **self.rates)

    def table(self, grid: Sequence[int], slots: int) -> experts.Table:
        before = self.device.environment()
        timings = [self.us([count] * slots) for count in grid]
        return experts.Table(
            "measured",
            slots,
            self.weights.expert,
            tuple(map(float, grid)),
            tuple(each.median for each in timings),
            tuple(each.iqr for each in timings),
            asdict(gpu.read_again(self.device, before)),
        )


def instance() -> Instance:
    """An instance of validation with 288 slots on 32 GPUs."""
    found = problem.load("moe_placement").split(Split.VALIDATION)
    return next(each for each in found if each.arguments["gpus"] == 32)


def placements(chosen: Instance) -> dict[str, Any]:
    """What each seed decides."""
    loaded = problem.load("moe_placement")
    found = {}
    for name, candidate in loaded.seeds.items():
        scope: dict[str, Any] = {}
        exec(candidate.files[loaded.spec.program], scope)  # the seeds are our own
        found[name] = loaded.evaluator.check(chosen, scope[loaded.spec.entry.function](**chosen.arguments))
    return found


def report(table: experts.Table, label: str, bench: Bench | None, scale: float) -> list[str]:
    """Rows of the seeds: balance of tokens, of times by the table, and as measured; first next window, first layer."""
    chosen = instance()
    load, gpus = chosen.facts["next"][0][:1] * scale, chosen.arguments["gpus"]
    lines = [
        f"| seed | tokens | time, {label} | time, measured | slowest GPU, us |",
        "|---|---:|---:|---:|---:|",
    ]
    for name, placement in placements(chosen).items():
        tokens = experts.slot_tokens(placement[:1], load)
        by_table = experts.rank_us(tokens, gpus, table)
        even = experts.time_balance(tokens.reshape(1, gpus, -1).sum(axis=-1))
        seen, slowest = "", float(by_table.max())
        if bench:
            rows = tokens[0].reshape(gpus, -1)
            taken = np.array([[bench.us(experts.whole_tokens(row)).median for row in rows]])
            seen, slowest = f"{experts.time_balance(taken):.4f}", float(taken.max())
        lines.append(
            f"| {name} | {even:.4f} | {experts.time_balance(by_table):.4f} | {seen} | {slowest:.1f} |"
        )
    return lines


def cuda_bench(repeats: int) -> Bench:
    """
    Raises:
        NoGpu: there is none.
    """
    device = gpu.CudaDevice()
    return Bench(device, experts.TorchExperts(device.torch, SLOTS, experts.Expert(), 1), H200, repeats)


def host_bench(repeats: int) -> Bench:
    weights = experts.HostExperts(SLOTS, experts.Expert(hidden=64, intermediate=16), 1)
    return Bench(gpu.HostDevice(flush_bytes=1 << 20), weights, HOST, repeats)


def _calibration(path: Path) -> experts.Table:
    table = experts.read_table(path)
    if (table.slots, table.expert) != (SLOTS, experts.Expert()):
        raise ValueError(
            f"{path}: times of {table.slots} slots with {table.expert}; asked are {SLOTS} and {experts.Expert()}"
        )
    return table


def run(options: argparse.Namespace) -> list[str]:
    if options.simulate:
        table = experts.simulated_table(SLOTS, experts.Expert(), tokens=GRID, **H200)
        return report(table, "simulated", None, 1.0)
    if options.table:
        return report(_calibration(Path(options.table)), "calibrated", None, 1.0)
    bench = host_bench(options.repeats) if options.host else cuda_bench(options.repeats)
    grid, scale = (HOST_GRID, 1 / 512) if options.host else (GRID, 1.0)
    compared = bench.against_reference([grid[-1]] * SLOTS)
    lines = [
        f"{compared.environment}",
        f"grouped {compared.timing.median:.1f} us (IQR {compared.timing.iqr:.1f}), slot by slot "
        f"{compared.reference.median:.1f} us, error {compared.error:.3g}",
    ]
    table = bench.table(grid, SLOTS)
    if options.out:
        table.write(Path(options.out))
    return lines + report(table, "calibrated", bench, scale)


def main(arguments: Sequence[str] | None = None) -> int:
    words = (__doc__ or "").partition("\n")
    parser = argparse.ArgumentParser(
        description=words[0], epilog=words[2], formatter_class=argparse.RawDescriptionHelpFormatter
    )
    way = parser.add_mutually_exclusive_group()
    way.add_argument("--simulate", action="store_true", help="times by a roofline; needs no GPU")
    way.add_argument("--table", metavar="FILE", help="times by a table that was measured")
    way.add_argument("--host", action="store_true", help="toy sizes on the CPU")
    parser.add_argument("--out", metavar="FILE", help="where the measured table is written")
    parser.add_argument(
        "--repeats", type=int, default=gpu.REPEATS, help=f"of each timing, {gpu.REPEATS} or more"
    )
    options = parser.parse_args(arguments)
    if options.out and (options.simulate or options.table):
        parser.error("--out keeps a table that is measured; --simulate and --table measure none")
    if options.repeats < gpu.REPEATS:
        parser.error(f"--repeats {options.repeats}: a time is the median of {gpu.REPEATS} or more")
    try:
        print("\n".join(run(options)))
    except gpu.NoGpu as error:
        print(f"{error}: --simulate", file=sys.stderr)
        return 2
    except (
        ValueError,
        OSError,
    ) as error:  # a table that is none, or a measurement that is wrong or impossible
        print(error, file=sys.stderr)
        return 1 if isinstance(error, gpu.Wrong | gpu.Impossible) else 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
