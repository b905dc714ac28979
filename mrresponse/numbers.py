"""The numbers half of the line, from stored rows to responses; no image is read and no network is loaded."""

import logging
from collections.abc import Iterable, Iterator
from dataclasses import replace

from mrresponse.domain import Failure, Outcome, PatientResult
from mrresponse.errors import DataError
from mrresponse.respond import RespondSettings, respond

_log = logging.getLogger(__name__)


def respond_again(results: Iterable[PatientResult], settings: RespondSettings) -> Iterator[Outcome]:
    """Classify every visit of every patient again; a patient that cannot be assessed becomes a failure."""
    for result in results:
        patient = result.patient
        try:
            response = respond(patient, result.studies, result.measurements, settings)
        except DataError as error:
            yield Failure(
                patient_id=patient.patient_id,
                study_date=error.study_date,
                code=error.code,
                message=error.message,
                path=error.path,
                step="response",
            )
        except Exception as error:
            # an unforeseen fault of one patient must not cost the others their results
            _log.exception("%s: unexpected %s", patient.patient_id, type(error).__name__)
            yield Failure(
                patient_id=patient.patient_id,
                code="internal",
                message=f"unexpected {type(error).__name__}; please report it (details in the log)",
                step="response",
            )
        else:
            yield replace(result, response=response)
