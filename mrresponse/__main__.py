"""``python -m mrresponse``: the command, also where its script is not on the path."""

from mrresponse.cli import entry

if __name__ == "__main__":
    entry()
