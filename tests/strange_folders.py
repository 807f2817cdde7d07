"""Folders that nobody should trip over: hostile names, damaged files, and runs of other programs."""

import os
from pathlib import Path

import numpy as np
from sweeps import Planned, plant

SCRIPT = "<script>alert(1)</script>"
CLOSING = "</script><script>alert(2)</script><!--"
IMAGE = "<img src=x onerror=alert(3)>"
BACKWARDS = "\u202egnp.exe\u202c \u0634\u0628\u0643\u0629 \u200f7"
ROCKET = "\U0001f680\U0001f469\u200d\U0001f52c run"
LONG = "long-" * 1000
TEMPLATES = "${alert(4)} {{7*7}} {% raw %} %s {0}"
PATH = 'it\'s a "quoted" & <b>bold folder'
VEGA = "datum['x'].y[0]\\"
LINK = "javascript:alert(5)"
TEXTS = (SCRIPT, CLOSING, IMAGE, BACKWARDS, ROCKET, LONG, TEMPLATES, VEGA)
"""Texts that a page must show as they are."""


def hostile_runs() -> list[Planned]:
    """Runs whose names, folders, config keys and values, errors and links are hostile."""
    named = [
        Planned(
            "bottleneck",
            rank,
            seed=index,
            folder=f"name={index}",
            settings={"name": text, "data.path": text, f"method.{text.replace('.', '·')[:60]}": index},
        )
        for index, text in enumerate(TEXTS)
        for rank in (2,)
    ]
    return [
        *named,
        Planned("factorization", 3, 0, folder=PATH, settings={"data.path": CLOSING}),
        Planned("svd", 3, 1, folder=ROCKET[:1] + " emoji", fields={"wandb_run": LINK}),
        Planned("svd", 2, 2, "failed", f"The name must be harmless. Found {IMAGE}.", folder="failed"),
        Planned("svd", 2, 3, "failed", f"{CLOSING} {LONG}", folder="failed-long"),
        Planned("svd", 5, 4, folder="unknown-method", fields={"method": SCRIPT, "data": IMAGE}),
        Planned("svd", 5, 5, folder="versions", fields={"versions": {SCRIPT: CLOSING, "eckart": IMAGE}}),
    ]


def damage(folder: Path) -> list[str]:
    """Write two whole runs, and beside them all that a crash, a full disk or another program leaves.

    Returns:
        Names of the folders whose ``result.json`` cannot be read.
    """
    plant(
        folder,
        [
            Planned("bottleneck", 2, 0, folder="whole"),
            Planned("svd", 2, 0, folder="also-whole"),
            Planned("bottleneck", 2, 1, "unfinished", folder="killed"),
            Planned("bottleneck", 2, 2, folder="no-history"),
            Planned("bottleneck", 2, 3, folder="cut-history"),
            Planned("bottleneck", 2, 4, folder="binary-history"),
            Planned("bottleneck", 2, 5, folder="cut-factors"),
            Planned("bottleneck", 2, 6, folder="bad-picture"),
            Planned("bottleneck", 2, 7, folder="cut-result"),
            Planned("bottleneck", 2, 8, folder="odd-shape", fields={"shape": [0, 0], "optimum_2norm": None}),
        ],
        points=30,
    )
    (folder / "no-history" / "history.csv").unlink()
    cut = folder / "cut-history" / "history.csv"
    cut.write_bytes(cut.read_bytes()[:700])
    (folder / "binary-history" / "history.csv").write_bytes(bytes(range(256)) * 20)
    factors = folder / "cut-factors" / "factors.safetensors"
    factors.write_bytes(factors.read_bytes()[:100])
    (folder / "bad-picture" / "figures").mkdir()
    (folder / "bad-picture" / "figures" / "approximation.png").write_bytes(b"\x89PNG\r\n\x1a\nnot really")
    result = folder / "cut-result" / "result.json"
    result.write_bytes(result.read_bytes()[:400])
    contents = {
        "empty": b"",
        "list": b"[1, 2, 3]",
        "other-program": b'{"result": "PASS", "time": 3}',
        "not-a-number": b'{"status": "completed", "fingerprint": "0", "loss": NaN}',
        "binary": os.urandom(4096),
        "deep": b"[" * 100_000,
    }
    for name, content in contents.items():
        (folder / name).mkdir()
        (folder / name / "result.json").write_bytes(content)
    (folder / "loop").symlink_to(folder, target_is_directory=True)
    (folder / "directory" / "result.json").mkdir(parents=True)
    (folder / "run-cut.wandb").write_bytes(b":W&B\x00\x00\x00\x01\x02")
    (folder / "run-none.wandb").touch()
    np.save(folder / "matrix.npy", np.eye(3))
    return ["cut-result", *contents]


def foreign_runs(folder: Path, runs: int = 4) -> list[str]:
    """Offline W&B runs of a program that knows nothing of eckart, written by W&B's own client.

    Returns:
        Their names, of which the first are hostile.
    """
    import wandb
    from PIL import Image

    names = [SCRIPT, ROCKET, *(f"resnet-{number}" for number in range(2, runs))][:runs]
    rng = np.random.default_rng(0)
    for number, name in enumerate(names):
        config = {
            "lr": 10.0 ** -(number + 1),
            "model": {"depth": 18, "name": CLOSING if number == 0 else "resnet"},
            "layers": [64, 32],
        }
        settings = wandb.Settings(silent=True, console="off", x_disable_stats=True)
        folder.mkdir(parents=True, exist_ok=True)
        run = wandb.init(
            project="someone-else",
            name=name,
            group="baseline",
            tags=["vision"],
            dir=folder,
            mode="offline",
            config=config,
            reinit="create_new",
            settings=settings,
        )
        for step in range(50):
            run.log({"val/acc": 1 - np.exp(-step / 20) + 0.01 * rng.normal(), "train/loss": float(np.exp(-step / 10))})
        picture = Image.fromarray(rng.integers(0, 255, (24, 32, 3), dtype=np.uint8))
        run.log({"samples": wandb.Image(picture, caption=f"epoch 50 {IMAGE}"), "note": "a text"})
        run.summary["best"] = {"acc": 0.9}
        run.finish(exit_code=1 if number == runs - 1 else 0)
    return names
