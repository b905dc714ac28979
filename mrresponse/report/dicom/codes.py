"""Codes of the objects: DICOM's and SNOMED CT's where there are such, else a private scheme with clear meanings."""

import hashlib
from collections.abc import Mapping
from types import MappingProxyType

from pydicom.dataset import Dataset
from pydicom.sr.coding import Code

from mrresponse.domain import LesionRole, Response

PRIVATE_SCHEME = "99MRRESPONSE"
_CODE_CHARACTERS = 16
_MEANING_CHARACTERS = 64


def private(value: str, meaning: str) -> Code:
    """Return a code of the private scheme."""
    return Code(value, PRIVATE_SCHEME, meaning)


LIVER = Code("10200004", "SCT", "Liver")
LESION = Code("52988006", "SCT", "Lesion")
ANATOMICAL = Code("91723000", "SCT", "Anatomical Structure")
ABNORMAL = Code("49755003", "SCT", "Morphologically Abnormal Structure")
LONG_AXIS = Code("103339001", "SCT", "Long Axis")
SHORT_AXIS = Code("103340004", "SCT", "Short Axis")
VOLUME = Code("118565006", "SCT", "Volume")
VOXEL_SUM = Code("126030", "DCM", "Sum of segmented voxel volumes")
MILLIMETRE = Code("mm", "UCUM", "millimeter")
DAY = Code("d", "UCUM", "day")
FIRST_STUDY = private("FIRST_STUDY", "First study of the patient")
# A millilitre, by the name that the templates use.
MILLILITRE = Code("cm3", "UCUM", "cubic centimeter")
SQUARE_MILLIMETRE = Code("mm2", "UCUM", "square millimeter")
BURDEN_UNITS: Mapping[str, Code] = MappingProxyType(
    {"mm": MILLIMETRE, "mm2": SQUARE_MILLIMETRE, "mL": MILLILITRE}
)
VIABLE_LONG_AXIS = private("VIABLE_LONG", "Long axis of the viable part")
VIABLE_SHORT_AXIS = private("VIABLE_SHORT", "Short axis of the viable part")
VIABLE_VOLUME = private("VIABLE_VOLUME", "Volume of the viable part")
BURDEN = private("BURDEN", "Sum over the target lesions")
STATE = private("STATE", "State of the measurement")
VIABLE_STATE = private("VIABLE_STATE", "State of the measurement of the viable part")
METHOD = Code("112021", "DCM", "Response Evaluation Method")
RESPONSE = Code("112020", "DCM", "Response Evaluation")
CURRENT_RESPONSE = Code("112048", "DCM", "Current Response")
TARGET_RESPONSE = private("TARGET", "Response of the target lesions")
NON_TARGET_RESPONSE = private("NON_TARGET", "Response of the non-target lesions")
NEW_LESIONS = private("NEW_LESIONS", "New lesions")
LIVER_RESPONSE = private("LIVER_RESPONSE", "Response of the liver alone")
LESION_ROLE = private("ROLE", "Role of the lesion in the assessment")
IMAGING = Code("363679005", "SCT", "Imaging procedure")

METHODS: Mapping[str, Code] = MappingProxyType({"RECIST 1.1": Code("126081", "DCM", "RECIST 1.1")})
TARGET_RESPONSES: Mapping[Response, Code] = MappingProxyType(
    {
        Response.CR: Code("112041", "DCM", "Target Lesion Complete Response"),
        Response.PR: Code("112042", "DCM", "Target Lesion Partial Response"),
        Response.PD: Code("112043", "DCM", "Target Lesion Progressive Disease"),
        Response.SD: Code("112044", "DCM", "Target Lesion Stable Disease"),
    }
)
NON_TARGET_RESPONSES: Mapping[Response, Code] = MappingProxyType(
    {
        Response.CR: Code("112045", "DCM", "Non-Target Lesion Complete Response"),
        Response.NON_CR_NON_PD: Code(
            "112046", "DCM", "Non-Target Lesion Incomplete Response or Stable Disease"
        ),
        Response.PD: Code("112047", "DCM", "Non-Target Lesion Progressive Disease"),
    }
)
ROLES: Mapping[LesionRole, Code] = MappingProxyType(
    {
        LesionRole.TARGET: Code("112074", "DCM", "Target Lesion at Baseline"),
        LesionRole.NON_TARGET: Code("112075", "DCM", "Non-Target Lesion at Baseline"),
        LesionRole.NEW: Code("112076", "DCM", "Non-Lesion at Baseline"),
    }
)


def response_code(response: Response, known: Mapping[Response, Code]) -> Code:
    """Return the code of a response word."""
    value = response.value.upper().replace("NON-", "N").replace("/", "_")
    return known.get(response, private(value, response.value))


def role_name(assessment: str) -> Code:
    """Return the concept of a role that a lesion has in one assessment; the code holds a hash of its name."""
    digest = hashlib.sha256(assessment.encode()).hexdigest().upper()
    return private(f"ROLE_{digest[:8]}", _meaning(f"Role in {assessment}"))


def _meaning(text: str) -> str:
    return text if len(text) <= _MEANING_CHARACTERS else f"{text[: _MEANING_CHARACTERS - 3]}..."


def method_code(criterion: str) -> Code:
    """Return the code of a criterion: of its letters, or of a hash where they are too many, foreign or none.

    A code has at most 16 characters of the basic set, its meaning 64 (PS3.5 table 6.2-1, PS3.3 section 8.3).
    """
    value = "".join(sign for sign in criterion.upper() if sign.isascii() and sign.isalnum())
    if not (criterion.isascii() and 0 < len(value) <= _CODE_CHARACTERS):
        digest = hashlib.sha256(criterion.encode()).hexdigest().upper()
        value = f"{value[:7]}_{digest[:8]}"
    return METHODS.get(criterion, private(value, _meaning(criterion)))


def describe_private_scheme() -> Dataset:
    """Return the item that tells a reader of an object what the private scheme is."""
    item = Dataset()
    item.CodingSchemeDesignator = PRIVATE_SCHEME
    item.CodingSchemeName = "mrresponse: what has no standard code in tumour response"
    item.CodingSchemeResponsibleOrganization = "mrresponse"
    return item
