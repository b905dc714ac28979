"""``pytest tests/cases --cases DIR``: every row of a folder of third-party cases, with a report by file."""

from collections import Counter, defaultdict
from pathlib import Path

import pytest

from tests.cases.adapter import Case, cases_of, missing_files

DEFAULT = Path(__file__).parents[3] / "shared" / "cases" / "response"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--cases", default=None, help=f"folder of response cases; default {DEFAULT.name} beside us"
    )


def _folder(config: pytest.Config) -> Path:
    return Path(config.getoption("--cases", default=None) or DEFAULT)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "case" in metafunc.fixturenames:
        folder = _folder(metafunc.config)
        cases = list(cases_of(folder)) if folder.is_dir() else []
        metafunc.parametrize("case", cases, ids=lambda case: f"{case.file}:{case.case_id}")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]):  # type: ignore[no-untyped-def]
    report = yield
    case = getattr(item, "callspec", None) and item.callspec.params.get("case")  # type: ignore[attr-defined]
    if isinstance(case, Case):
        report.user_properties.append(("case_file", case.file))
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    reasons: Counter[tuple[str, str]] = Counter()
    for outcome in ("passed", "failed", "skipped"):
        for report in terminalreporter.stats.get(outcome, ()):
            file = dict(getattr(report, "user_properties", ())).get("case_file")
            if file is None:
                continue
            counts[file][outcome] += 1
            if outcome == "skipped":
                reasons[file, str(report.longrepr[2]).removeprefix("Skipped: ")] += 1
    if not counts:
        return
    terminalreporter.section(f"cases of {_folder(config).name}")
    for file, count in counts.items():
        line = f"{file}: {count['passed']} passed, {count['failed']} failed, {count['skipped']} not usable"
        terminalreporter.write_line(line)
        for (where, reason), number in reasons.items():
            if where == file:
                terminalreporter.write_line(f"    {number} {reason}")
    for file in missing_files(_folder(config)):
        terminalreporter.write_line(f"{file}: not in this folder")
