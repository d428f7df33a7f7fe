"""`python -m precsearch`."""

from precsearch.cli import main

if __name__ == "__main__":
    main()
