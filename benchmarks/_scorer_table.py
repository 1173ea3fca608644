"""The section of benchmarks/README.md that holds the scorers' response bench."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from _scorer_defects import DEFECTS, falls
from loraeval.outside.files import write_text_atomically

BEGIN, END = "<!-- scorers:begin -->", "<!-- scorers:end -->"
SHOWN = (
    "palette",
    "palette.background",
    "palette.binding",
    "palette.colours",
    "grid",
    "grid.size",
    "health",
)


def write_section(readme: Path, found: dict[str, Any]) -> str:
    """Write the section into ``readme`` between its markers and return it."""
    text = "\n\n".join(part for part in (_head(found), _targets(found), _lattices(found),
        _runs(found), _doses(found)) if part)  # fmt: skip
    page = readme.read_text(encoding="utf-8") if readme.exists() else "# Benchmarks\n"
    if BEGIN not in page:
        page = f"{page.rstrip()}\n\n## Palette, grid and health\n\n{BEGIN}\n{END}\n"
    before, rest = page.split(BEGIN, 1)
    write_text_atomically(readme, f"{before}{BEGIN}\n{text}\n{END}{rest.split(END, 1)[1]}")
    return text


def _head(found: dict[str, Any]) -> str:
    line = f"Made by `python benchmarks/scorers.py FOLDER`; {found['machine']}, {found['date']}."
    return line if found["real"] else line + " The real cases were not at hand and are left out."


def _targets(found: dict[str, Any]) -> str:
    lines: list[tuple[str, str, str, bool]] = []

    def add(what: str, value: float, target: float, form: str = ".4f") -> None:
        lines.append((what, format(value, form), f"at least {target:g}", value >= target))

    if found["real"]:
        real = found["real"]
        full, coded = real["caption, full"], real["caption, attributes only"]
        again = real["caption, full, other noise"]
        add("true caption against others', AUC of palette", full["auc"], 0.9999, ".5f")
        add("the same, another seed of the noise", again["auc"], 0.9999, ".5f")
        add("captions whose best image is their own", full["own_first"], 0.98)
        add("the same, per-attribute codes only, AUC", coded["auc"], 0.999, ".5f")
        add("the same, captions whose best image is their own", coded["own_first"], 0.96)
        add("24x24 recovered, real art, nearest", real["24x24 nearest"]["recovered"], 1)
        add("24x24 recovered, real art, degraded", real["24x24 degraded"]["recovered"], 1)
        add("cells within 8 levels, degraded, grid estimated", real["24x24 degraded"]["within_8"],
            0.995)  # fmt: skip
        add("24x24 recovered, real SD 1.5 renders", real["SD 1.5 renders found 24x24"]["share"], 1)
        for run in ("V1", "V2"):
            row = real[f"SDXL_civitai_{run} found 20 to 23 cells"]
            add(f"SDXL_civitai_{run}: 20 to 23 cells found, both axes", row["share"], 0.95)
        add("SDXL_civitai_V1 told apart from 24", real["SDXL_civitai_V1 told apart from 24"], 0.95)
        add("grid AUC, SD 1.5 against all SDXL", real["grid AUC SD15 against SDXL"], 0.995)
        add("grid.size AUC, the same", real["grid.size AUC SD15 against SDXL"], 0.995)
    photos = found["nulls"]["photographs of scikit-image, 512 px"]
    add("photographs declared gridless, of 12", photos["gridless"], 12, "d")
    add("palette + grid + health, images a second and core", found["speed"]["together"], 100, ".0f")
    decoded = found["speed"].get("with decoding", 0.0)
    add("the same with PNG decoding", decoded, 100, ".0f")
    rows = [f"| {w} | {v} | {t} | {'yes' if ok else '**no**'} |" for w, v, t, ok in lines]
    return "\n".join(
        ["| what | measured | target | reached |", "| --- | ---: | ---: | --- |", *rows]
    )


def _lattices(found: dict[str, Any]) -> str:
    rows = ["| portraits of our own | n | recovered | cells within 8 levels |",
        "| --- | ---: | ---: | ---: |"]  # fmt: skip
    for name, row in found["recovery"].items():
        rows.append(f"| {name} | {row['n']} | {row['recovered']:.3f} | {row['within_8']:.4f} |")
    rows += ["", "| no lattice | n | told gridless | highest grid score |",
        "| --- | ---: | ---: | ---: |"]  # fmt: skip
    for name, row in found["nulls"].items():
        rows.append(f"| {name} | {row['n']} | {row['gridless']} | {row['highest_grid']:.3f} |")
    group = "palette + grid + health"
    each = {group if n == "together" else n: v for n, v in found["speed"].items()}
    speed = ", ".join(f"{name} {value:.0f}" for name, value in each.items())
    worst = found["repeatability"]["largest difference"]
    rows += ["", f"Images a second and core at 512x512: {speed}."]
    rows += [f"Largest difference between two runs on equal bytes: {worst:g}."]
    return "\n".join(rows)


def _runs(found: dict[str, Any]) -> str:
    if not found["real"]:
        return ""
    rows = ["| real renders | n | " + " | ".join(SHOWN) + " |",
        "| --- |" + " ---: |" * (len(SHOWN) + 1)]  # fmt: skip
    for run, row in found["real"]["runs"].items():
        cells = [
            f"{row[name]['mean']:.2f} ± {row[name]['sd']:.2f}" if name in row else ""
            for name in SHOWN
        ]
        rows.append(f"| {run} | {row['n']} | " + " | ".join(cells) + " |")
    return "Mean and standard deviation over the images of a run:\n\n" + "\n".join(rows)


def _doses(found: dict[str, Any]) -> str:
    head = ("planted defect", "strengths", "metric that must fall", "clean and five strengths",
        "falls", "others' change at full strength")  # fmt: skip
    rows = [f"| {' | '.join(head)} |", "|" + " --- |" * len(head)]
    for defect in DEFECTS:
        table = found["responses"][defect.name]
        others = ", ".join(
            f"{name} {means[-1] - means[0]:+.2f}"
            for name, means in table.items()
            if name not in defect.targets and name in (*SHOWN, "style", "realism")
        )
        for target in defect.targets:
            means = table[target]
            shown = " ".join(f"{value:.2f}" for value in means)
            strengths = ", ".join(f"{value:g}" for value in defect.strengths)
            rows.append(f"| {defect.name} | {strengths} | {target} | {shown} | "
                f"{'yes' if falls(means) else '**no**'} | {others} |")  # fmt: skip
    return "\n".join(rows)
