"""Feed a reader malformed input: python experiments/fuzz.py TARGET SECONDS

TARGET is image, dicom, predictions or card. Atheris changes valid files byte by byte, and continues from each change that
reaches new lines of this library, Pillow or pydicom. A finding is any exception except `InputError`, or an input that
takes more than 20 seconds or 3 GiB of memory. Inputs that caused one are kept in the folder fuzz-TARGET. A row is added
to results/fuzz.csv.
"""

import io
import logging
import platform
import re
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

TABLE = Path(__file__).parent.parent / "results" / "fuzz.csv"
LIMITS = ["-timeout=20", "-rss_limit_mb=3072", "-malloc_limit_mb=3072", "-max_len=20000"]


def pictures() -> list[bytes]:
    "Small JPEG, PNG and TIFF files of several modes."
    import numpy as np
    from PIL import Image

    grey = Image.fromarray(np.random.default_rng(0).integers(0, 256, (5, 6), dtype=np.uint8)).resize((72, 80))
    deep = Image.fromarray(np.asarray(grey).astype(np.uint16) * 257)
    files = [(grey, "PNG"), (deep, "PNG"), (grey.convert("P"), "PNG"), (grey, "JPEG"), (grey.convert("CMYK"), "JPEG")]
    files += [(deep, "TIFF"), (grey, "JPEG2000"), (grey, "WEBP"), (grey, "GIF"), (grey, "BMP")]
    return [saved(image.save, format=kind) for image, kind in files]


def radiographs() -> list[bytes]:
    "Small DICOM files: with a window, with tables, and compressed."
    import numpy as np
    import pydicom
    from pydicom import uid

    item = pydicom.Dataset()
    item.add_new("LUTDescriptor", "US", [16, 0, 16])
    item.add_new("LUTData", "US", list(range(16)))
    window = {"WindowCenter": 2000, "WindowWidth": 1500, "VOILUTFunction": "SIGMOID", "RescaleSlope": 2}
    tables = {"VOILUTSequence": [item], "ModalityLUTSequence": [item], "ViewCodeSequence": [pydicom.Dataset()]}
    plain, files = uid.ExplicitVRLittleEndian, []
    for elements, syntax in [
        (window | {"RescaleIntercept": 1, "ViewPosition": "PA"}, uid.ImplicitVRLittleEndian),
        (tables | {"PatientAge": "045Y", "PatientID": "7"}, plain),
        ({}, uid.RLELossless),
        ({"PixelPaddingValue": 9}, uid.JPEGLSLossless),
        ({}, uid.JPEG2000Lossless),
    ]:
        ds = pydicom.Dataset()
        ds.file_meta = pydicom.dataset.FileMetaDataset()
        ds.file_meta.TransferSyntaxUID = plain if syntax.is_compressed else syntax
        ds.SOPClassUID, ds.SOPInstanceUID, ds.Modality = "1.2.840.10008.5.1.4.1.1.1.1", "1.2.3", "DX"
        ds.Rows, ds.Columns, ds.SamplesPerPixel, ds.PhotometricInterpretation = 66, 64, 1, "MONOCHROME2"
        ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 12, 11, 0
        ds.add_new("PixelData", "OW", np.arange(66 * 64, dtype=np.uint16).tobytes())
        ds.update(elements)
        if syntax.is_compressed:
            ds.compress(syntax, generate_instance_uid=False)
        files.append(saved(ds.save_as, enforce_file_format=True))
    return files


def saved(save, **options) -> bytes:
    "The bytes that a function writes to a file."
    buffer = io.BytesIO()
    save(buffer, **options)
    return buffer.getvalue()


def tables() -> list[bytes]:
    "Predictions of two classes, and of three."
    from xai_pneumonia.stats.predictions import simulate_predictions

    return [simulate_predictions(three, 3).to_csv(index=False).encode() for three in (False, True)]


def cards() -> list[bytes]:
    "A card of format 3, which has no hash of its own, so that every change is examined."
    import json

    from torch import nn

    from xai_pneumonia.model.bundle import make_bundle
    from xai_pneumonia.model.recipes import RECIPES

    calibrations = [
        {"method": "platt", "temperature": 1.5, "bias": [0.0, 0.2]},
        {"method": "isotonic", "log_odds": [-1.0, 2.0], "probability": [0.1, 0.9]},
    ]
    card = make_bundle(nn.Identity(), RECIPES["phantom"], "none", {}).card
    card |= {"format": 3, "sha256": "0" * 64, "conformal": {"NORMAL": 0.9, "PNEUMONIA": 0.8}}
    return [json.dumps(card | {"calibration": c}).encode() for c in calibrations]


