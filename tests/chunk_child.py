"""A run in short chunks as a process of its own, to be killed: prints a line for every frame that it has done with."""

import sys
from pathlib import Path

from chunkruns import run, short_chunks

from vidrase import engine


def main(folder: Path, to: str, workers: int) -> None:
    def progress(name: str, done: int, total: int | None) -> None:
        print(name, done, total, flush=True)

    with short_chunks(12):
        run(
            folder,
            to,
            work=folder / "work",
            workers=workers,
            by_products=engine.ByProducts(progress=progress),
            say=lambda text: print("said", text, flush=True),
            inpainter="telea",
            flow="dis",
            fill="image",
        )


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
