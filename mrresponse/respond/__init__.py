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
from mrresponse.respond.parse import TypedMeasurement, parse_measurement
from mrresponse.respond.patient import respond
from mrresponse.respond.rules import FLAG_MESSAGES, decide_target, overall_response, target_response
from mrresponse.respond.settings import RespondSettings, settings_id

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
    "overall_response",
    "parse_measurement",
    "respond",
    "settings_id",
    "spider",
    "swimmer",
    "target_response",
    "waterfall",
]
