"""``python -m spanpp_core``: the command, where its folder is not on the path."""

from .command import main

if __name__ == "__main__":
    main()