def read_picture(file: Path):
    "Everything that reads an image or a header, for training, prediction and the audit."
    from xai_pneumonia.sources.tables import _header
    from xai_pneumonia.sources.images import is_dicom, read_image, to_square
    from xai_pneumonia.sources.inputs import screen

    screen(file)
    if is_dicom(file):
        _header(file)
    to_square(read_image(file), 64, "pad")


def read_table(file: Path):
    "The predictions of a run."
    from xai_pneumonia.stats.predictions import read_predictions

    read_predictions(file)


def read_card(file: Path):
    "The card of a model, and everything done with it after the network's output."
    import pandas as pd
    import torch

    from xai_pneumonia.model.bundle import Bundle, load_card
    from xai_pneumonia.stats.calibrate import calibrate
    from xai_pneumonia.predict import decision_table

    bundle = Bundle(torch.nn.Linear(1, 1), load_card(file.parent))
    share = 1 / len(bundle.classes)
    preds = pd.DataFrame({f"p_{c}": [share] for c in bundle.classes})
    decision_table(bundle, calibrate(preds, bundle.calibration))
    bundle.normalised(torch.zeros(1, 4, 4, dtype=torch.uint8))


TARGETS = {
    "image": (read_picture, pictures, "image.png"),
    "dicom": (read_picture, radiographs, "image.dcm"),
    "predictions": (read_table, tables, "predictions.csv"),
    "card": (read_card, cards, "model.json"),
}


def fuzz(target: str, seconds: str, folder: str):
    "Feed the target, and keep what causes an error; in its own process, because atheris ends it."
    import atheris

    with atheris.instrument_imports(include=["xai_pneumonia", "PIL", "pydicom"]):
        from xai_pneumonia.core import InputError

        read, seeds, name = TARGETS[target]
        corpus, file = Path(folder) / "corpus", Path(folder) / "input" / name
        for place in (corpus, file.parent):
            place.mkdir(parents=True)
        for i, seed in enumerate(seeds()):
            (corpus / str(i)).write_bytes(seed)
            file.write_bytes(seed)
            read(file)  # the seeds are valid; this also imports all modules

    def once(data):
        file.write_bytes(data)
        try:
            read(file)
        except InputError as e:
            assert len(str(e)) < 10_000
        except Exception as e:
            where = traceback.extract_tb(e.__traceback__)[-1]
            cause = Path(f"fuzz-{target}", f"{type(e).__name__}-{Path(where.filename).stem}-{where.lineno}")
            if not cause.exists():
                cause.write_bytes(data)
                traceback.print_exc()

    warnings.simplefilter("ignore")
    logging.disable()
    atheris.Setup(
        [sys.argv[0], f"-max_total_time={seconds}", f"-artifact_prefix=fuzz-{target}/", *LIMITS, str(corpus)], once
    )
    atheris.Fuzz()


def main(target: str, seconds: str):
    "Run the child process, and record the result."
    import pandas as pd

    try:
        atheris = version("atheris")
    except PackageNotFoundError:
        sys.exit("atheris is not installed; pip install atheris (on Linux and macOS)")
    kept = Path(f"fuzz-{target}")
    kept.mkdir()
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as d:
        command = [sys.executable, __file__, target, seconds, d]
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, errors="replace") as child:
            output = "".join(line for line in child.stderr if not print(line, end="", file=sys.stderr))
    executions = max(map(int, re.findall(r"^#(\d+)", output, re.M)), default=0)  # libFuzzer counts them as it goes
    if not executions:
        sys.exit("atheris did not start; see above")
    row = {
        "target": target,
        "executions": executions,
        "seconds": round(time.monotonic() - started),
        "findings": len(list(kept.iterdir())),
    }
    row |= {"atheris": atheris, "python": platform.python_version()}
    pd.DataFrame([row]).to_csv(TABLE, mode="a", index=False, header=not TABLE.exists())
    print(row)


if __name__ == "__main__":
    if len(sys.argv) < 3 or sys.argv[1] not in TARGETS:
        sys.exit(__doc__)
    (main if len(sys.argv) == 3 else fuzz)(*sys.argv[1:])
