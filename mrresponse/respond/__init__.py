"""Measurements to responses: every criterion, treatment phase and reader side by side.

Only numbers and dates; no voxels, no files.
"""

from mrresponse.respond.cohort import CohortRow, cohort_rows, exact_interval
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
    "RespondSettings",
    "TypedMeasurement",
    "best_overall_response",
    "cohort_rows",
    "confirmed_best_overall_response",
    "decide_target",
    "depth_of_response",
    "exact_interval",
    "immune_best_overall_response",
    "overall_response",
    "parse_measurement",
    "respond",
    "settings_id",
    "target_response",
]
