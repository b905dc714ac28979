"""The responses of one patient as a table for a terminal."""

from mrresponse.domain import Assessment, PatientResult
from mrresponse.report.lesion_table import burden, groups_of_phases
from mrresponse.report.wording import amount, plain, signed_percent

_HEADERS = (
    "treatment phase",
    "criterion",
    "date",
    "sum",
    "from baseline",
    "from nadir",
    "liver",
    "overall",
    "reason",
)


def response_table(result: PatientResult) -> tuple[tuple[str, ...], tuple[tuple[str, ...], ...]]:
    """Give the headers and rows of a patient's responses, the reader's column only where there are several.

    The rows of the whole course repeat those of the phases and are left out where there are phases.
    """
    own = groups_of_phases(result)
    readers = {group[0].reader for group in own}
    rows = [_cells(row) for group in own for row in group]
    if len(readers) < 2:
        return _HEADERS, tuple(rows)
    names = [row.reader for group in own for row in group]
    with_reader = [(*cells[:2], plain(name), *cells[2:]) for cells, name in zip(rows, names, strict=True)]
    return (*_HEADERS[:2], "reader", *_HEADERS[2:]), tuple(with_reader)


def _cells(row: Assessment) -> tuple[str, ...]:
    liver = "baseline" if row.is_baseline else row.liver_response or "–"
    return (
        plain(row.treatment_phase),
        row.criterion,
        row.study_date.isoformat(),
        amount(burden(row), row.burden_unit),
        "" if row.is_baseline else signed_percent(row.change_from_baseline),
        "" if row.is_baseline else signed_percent(row.change_from_nadir),
        str(liver),
        "" if row.is_baseline else str(row.overall or "–"),
        plain(row.reason),
    )
