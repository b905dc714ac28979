"""Mutation testing of the response engine: change the code in small ways and see whether a test notices.

``mutation.py [MODULE ...] --seconds N --json FILE`` goes on where an earlier run stopped (the results lie in
``mutants/``), stops after N seconds, and prints the share of killed mutants by module. Without modules it takes all of
``mrresponse/respond``. ``--show MODULE`` prints the survivors of a module as diffs.
"""

import argparse
import json
import os
import re
import signal
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

PACKAGE = "mrresponse.respond"
BAR = 0.95
CAUGHT = frozenset({"killed", "timeout"})
OPEN = frozenset({"not checked", "no tests"})
_RESULT = re.compile(rf"\s*({re.escape(PACKAGE)}\.(\w+)\.\S+): (.+)")


def results() -> dict[str, dict[str, str]]:
    """Return the verdict of every mutant, by module."""
    listing = _mutmut("results", "--all", "true").stdout
    found: dict[str, dict[str, str]] = defaultdict(dict)
    for line in listing.splitlines():
        match = _RESULT.fullmatch(line)
        if match:
            found[match[2]][match[1]] = match[3]
    return found


def run(modules: Sequence[str], seconds: float) -> None:
    """Test mutants until all are done or the time is over; what is done is kept."""
    patterns = [f"{PACKAGE}.{module}.*" for module in modules] or [f"{PACKAGE}.*"]
    # the mutated package must be the one that is imported, not a checkout on the path
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    command = [sys.executable, "-m", "mutmut", "run", "--max-children", "1", *patterns]
    process = subprocess.Popen(command, env=environment, start_new_session=True, stdout=subprocess.DEVNULL)
    try:
        process.wait(timeout=seconds)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGINT)
        process.wait()


def table(verdicts: Mapping[str, Mapping[str, str]]) -> list[dict[str, object]]:
    """Return one row per module and one for all: mutants tested, killed, and the share."""
    rows: list[dict[str, object]] = []
    total: Counter[str] = Counter()
    for module, words in sorted(verdicts.items()):
        counts = Counter(words.values())
        total += counts
        rows.append(_row(module, counts))
    return [*rows, _row("all", total)]


def _row(name: str, counts: Counter[str]) -> dict[str, object]:
    tested = sum(n for word, n in counts.items() if word not in OPEN)
    caught = sum(n for word, n in counts.items() if word in CAUGHT)
    return {
        "module": name,
        "mutants": sum(counts.values()),
        "tested": tested,
        "killed": caught,
        "share": round(caught / tested, 4) if tested else None,
    }


def _mutmut(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "mutmut", *arguments], check=False, capture_output=True, text=True
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Run, print and write; 0 where every tested module reaches the bar."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("modules", nargs="*", help="modules of mrresponse/respond, such as rules")
    parser.add_argument("--seconds", type=float, default=600.0, help="stop after this time")
    parser.add_argument("--json", type=Path, help="file to write")
    parser.add_argument("--show", metavar="MODULE", help="print the survivors of a module and stop")
    chosen = parser.parse_args(argv)
    if chosen.show:
        for name, verdict in results().get(chosen.show, {}).items():
            if verdict == "survived":
                print(_mutmut("show", name).stdout)
        return 0
    run(chosen.modules, chosen.seconds)
    rows = table(results())
    for row in rows:
        print(
            f"{row['module']!s:<16}{row['mutants']:>6} mutants {row['tested']:>6} tested {row['share'] or ''!s:>8}"
        )
    if chosen.json:
        chosen.json.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")
    shares = [float(str(row["share"])) for row in rows[:-1] if row["share"] is not None]
    return 0 if shares and min(shares) >= BAR else 1


if __name__ == "__main__":
    sys.exit(main())
