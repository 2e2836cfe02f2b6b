"""Time every configuration of a small grid on every shape: the measured optimum, and a table for --data.

    python problems/kernel_config/measure.py --out table.json
    evolve run kernel_config --data table.json

Needs an NVIDIA GPU, torch built for CUDA, and triton. Without them `evolve run kernel_config` uses the model.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "evaluators"), str(Path(__file__).parent)]

import gpu  # noqa: E402
import instances as shapes  # noqa: E402
import numpy as np  # noqa: E402

GRID = np.array(list(product((64, 128, 256), (64, 128, 256), (32, 64), (4, 8), (3, 4)))).T
REPEATS_OF_A_KIND = 6
TOLERANCE = (
    0.08  # largest error over the root mean square: two roundings of a value of six times it are .03 apart
)


def drawn(count: int) -> Iterator[shapes.Matmul]:
    """Shapes of every kind by turns, so that each split of the table has all of them."""
    device = len(shapes.DEVICES)  # a stream of its own
    for repeat in range(count):
        for number, kind in enumerate(shapes.SEEN):
            yield shapes.KINDS[kind](shapes.Dice(4, repeat, number, device))


def times_us(
    device: Any, matmul: Any, shape: shapes.Matmul, roofline: gpu.Roofline, repeats: int
) -> list[float]:
    """Median time of each configuration; nan where it does not fit on the device.

    Raises:
        Wrong: a product is not what torch's is. Impossible: a time is.
    """
    found = []
    for row in GRID.T.tolist():
        configuration = dict(zip(shapes.PARTS, row, strict=True))
        try:
            compared = gpu.compare(
                device, partial(_pair, device, matmul, shape, configuration), roofline, TOLERANCE, repeats
            )
        except _out_of_resources() as error:
            print(f"{row}: {error}", file=sys.stderr)
            found.append(math.nan)
        else:
            found.append(compared.timing.median)
    return found


def _out_of_resources() -> type[Exception]:
    from triton.runtime.errors import OutOfResources

    found: type[Exception] = OutOfResources
    return found


def _pair(
    device: Any, matmul: Any, shape: shapes.Matmul, configuration: dict[str, int], number: int
) -> tuple[gpu.Work, gpu.Work]:
    """The kernel and torch's product on random matrices of that number."""
    torch = device.torch
    dice = torch.Generator(device="cuda").manual_seed(number)
    options = {"generator": dice, "device": "cuda", "dtype": torch.bfloat16}
    a, b = torch.randn(shape.m, shape.k, **options), torch.randn(shape.k, shape.n, **options)
    out = torch.full((shape.m, shape.n), math.nan, device="cuda", dtype=torch.bfloat16)
    return partial(matmul, a, b, out, configuration), partial(torch.matmul, a, b)


def described(torch: Any, known: shapes.Device) -> shapes.Device:
    """The device by its own account; its rates are those of the data sheet of the one it is taken for."""
    properties = torch.cuda.get_device_properties(0)
    return replace(known, name=str(properties.name), sms=int(properties.multi_processor_count))


def table(count: int, known: shapes.Device, repeats: int) -> dict[str, Any]:
    """
    Raises:
        NoGpu: torch, triton or a CUDA device is missing.
    """
    device = gpu.CudaDevice()
    try:
        from triton_matmul import matmul
    except ImportError as error:
        raise gpu.NoGpu(f"triton cannot be imported ({error}); without it use the simulator") from None
    before, own, rows = device.environment(), described(device.torch, known), []
    for shape in drawn(count):
        least = gpu.Roofline(shape.flops, shape.bytes, known.tflops * 1e12, known.tbs * 1e12)
        us = times_us(device, matmul, shape, least, repeats)
        print(f"{shape}: best {np.nanmin(us):.1f} us of {np.isfinite(us).sum()}", file=sys.stderr)
        rows.append({"shape": [shape.m, shape.n, shape.k], "us": us})
    return {
        "label": "measured",
        "device": asdict(own),
        "environment": asdict(gpu.read_again(device, before)),
        "configurations": [dict(zip(shapes.PARTS, row, strict=True)) for row in GRID.T.tolist()],
        "rows": rows,
    }


def main(arguments: Sequence[str] | None = None) -> int:
    words = (__doc__ or "").partition("\n")
    parser = argparse.ArgumentParser(
        description=words[0], epilog=words[2], formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", metavar="FILE", required=True, help="where the table is written")
    parser.add_argument(
        "--like", choices=sorted(shapes.DEVICES), default="H200", help="whose data sheet gives the rates"
    )
    parser.add_argument("--shapes", type=int, default=REPEATS_OF_A_KIND, help="of each kind")
    parser.add_argument(
        "--repeats", type=int, default=gpu.REPEATS, help=f"of each timing, {gpu.REPEATS} or more"
    )
    options = parser.parse_args(arguments)
    if options.repeats < gpu.REPEATS or options.shapes < 1:
        parser.error(f"--repeats has to be at least {gpu.REPEATS}, --shapes at least 1")
    try:
        found = table(options.shapes, shapes.DEVICES[options.like], options.repeats)
    except gpu.NoGpu as error:
        print(f"{error}: evolve run kernel_config", file=sys.stderr)
        return 2
    except (gpu.Wrong, gpu.Impossible) as error:
        print(error, file=sys.stderr)
        return 1
    Path(options.out).write_text(json.dumps(found) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
