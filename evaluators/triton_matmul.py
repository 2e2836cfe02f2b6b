"""A bf16 matrix product in Triton whose tiles, warps and stages can be chosen. Needs triton and a CUDA device.

The program's blocks are numbered so that eight rows of tiles are gone through together, and columns of B that a
wave has loaded are still in the L2 cache. Edges are masked in all three directions, so that any shape is right.
"""

# annotations of a kernel are read when it is compiled: no `from __future__ import annotations` here

from typing import Any

import triton
import triton.language as tl


@triton.jit
def _matmul(  # type: ignore[no-untyped-def]
    a_ptr, b_ptr, c_ptr, m, n, k,
    stride_am, stride_ak, stride_bk, stride_bn, stride_cm, stride_cn,
    BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_K: tl.constexpr, TOGETHER: tl.constexpr,
):  # fmt: skip
    program = tl.program_id(0)
    tiles_m = tl.cdiv(m, BLOCK_M)
    tiles_n = tl.cdiv(n, BLOCK_N)
    band = program // (TOGETHER * tiles_n)
    height = tl.minimum(tiles_m - band * TOGETHER, TOGETHER)
    inside = program % (TOGETHER * tiles_n)
    row = band * TOGETHER + inside % height
    column = inside // height
    rows = row * BLOCK_M + tl.arange(0, BLOCK_M)
    columns = column * BLOCK_N + tl.arange(0, BLOCK_N)
    inner = tl.arange(0, BLOCK_K)
    a = a_ptr + rows[:, None] * stride_am + inner[None, :] * stride_ak
    b = b_ptr + inner[:, None] * stride_bk + columns[None, :] * stride_bn
    total = tl.zeros((BLOCK_M, BLOCK_N), dtype=tl.float32)
    for start in range(0, k, BLOCK_K):
        left = tl.load(a, mask=(rows[:, None] < m) & (inner[None, :] < k - start), other=0.0)
        right = tl.load(b, mask=(inner[:, None] < k - start) & (columns[None, :] < n), other=0.0)
        total = tl.dot(left, right, total)
        a += BLOCK_K * stride_ak
        b += BLOCK_K * stride_bk
    c = c_ptr + rows[:, None] * stride_cm + columns[None, :] * stride_cn
    tl.store(c, total.to(c_ptr.dtype.element_ty), mask=(rows[:, None] < m) & (columns[None, :] < n))


def matmul(a: Any, b: Any, out: Any, configuration: dict[str, int]) -> Any:
    """out = a @ b. a: (m, k), b: (k, n), out: (m, n), bf16 or fp16 on one CUDA device; returns out.

    Raises:
        triton.runtime.errors.OutOfResources: the configuration needs more shared memory or registers than there are.
    """
    (m, k), n = a.shape, b.shape[1]
    block_m, block_n = configuration["block_m"], configuration["block_n"]
    grid = (triton.cdiv(m, block_m) * triton.cdiv(n, block_n),)
    _matmul[grid](
        a, b, out, m, n, k, *a.stride(), *b.stride(), *out.stride(),
        BLOCK_M=block_m, BLOCK_N=block_n, BLOCK_K=configuration["block_k"], TOGETHER=8,
        num_warps=configuration["warps"], num_stages=configuration["stages"],
    )  # fmt: skip
    return out
