"""Names of the files that a report is made of."""

import hashlib
import re

_PLAIN = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,79}")


def file_stem(identifier: str) -> str:
    """Name a file after an identifier: itself where it is plain, else its plain letters and a short hash.

    The hash keeps two identifiers apart that differ only in letters a file name cannot carry, and the result
    never leaves its folder.
    """
    if _PLAIN.fullmatch(identifier):
        return identifier
    letters = re.sub(r"[^A-Za-z0-9_-]+", "-", identifier).strip("-")[:40]
    digest = hashlib.sha256(identifier.encode("utf-8", "surrogatepass")).hexdigest()[:12]
    return f"{letters or 'x'}-{digest}"
