"""`python -m vidrase` is the same as `vidrase`."""

import sys
from typing import NoReturn

from vidrase.cli import interrupt, terminal


def start() -> NoReturn:
    """The process's way in and out. Ctrl-C is safe from here on, before anything larger is loaded."""
    interrupt.install()
    terminal.install()
    try:
        from vidrase.cli.main import main

        main()
    except SystemExit as leave:
        interrupt.ignore()
        if not leave.code:
            raise
        if leave.code != interrupt.EXIT_CODE:
            interrupt.leave(leave.code if isinstance(leave.code, int) else 1)
    except KeyboardInterrupt:
        interrupt.ignore()
        sys.stderr.write("vidrase: interrupted\n")
    interrupt.leave()


if __name__ == "__main__":
    start()
