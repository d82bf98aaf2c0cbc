"""`python -m vidrase` is the same as `vidrase`."""

from vidrase.cli.main import main

if __name__ == "__main__":
    main()
