"""Train the demo world: autoencoder, base, LoRA series and encoder.

``base --out DIR`` makes the base on one GPU; ``sharpen --start DIR/base --out DIR`` goes on with
the autoencoder's decoder and trains the encoder; ``loras --base DIR/base --out DIR`` trains the
four LoRA runs side by side, or those that ``--only`` names. Every stage has a limit in seconds and
writes its log under DIR/logs.
``--tiny`` walks through a stage on a CPU, to see that it runs. docs/demo.md has the calls that
made what lies in demo/.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

import torch

from demo import autoencoder, base, data, decoder, encoder, look, lora, models

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
DATA_FROM = 1_000_000


def train_base(args: argparse.Namespace) -> None:
    """Make pictures, train the autoencoder, then text encoder and UNet; write the base."""
    torch.manual_seed(0)
    torch.backends.cuda.matmul.allow_tf32 = True
    torch.backends.cudnn.allow_tf32 = True
    out, logs = args.out, args.out / "logs"
    begun = time.perf_counter()
    arrays = data.make(Path(args.scratch), args.count, DATA_FROM, args.workers)
    print(f"{args.count} scenes in {time.perf_counter() - begun:.0f} s", flush=True)
    arrays = {name: tensor.to(DEVICE) for name, tensor in arrays.items()}
    stage = autoencoder.Stage("autoencoder", args.autoencoder_seconds, logs)
    old = models.load_pipeline(args.start, DEVICE, torch.float32) if args.start else None
    if old is not None and not args.autoencoder_seconds:
        vae = old.vae
    else:
        vae = autoencoder.train(
            arrays, stage, batch=args.autoencoder_batch, peak=1e-3,
            vae=old.vae if old else None,
        )  # fmt: skip
    latents = torch.empty(2, args.count, 4, 24, 24, device=DEVICE)
    for i in range(0, args.count, 512):
        pictures = autoencoder.photographs(arrays["photos"][i : i + 512])
        for side, turned in enumerate((pictures, pictures.flip(3))):
            with torch.autocast(DEVICE, torch.bfloat16, enabled=DEVICE == "cuda"):
                latents[side, i : i + 512] = autoencoder.encode(vae, turned)
    del arrays["photos"]
    print(f"latents at {time.perf_counter() - begun:.0f} s", flush=True)
    seconds = min(args.base_seconds, args.total_seconds - (time.perf_counter() - begun))
    stage = base.Stage("base", seconds, logs)
    unet, text = base.train(
        arrays, latents, stage, batch=args.batch, peak=args.peak, fast=args.fast,
        start=(old.unet, old.text_encoder) if old else None,
    )  # fmt: skip
    models.save_pipeline(out / "base", unet, text, models.build_tokenizer(), vae)
    portraits = look.held_out(args.look)
    rows = []
    for style in (True, False):
        pictures = look.draw(out / "base", None, portraits, DEVICE, style=style)
        print("base", "style words" if style else "photograph", look.measure(pictures, portraits))
        rows.append(pictures)
    look.sheet(rows, portraits, out / "base.png")


def sharpen(args: argparse.Namespace) -> None:
    """Go on with the decoder of the base at ``--start``, and train the encoder beside it."""
    torch.manual_seed(3)
    arrays = data.make(Path(args.scratch), args.count, DATA_FROM, args.workers)
    print("pictures made", flush=True)
    clip = multiprocessing.get_context("spawn").Process(target=train_encoder, args=(args,))
    clip.start()
    arrays = {name: tensor.to(DEVICE) for name, tensor in arrays.items()}
    vae = models.load_pipeline(args.start, DEVICE, torch.float32).vae
    scale = vae.config.scaling_factor
    stage = autoencoder.Stage("decoder", args.autoencoder_seconds, args.out / "logs")
    vae = decoder.train(vae, arrays, stage, batch=args.autoencoder_batch, peak=args.peak)
    autoencoder.check(vae, arrays, stage)
    vae.register_to_config(scaling_factor=scale)
    vae.to("cpu", torch.float16).save_pretrained(args.out / "vae")
    clip.join()


def train_encoder(args: argparse.Namespace) -> None:
    """Train the small CLIP on the pictures that lie in ``--scratch``."""
    arrays = {name: tensor.to(DEVICE) for name, tensor in data.load(Path(args.scratch)).items()}
    stage = autoencoder.Stage("encoder", args.encoder_seconds, args.out / "logs")
    encoder.train(args.out / "encoder", arrays, stage, batch=args.encoder_batch, peak=1e-3)


def _one_lora(run: lora.Run, args: argparse.Namespace) -> None:
    lora.train(run, args.base, args.out / "checkpoints", args.out / "logs", DEVICE, args.lora_steps)


def train_loras(args: argparse.Namespace) -> None:
    """Train the named runs side by side, then draw held-out prompts with every file."""
    runs = [lora.RUNS[name] for name in args.only or lora.RUNS]
    context = multiprocessing.get_context("spawn")
    jobs = [context.Process(target=_one_lora, args=(run, args)) for run in runs]
    for job in jobs:
        job.start()
    for job in jobs:
        job.join()
    if not args.look:
        return
    portraits = look.held_out(args.look)
    for run in runs:
        rows = []
        files = sorted((args.out / "checkpoints").glob(f"{run.output_name}-*.safetensors"))
        for path in files:
            pictures = look.draw(args.base, path, portraits, DEVICE)
            print(path.stem, look.measure(pictures, portraits), flush=True)
            rows.append(pictures)
        look.sheet(rows, portraits, args.out / f"{run.output_name}.png")


def main() -> None:
    """Read the command line and run one stage."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("stage", choices=("base", "sharpen", "loras", "encoder"))
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--base", type=Path, default=Path("demo/base"))
    parser.add_argument("--start", type=Path, help="a base to go on from")
    parser.add_argument("--scratch", default="runs/demo_pictures")
    parser.add_argument("--count", type=int, default=65536)
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--autoencoder-seconds", type=float, default=75)
    parser.add_argument("--autoencoder-batch", type=int, default=256)
    parser.add_argument("--base-seconds", type=float, default=300)
    parser.add_argument("--encoder-seconds", type=float, default=45)
    parser.add_argument("--encoder-batch", type=int, default=512)
    parser.add_argument("--total-seconds", type=float, default=1e9)
    parser.add_argument("--batch", type=int, default=512)
    parser.add_argument("--peak", type=float, default=1e-3)
    parser.add_argument("--look", type=int, default=48)
    parser.add_argument("--lora-steps", type=int)
    parser.add_argument(
        "--only", nargs="+", choices=lora.RUNS, help="LoRA runs, all of them if none"
    )
    parser.add_argument("--no-compile", dest="fast", action="store_false")
    parser.add_argument("--tiny", action="store_true")
    args = parser.parse_args()
    args.fast = args.fast and DEVICE == "cuda"
    if args.tiny:
        args.count, args.workers, args.batch, args.autoencoder_batch = 64, 2, 4, 4
        args.autoencoder_seconds, args.base_seconds, args.look, args.lora_steps = 4, 6, 4, 20
        args.encoder_seconds, args.encoder_batch = 4, 16
    if args.stage == "base":
        train_base(args)
    elif args.stage == "loras":
        train_loras(args)
    elif args.stage == "sharpen":
        sharpen(args)
    else:
        train_encoder(args)


if __name__ == "__main__":
    main()
