"""An engine to time parts of: one guided UNet step, one decode, the kernels in them."""

from __future__ import annotations

import statistics
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks._render_steps import Card, recipe


def timed(call: Callable[[], object], repeats: int = 5, warm: int = 2) -> float:
    """Return the median seconds of ``call`` on the GPU."""
    import torch

    for _ in range(warm):
        call()
    torch.cuda.synchronize()
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        torch.cuda.synchronize()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)


def launched(call: Callable[[], object]) -> float:
    """Return the seconds after which one ``call`` returns, the GPU idle before it."""
    import torch

    torch.cuda.synchronize()
    start = time.perf_counter()
    call()
    seconds = time.perf_counter() - start
    torch.cuda.synchronize()
    return seconds


def streamed(call: Callable[[], object], repeats: int) -> dict[str, Any]:
    """Return the seconds of one ``call`` among many that follow each other without a pause, and
    what the card's clock and power were meanwhile.
    """
    import torch

    torch.cuda.synchronize()
    card = Card()
    start = time.perf_counter()
    for _ in range(repeats):
        call()
    torch.cuda.synchronize()
    return {"unbroken_s": (time.perf_counter() - start) / repeats, **card.seen()}


@contextmanager
def kernels(first: str, *, benchmark: bool = False) -> Iterator[None]:
    """Let torch prefer the attention kernel ``first``, and cuDNN try its convolutions or not."""
    import torch
    from torch.nn.attention import SDPBackend, sdpa_kernel

    order = [SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH]
    if first == "cudnn":
        order.insert(0, SDPBackend.CUDNN_ATTENTION)
    before = torch.backends.cudnn.benchmark
    torch.backends.cudnn.benchmark = benchmark
    try:
        with sdpa_kernel(order, set_priority=True):
            yield
    finally:
        torch.backends.cudnn.benchmark = before


class Bench:
    """An engine, one guided UNet step and one decode of it, and what they took.

    A variant's ``images_per_s`` is what 30 such steps alone would allow; a decode's what decoding
    alone would.
    """

    def __init__(self, work: Path, family: str) -> None:
        from loraeval.render import sd
        from loraeval.render.recipe import resolve_recipe

        resolved = resolve_recipe(recipe(work, family), device="cuda:0")
        start = time.perf_counter()
        self.engine = sd.Engine(resolved, "cuda:0")
        self.result: dict[str, Any] = {"load_s": time.perf_counter() - start}
        self.unet, self.vae = self.engine.pipe.unet, self.engine.pipe.vae
        self.text = self.engine.embed(["a portrait"], 1, None)[0]
        self.size = resolved.width // 8
        self.at_once = self.engine.decode_limit

    def step(self, count: int, *, last: bool = False, shared: bool = True) -> Callable[[], object]:
        """Return a call of one guided step of ``count`` images, channels last or first; what both
        halves share computed once or twice.
        """
        import torch

        from loraeval.render.denoise import Conditions, predict
        from loraeval.render.pixels import initial_noise

        noise = initial_noise(1, (count, 4, self.size, self.size)).to("cuda", torch.float16)
        latents = torch.cat([noise, noise])
        if last:
            latents = latents.to(memory_format=torch.channels_last)
        hidden = self.text.states.repeat(2 * count, 1, 1)
        moment = torch.tensor(500, device="cuda")
        added = None
        if self.text.pooled is not None:
            ids = hidden.new_tensor([[1024, 1024, 0, 0, 1024, 1024]]).repeat(2 * count, 1)
            added = {"text_embeds": self.text.pooled.repeat(2 * count, 1), "time_ids": ids}

        given = Conditions(hidden, added, guided=shared)

        def call() -> object:
            with torch.no_grad():
                return predict(self.unet, latents, moment, given)

        return call

    def decode(self, count: int) -> Callable[[], object]:
        """Return a call that decodes ``count`` images."""
        import torch

        from loraeval.render.pixels import decode, initial_noise

        latents = initial_noise(2, (count, 4, self.size, self.size)).to("cuda", torch.float16)
        return lambda: decode(self.vae, latents, count)

    def note(
        self, name: str, count: int, call: Callable[[], object], steps: int = 30, long: float = 2
    ) -> None:
        """Time ``call``, alone and for ``long`` seconds; keep what it would allow by itself."""
        import torch

        try:
            seconds = timed(call)
            host = launched(call)
            unbroken = streamed(call, max(5, round(long / seconds)))
        except Exception as error:  # noqa: BLE001 - the benchmark goes on and says so
            self.result[name] = f"{type(error).__name__}: {str(error)[:200]}"
            torch.cuda.empty_cache()
        else:
            rate = count / (steps * seconds)
            self.result[name] = {
                "batch": count, "step_s": seconds, "images_per_s": rate,
                "host_s": host, **unbroken,
            }  # fmt: skip
        print(name, self.result[name], flush=True)

    def first(self, name: str, call: Callable[[], object]) -> None:
        """Keep the seconds of the first call, compiling with it."""
        import torch

        begin = time.perf_counter()
        call()
        torch.cuda.synchronize()
        self.result[name] = time.perf_counter() - begin

    def layout(self, last: bool) -> None:
        """Lay the weights of UNet and VAE out with channels last, or first."""
        import torch

        layout = torch.channels_last if last else torch.contiguous_format
        self.unet.to(memory_format=layout)
        self.vae.to(memory_format=layout)

    def profile(self, name: str, call: Callable[[], object]) -> None:
        """Keep the GPU's milliseconds of one call by kind of kernel, and the longest kernels."""
        import torch
        from torch.profiler import ProfilerActivity, profile

        call()
        torch.cuda.synchronize()
        try:
            with profile(activities=[ProfilerActivity.CUDA]) as found:
                call()
                torch.cuda.synchronize()
        except RuntimeError as error:
            self.result[f"kernels, {name}"] = str(error)[:200]
            return
        times: Counter[str] = Counter()
        counts: Counter[str] = Counter()
        for event in found.events():
            if event.device_type.name != "CUDA":
                continue
            times[event.name] += event.device_time / 1000
            counts[event.name] += 1
        kinds: Counter[str] = Counter()
        for kernel, spent in times.items():
            kinds[kind_of(kernel)] += spent
        longest = [[key[:110], counts[key], round(ms, 2)] for key, ms in times.most_common(16)]
        self.result[f"kernels, {name}"] = {
            "ms": {key: round(value, 2) for key, value in kinds.most_common()}, "longest": longest,
        }  # fmt: skip


def kind_of(kernel: str) -> str:
    """Return what a GPU kernel is for, by its name."""
    low = kernel.lower()
    for kind, words in (
        ("attention", ("flash", "fmha", "sdpa", "attention")),
        ("layout", ("nchwtonhwc", "nhwctonchw", "nchw2nhwc")),
        ("triton", ("triton_",)),
        ("convolution", ("fprop", "conv", "implicit")),
        ("product", ("gemm", "nvjet", "cutlass", "cublas")),
        ("norm", ("norm", "moments", "welford")),
        ("copy", ("memcpy", "memset", "copy")),
    ):
        if any(word in low for word in words):
            return kind
    return "elementwise"
