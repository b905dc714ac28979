"""What a reader saw outside the measured lesions, as non-target and new disease of one treatment phase."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from mrresponse.domain import Cytology, Finding, FindingKind, FindingStatus
from mrresponse.respond.criteria import Criterion
from mrresponse.respond.roles import is_malignant_node
from mrresponse.respond.rules import number
from mrresponse.respond.settings import RespondSettings
from mrresponse.respond.timeline import Visit

Key = tuple[FindingKind, str]
FLUID = frozenset({FindingKind.EFFUSION, FindingKind.ASCITES})
WORSE = frozenset({FindingStatus.NEW, FindingStatus.PROGRESSING})


@dataclass(frozen=True, slots=True, kw_only=True)
class FindingEntry:
    """One statement that enters a component: ``kind`` progressing, missing, present, gone, new or equivocal."""

    component: str
    name: str
    text: str
    is_liver: bool
    size_mm: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FindingsAtVisit:
    """The entries of one visit and the flags they raise."""

    entries: tuple[FindingEntry, ...]
    flags: tuple[str, ...] = ()

    def texts(self, component: str, *, liver_only: bool) -> tuple[str, ...]:
        """Return the texts of one component."""
        if not self.entries:
            return ()
        return tuple(e.text for e in self._of(component, liver_only=liver_only))

    def names(self, component: str, *, liver_only: bool) -> tuple[str, ...]:
        """Return the names of the findings of one component."""
        if not self.entries:
            return ()
        return tuple(e.name for e in self._of(component, liver_only=liver_only))

    def sizes(self, component: str, *, liver_only: bool) -> dict[str, float | None]:
        """Return the sizes of the findings of one component, by name however it is spaced and capitalised."""
        if not self.entries:
            return {}
        return {
            " ".join(e.name.lower().split()): e.size_mm for e in self._of(component, liver_only=liver_only)
        }

    def _of(self, component: str, *, liver_only: bool) -> tuple[FindingEntry, ...]:
        return tuple(e for e in self.entries if e.component == component and (e.is_liver or not liver_only))


NO_FINDINGS = FindingsAtVisit(entries=())


def key_of(finding: Finding) -> Key:
    """Return what identifies a finding through time: its kind and its site."""
    return finding.kind, finding.site.strip().lower()


def known_before(
    visits: Iterable[Visit], criterion: Criterion, settings: RespondSettings
) -> dict[Key, Finding]:
    """Return the disease that findings had reported up to a baseline, or the start of treatment, and not as gone.

    A finding first reported as new by then is part of the baseline.
    """
    known: dict[Key, Finding] = {}
    for visit in visits:
        for finding in visit.findings:
            if finding.status is FindingStatus.GONE or _is_normal_node(finding, criterion, settings):
                known.pop(key_of(finding), None)
            elif is_disease(finding, criterion, settings):
                known[key_of(finding)] = finding
    return known


def is_disease(finding: Finding, criterion: Criterion, settings: RespondSettings) -> bool:
    """Tell whether a finding is tumour: fluid by its cytology, a node by its size where given."""
    if finding.kind in FLUID:
        return finding.cytology is Cytology.POSITIVE
    if finding.kind is FindingKind.LYMPH_NODE and finding.size_mm is not None:
        return is_malignant_node(finding.site, finding.size_mm, criterion, settings)
    return finding.kind is not FindingKind.OTHER


def _is_normal_node(finding: Finding, criterion: Criterion, settings: RespondSettings) -> bool:
    return finding.kind is FindingKind.LYMPH_NODE and not is_disease(finding, criterion, settings)


def findings_through(
    known: dict[Key, Finding], visits: Sequence[Visit], criterion: Criterion, settings: RespondSettings
) -> tuple[FindingsAtVisit, ...]:
    """Return what the findings say at each follow-up visit of a phase.

    Known disease that a visit does not report is missing there. New disease stays new until it is reported gone,
    at every visit whose images were read.
    """
    new: dict[Key, Finding] = {}
    return tuple(_at_visit(visit, known, new, criterion, settings) for visit in visits)


def _at_visit(
    visit: Visit,
    known: dict[Key, Finding],
    new: dict[Key, Finding],
    criterion: Criterion,
    settings: RespondSettings,
) -> FindingsAtVisit:
    """Return what one visit says, and keep in ``new`` what is new from it on."""
    reported = {key_of(finding) for finding in visit.findings}
    entries: list[FindingEntry] = []
    flags: list[str] = []
    for finding in visit.findings:
        entry, flag = _entry(finding, known, new, criterion, settings)
        entries += [entry] if entry else []
        flags += [flag] if flag else []
        if entry and entry.component == "new":
            new[key_of(finding)] = finding
        elif finding.status is FindingStatus.GONE:
            new.pop(key_of(finding), None)
    for key, finding in known.items():
        if key not in reported:
            entries.append(_carried(finding, "missing", "not reported at this visit"))
    if not visit.unread:
        for key, finding in new.items():
            if key not in reported:
                entries.append(_carried(finding, "new", f"first reported {finding.date.isoformat()}"))
    return FindingsAtVisit(entries=tuple(entries), flags=tuple(flags))


def _entry(
    finding: Finding,
    known: dict[Key, Finding],
    new: dict[Key, Finding],
    criterion: Criterion,
    settings: RespondSettings,
) -> tuple[FindingEntry | None, str]:
    key, status = key_of(finding), finding.status
    if finding.kind is FindingKind.OTHER:
        return None, "finding_not_counted"
    if not is_disease(finding, criterion, settings) and key not in known:
        # no disease, by its cytology or by the size of a normal node
        uncounted = "cytology_missing" if finding.kind in FLUID else "finding_not_counted"
        return None, uncounted if status in WORSE else ""
    if finding.kind in FLUID and status in WORSE and finding.cytology is not Cytology.POSITIVE:
        return _made(finding, "present"), "cytology_missing"
    if status is FindingStatus.NEW:
        return _made(finding, "new"), ""
    if status is FindingStatus.PROGRESSING:
        return _made(finding, "progressing"), ""
    if status is FindingStatus.GONE:
        return (_made(finding, "gone") if key in known else None), ""
    if key in new:
        return _made(finding, "new"), ""
    if key in known:
        if _is_normal_node(finding, criterion, settings):
            text = f"{describe_finding(finding)}, of normal size"
            return replace(_made(finding, "gone"), text=text), ""
        return _made(finding, "present"), ""
    return _made(finding, "equivocal"), "finding_without_baseline"


def _made(finding: Finding, component: str) -> FindingEntry:
    return FindingEntry(
        component=component,
        name=finding_name(finding),
        text=describe_finding(finding),
        is_liver=finding.is_of_liver,
        size_mm=finding.size_mm,
    )


def _carried(finding: Finding, component: str, why: str) -> FindingEntry:
    name = finding_name(finding)
    return FindingEntry(component=component, name=name, text=f"{name} {why}", is_liver=finding.is_of_liver)


def describe_finding(finding: Finding) -> str:
    """Return a finding as it is read in a reason."""
    size = f" {number(finding.size_mm)} mm" if finding.size_mm is not None else ""
    cytology = f", cytology {finding.cytology.value}" if finding.cytology else ""
    author = f" by {finding.author}" if finding.author else ""
    return (
        f"{finding_name(finding)}{size} {finding.status.value}{cytology} ({finding.date.isoformat()}{author})"
    )


def finding_name(finding: Finding) -> str:
    """Return the kind and the site of a finding."""
    site = f" {finding.site}" if finding.site else ""
    return f"{finding.kind.value.replace('_', ' ')}{site}"
