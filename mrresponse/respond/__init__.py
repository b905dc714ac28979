"""Measurements to responses: every criterion, treatment phase and reader side by side.

Only numbers and dates; no voxels, no files.
"""

from mrresponse.cohort import (
    CohortFigure,
    CohortRow,
    Endpoint,
    Group,
    SpiderLine,
    SurvivalCurve,
    SwimmerLane,
    SwimmerMark,
    WaterfallBar,
)
from mrresponse.respond.agreement import (
    AgreementRow,
    agreement_rows,
    agreement_visits,
    limits_of_agreement,
    weighted_kappa,
)
from mrresponse.respond.cohort import (
    cohort_figure,
    cohort_figures,
    cohort_rows,
    exact_interval,
    groups_of,
    kaplan_meier,
    spider,
    swimmer,
    waterfall,
)
from mrresponse.respond.contributions import contributions
from mrresponse.respond.criteria import (
    CRITERIA,
    EASL,
    IRECIST,
    MRECIST,
    QEASL,
    RECIST_1_1,
    VRECIST,
    WHO,
    Criterion,
)
from mrresponse.respond.endpoints import (
    best_overall_response,
    confirmed_best_overall_response,
    depth_of_response,
    immune_best_overall_response,
)
from mrresponse.respond.patient import respond
from mrresponse.respond.restate import with_settled, with_settled_assessments
from mrresponse.respond.rules import FLAG_MESSAGES, decide_target, overall_response, target_response
from mrresponse.respond.settings import RespondSettings, settings_id
from mrresponse.typed import TypedMeasurement, parse_measurement

__all__ = [
    "CRITERIA",
    "EASL",
    "FLAG_MESSAGES",
    "IRECIST",
    "MRECIST",
    "QEASL",
    "RECIST_1_1",
    "VRECIST",
    "WHO",
    "AgreementRow",
    "CohortFigure",
    "CohortRow",
    "Criterion",
    "Endpoint",
    "Group",
    "RespondSettings",
    "SpiderLine",
    "SurvivalCurve",
    "SwimmerLane",
    "SwimmerMark",
    "TypedMeasurement",
    "WaterfallBar",
    "agreement_rows",
    "agreement_visits",
    "best_overall_response",
    "cohort_figure",
    "cohort_figures",
    "cohort_rows",
    "confirmed_best_overall_response",
    "contributions",
    "decide_target",
    "depth_of_response",
    "exact_interval",
    "groups_of",
    "immune_best_overall_response",
    "kaplan_meier",
    "limits_of_agreement",
    "overall_response",
    "parse_measurement",
    "respond",
    "settings_id",
    "spider",
    "swimmer",
    "target_response",
    "waterfall",
    "weighted_kappa",
    "with_settled",
    "with_settled_assessments",
]
