"""Mutation testing of the response engine: change the code in small ways and see whether a test notices.

``mutation.py [MODULE ...] --seconds N --json FILE`` goes on where an earlier run stopped (the results lie in
``mutants/``), stops after N seconds, and prints the share of killed mutants by module. Without modules it takes all of
``mrresponse/respond``. ``--sample N`` takes N mutants drawn at random from all modules, the same ones every time: all
of them take hours. ``--show MODULE`` prints the survivors of a module as diffs.
"""

import argparse
import json
import math
import os
import random
import re
import signal
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from scipy.stats import binomtest

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


def run(patterns: Sequence[str], seconds: float) -> None:
    """Test mutants until all are done or the time is over; what is done is kept."""
    # the mutated package must be the one that is imported, not a checkout on the path
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    command = [sys.executable, "-m", "mutmut", "run", "--max-children", "1", *patterns]
    process = subprocess.Popen(command, env=environment, start_new_session=True, stdout=subprocess.DEVNULL)
    try:
        process.wait(timeout=seconds)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGINT)
        process.wait()


def sample(count: int) -> list[str]:
    """Return the names of mutants drawn at random from all modules, always the same ones."""
    if not results():
        # a pattern that fits nothing lets the mutants be made and none be tested
        run([f"{PACKAGE}.nothing"], math.inf)
    names = sorted(name for verdicts in results().values() for name in verdicts)
    return random.Random(1).sample(names, min(count, len(names)))


def only(verdicts: Mapping[str, Mapping[str, str]], names: Collection[str]) -> dict[str, dict[str, str]]:
    """Return the verdicts of some mutants."""
    kept = {
        module: {name: word for name, word in words.items() if name in names}
        for module, words in verdicts.items()
    }
    return {module: words for module, words in kept.items() if words}


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
    parser.add_argument("--sample", type=int, metavar="N", help="test N mutants drawn from all modules")
    parser.add_argument("--show", metavar="MODULE", help="print the survivors of a module and stop")
    chosen = parser.parse_args(argv)
    drawn = set(sample(chosen.sample)) if chosen.sample else None
    if chosen.show:
        verdicts = results() if drawn is None else only(results(), drawn)
        for name, verdict in verdicts.get(chosen.show, {}).items():
            if verdict == "survived":
                print(_mutmut("show", name).stdout)
        return 0
    if drawn is None:
        run([f"{PACKAGE}.{module}.*" for module in chosen.modules] or [f"{PACKAGE}.*"], chosen.seconds)
        rows = table(results())
    else:
        run(sorted(drawn), chosen.seconds)
        rows = table(only(results(), drawn))
    for row in rows:
        print(
            f"{row['module']!s:<16}{row['mutants']:>6} mutants {row['tested']:>6} tested {row['share'] or ''!s:>8}"
        )
    if drawn is not None and rows[-1]["tested"]:
        found = binomtest(int(str(rows[-1]["killed"])), int(str(rows[-1]["tested"]))).proportion_ci()
        print(f"killed, 95 % interval of the share over all mutants: {found.low:.3f}-{found.high:.3f}")
    if chosen.json:
        chosen.json.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")
    # a sample holds too few mutants of a module to judge it by itself
    judged = rows[-1:] if drawn is not None else rows[:-1]
    shares = [float(str(row["share"])) for row in judged if row["share"] is not None]
    return 0 if shares and min(shares) >= BAR else 1


if __name__ == "__main__":
    sys.exit(main())
