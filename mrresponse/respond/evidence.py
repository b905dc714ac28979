"""What the visits of one treatment phase show to one reader, worked out once for all criteria that read the same.

RECIST 1.1 and iRECIST take the same targets and sum the same diameters; criteria of whole tumour judge the same
non-target lesions, and so do those of viable tumour. What differs is what each makes of it (`assess`).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from mrresponse.domain import Finding, LesionEdit, Measurement
from mrresponse.respond.criteria import Criterion, TargetRule
from mrresponse.respond.findings import (
    NO_FINDINGS,
    FindingsAtVisit,
    Key,
    findings_through,
    known_before,
)
from mrresponse.respond.growth import Growth, growth_of_targets
from mrresponse.respond.newlesions import NewLesion, new_lesions_through
from mrresponse.respond.nontargets import Burden, NonTargetVisit, assess_non_targets, whole_burdens
from mrresponse.respond.roles import NON_TARGET, TARGET, KnownLesion, Role, known_lesions, select_roles
from mrresponse.respond.settings import RespondSettings
from mrresponse.respond.targets import TargetSum, TargetVisit, begin, judge_through, sum_targets
from mrresponse.respond.timeline import Visit
from mrresponse.respond.uncertainty import Estimate, estimates_of, sum_of
from mrresponse.respond.values import is_liver

Ids = tuple[str, ...]


@dataclass(slots=True, kw_only=True)
class Roles:
    """The roles of a phase, those that the rules alone gave, and the lesions that cannot be new.

    ``is_liver`` says that no lesion with a role lies outside the liver.
    """

    roles: tuple[Role, ...]
    by_rule: tuple[Role, ...]
    known: frozenset[str]
    targets: Ids
    non_targets: Ids
    is_liver: bool


@dataclass(slots=True, kw_only=True)
class TargetSeries:
    """The targets at the baseline and at each follow-up visit.

    ``estimates`` are their values with their errors, the baseline first, and ``true_sums`` what those add up to; none
    where no probabilities were asked for.
    """

    baseline: TargetSum
    visits: tuple[TargetSum, ...]
    estimates: tuple[Mapping[str, Estimate], ...] = ()
    true_sums: tuple[tuple[float, float], ...] = ()


@dataclass(slots=True, kw_only=True)
class PhaseEvidence:
    """The visits up to a baseline, the follow-up visits, and the roles that a reader set in the phase, by lesion.

    ``up_to_start`` holds those between the baseline and the start of the treatment too: what was reported there is no
    new disease.
    """

    up_to_baseline: tuple[Visit, ...]
    up_to_start: tuple[Visit, ...]
    follow_ups: tuple[Visit, ...]
    stated: Mapping[str, LesionEdit]
    settings: RespondSettings
    lesions: tuple[KnownLesion, ...] = field(init=False)
    liver_lesions: frozenset[str] = field(init=False)
    later_lesions: frozenset[str] = field(init=False)
    has_findings: bool = field(init=False)
    _roles: dict[TargetRule, Roles] = field(default_factory=dict, init=False)
    _targets: dict[tuple[Ids, TargetRule], TargetSeries] = field(default_factory=dict, init=False)
    _judged: dict[tuple[Ids, tuple[object, ...]], tuple[TargetVisit, ...]] = field(
        default_factory=dict, init=False
    )
    _growth: dict[tuple[Ids, bool], Growth] = field(default_factory=dict, init=False)
    _non_targets: dict[tuple[Ids, bool], tuple[NonTargetVisit, ...]] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        histories: dict[str, list[Measurement]] = {}
        for visit in self.up_to_baseline:
            for lesion_id, measurement in visit.measurements.items():
                histories.setdefault(lesion_id, []).append(measurement)
        self.lesions = known_lesions(
            histories, self.baseline.study_date, self.settings, rejected=self.baseline.rejected
        )
        self.liver_lesions = frozenset([name for name, found in histories.items() if is_liver(found[-1])])
        self.later_lesions = frozenset[str]().union(*[visit.measurements for visit in self.follow_ups])
        self.has_findings = any(visit.findings for visit in (*self.up_to_start, *self.follow_ups))

    @property
    def baseline(self) -> Visit:
        """The baseline study."""
        return self.up_to_baseline[-1]

    def roles(self, criterion: Criterion) -> Roles:
        """Return the roles of the lesions known at baseline."""
        found = self._roles.get(criterion.target_rule)
        if found is None:
            values = self.baseline.values(criterion, self.settings)
            roles = by_rule = select_roles(self.lesions, values, criterion, self.settings)
            if self.stated:
                roles = select_roles(self.lesions, values, criterion, self.settings, self.stated)
            found = self._roles[criterion.target_rule] = Roles(
                roles=roles,
                by_rule=by_rule,
                known=frozenset([role.lesion_id for role in roles if not role.may_be_new]),
                targets=tuple([role.lesion_id for role in roles if role.role is TARGET]),
                non_targets=tuple([role.lesion_id for role in roles if role.role is NON_TARGET]),
                is_liver=self.liver_lesions.issuperset([r.lesion_id for r in roles if r.role is not None]),
            )
        return found

    def new_lesions(self, criterion: Criterion) -> tuple[tuple[NewLesion, ...], ...]:
        """Return the new lesions of every follow-up visit."""
        known = self.roles(criterion).known
        if self.later_lesions <= known:
            return ((),) * len(self.follow_ups)
        return new_lesions_through(
            known, self.follow_ups, criterion, self.settings, rejected=self.baseline.rejected
        )

    def findings(self, criterion: Criterion) -> tuple[dict[Key, Finding], tuple[FindingsAtVisit, ...]]:
        """Return the findings that are disease before the treatment, and what they say at every follow-up visit."""
        if not self.has_findings:
            return {}, (NO_FINDINGS,) * len(self.follow_ups)
        known = known_before(self.up_to_start, criterion, self.settings)
        return known, findings_through(known, self.follow_ups, criterion, self.settings)

    def targets(self, lesion_ids: Ids, criterion: Criterion) -> TargetSeries:
        """Return the targets at every visit."""
        key = (lesion_ids, criterion.target_rule)
        found = self._targets.get(key)
        if found is None:
            found = self._targets[key] = self._series(lesion_ids, criterion)
        return found

    def judged(self, lesion_ids: Ids, criterion: Criterion) -> tuple[TargetVisit, ...]:
        """Return the target responses of the follow-up visits, each judged by all before it."""
        key = (lesion_ids, criterion.target_call)
        found = self._judged.get(key)
        if found is None:
            series = self.targets(lesion_ids, criterion)
            state = begin(series.baseline)
            course = judge_through(state, series.visits, self.follow_ups, criterion, self.settings)
            found = self._judged[key] = tuple(course)
        return found

    def _series(self, lesion_ids: Ids, criterion: Criterion) -> TargetSeries:
        visits = (self.baseline, *self.follow_ups)
        sums = [sum_targets(lesion_ids, visit, criterion, self.settings) for visit in visits]
        estimates: list[Mapping[str, Estimate]] = []
        if self.settings.has_probabilities:
            estimates = [
                estimates_of(found, visit, criterion, self.settings)
                for found, visit in zip(sums, visits, strict=True)
            ]
        return TargetSeries(
            baseline=sums[0],
            visits=tuple(sums[1:]),
            estimates=tuple(estimates),
            true_sums=tuple(map(sum_of, estimates)),
        )

    def growth(self, lesion_ids: Ids, criterion: Criterion) -> Growth:
        """Return how fast the targets grew before the baseline and after it."""
        key = (lesion_ids, criterion.is_volume)
        found = self._growth.get(key)
        if found is None:
            visits = (self.up_to_baseline, self.follow_ups)
            found = self._growth[key] = growth_of_targets(lesion_ids, *visits, criterion, self.settings)
        return found

    def non_targets(self, lesion_ids: Ids, criterion: Criterion) -> tuple[NonTargetVisit, ...]:
        """Return the non-target lesions at every follow-up visit."""
        key = (lesion_ids, criterion.is_viable)
        found = self._non_targets.get(key)
        if found is None:
            found = assess_non_targets(lesion_ids, self.baseline, self.follow_ups, criterion, self.settings)
            self._non_targets[key] = found
        return found

    def burdens(self, targets: Ids, non_targets: Ids, criterion: Criterion) -> tuple[Burden, ...]:
        """Return the diameters of targets and non-targets together, as non-targets are followed, at every visit."""
        sums: tuple[TargetSum, ...] = ()
        if targets:
            series = self.targets(targets, criterion.by_diameter)
            sums = (series.baseline, *series.visits)
        return whole_burdens(sums, self.non_targets(non_targets, criterion))
