"""Measurements to responses: every criterion, treatment phase and reader side by side.

Only numbers and dates; no voxels, no files.
"""

from mrresponse.respond.cohort import (
    CohortRow,
    Endpoint,
    Group,
    SurvivalCurve,
    SwimmerLane,
    SwimmerMark,
    WaterfallBar,
    cohort_rows,
    exact_interval,
    groups_of,
    kaplan_meier,
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
    "CohortRow",
    "Criterion",
    "Endpoint",
    "Group",
    "RespondSettings",
    "SurvivalCurve",
    "SwimmerLane",
    "SwimmerMark",
    "TypedMeasurement",
    "WaterfallBar",
    "best_overall_response",
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
    "swimmer",
    "target_response",
    "waterfall",
]
