"""The audit of 1x, 4x and 16x as many files: its time and its memory per file, which should not grow.

Each audit runs in its own process, whose memory Linux counts; other systems get no rows for memory.
"""

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from PIL import Image, ImageOps
from side_by_side import compared, main, some

from xai_pneumonia.sources.audit import write_audit
from xai_pneumonia.sources.images import read_image
from xai_pneumonia.sources.readers import read_data

IMAGES, STEPS = 400, {"1x": 16, "4x": 4, "16x": 1}  # of 16 x IMAGES files, one in this many is audited
STATUS = Path("/proc/self/status")


def pictures(image: Image.Image) -> list[Image.Image]:
    "Sixteen different pictures: a small one and its negative, turned and mirrored in every way."
    image.thumbnail((256, 256))
    both = image, ImageOps.invert(image)
    return [*both, *(picture.transpose(how) for picture in both for how in Image.Transpose)]


def copied(data: Path, folder: Path):
    "The pictures of IMAGES images as files in class folders."
    for row in some(data, IMAGES).itertuples():
        (folder / row.label).mkdir(exist_ok=True)
        for i, picture in enumerate(pictures(read_image(row.path))):
            picture.save(folder / row.label / f"{row.Index}_{i}.jpeg", quality=90)


def memory(name: str) -> int | None:
    "Memory of this process in KiB: VmRSS now, VmHWM at its peak."
    if STATUS.exists():
        return next(int(line.split()[1]) for line in STATUS.read_text().splitlines() if line.startswith(name))


def cost(folder: str, step: int) -> dict:
    "Milliseconds and KiB per file to audit one in `step` files."
    manifest = read_data(folder)

    def work(rows):
        with tempfile.TemporaryDirectory() as out:
            write_audit(folder, rows, out)

    work(manifest.iloc[:: len(manifest) // 8])  # imports everything it needs
    rows = manifest.sample(frac=1 / step, random_state=0)
    before, start = memory("VmRSS"), time.perf_counter()
    work(rows)
    figures = {"ms per file": 1000 * (time.perf_counter() - start) / len(rows)}
    return figures | ({"KiB per file": (memory("VmHWM") - before) / len(rows)} if before else {})


def in_process(folder: str, step: int) -> dict:
    command = f"import audit, json; print(json.dumps(audit.cost({folder!r}, {step})))"
    output = subprocess.run(
        [sys.executable, "-c", command], cwd=Path(__file__).parent, stdout=subprocess.PIPE, check=True
    )
    return json.loads(output.stdout.splitlines()[-1])


def measure(data: Path, rounds: int) -> list[dict]:
    with tempfile.TemporaryDirectory() as d:
        copied(data, Path(d))
        runs = [{way: in_process(d, step) for way, step in STEPS.items()} for _ in range(max(rounds, 1))]
    return [
        row
        for unit, benchmark in (("ms per file", "audit, time"), ("KiB per file", "audit, memory"))
        if unit in runs[0]["1x"]
        for row in compared(benchmark, unit, {way: [each[way][unit] for each in runs] for way in STEPS}, {})
    ]


if __name__ == "__main__":
    main(__doc__, measure)
