"""Serial multi-phase liver MRI in, tumour response of every treatment phase out.

Steps are modules that hold a function of their name (``mrresponse.track.track``); the names that a script needs
most are offered here directly. All are loaded when first used: importing the package is instant, and a script that
only reads numbers never loads a network.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from mrresponse import figures as figures
    from mrresponse import ingest as ingest
    from mrresponse import lesions as lesions
    from mrresponse import measure as measure
    from mrresponse import prepare as prepare
    from mrresponse import report as report
    from mrresponse import respond as respond
    from mrresponse import segment as segment
    from mrresponse import track as track
    from mrresponse.batch import assess_cohort as assess_cohort
    from mrresponse.config import Settings as Settings
    from mrresponse.config import load_settings as load_settings
    from mrresponse.domain import Failure as Failure
    from mrresponse.domain import PatientResult as PatientResult
    from mrresponse.errors import ConfigError as ConfigError
    from mrresponse.errors import DataError as DataError
    from mrresponse.errors import ModelError as ModelError
    from mrresponse.errors import MrresponseError as MrresponseError
    from mrresponse.pipeline import assess_patient as assess_patient
    from mrresponse.pipeline import examine as examine
    from mrresponse.segment import make_segmenter as make_segmenter
    from mrresponse.store import RunFolder as RunFolder

_MODULES = ("figures", "ingest", "lesions", "measure", "prepare", "report", "respond", "segment", "track")
_HOME = {
    "Settings": "config",
    "load_settings": "config",
    "Failure": "domain",
    "PatientResult": "domain",
    "ConfigError": "errors",
    "DataError": "errors",
    "ModelError": "errors",
    "MrresponseError": "errors",
    "assess_cohort": "batch",
    "assess_patient": "pipeline",
    "examine": "pipeline",
    "make_segmenter": "segment",
    "RunFolder": "store",
}
__all__ = ["__version__", *_MODULES, *_HOME]


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return import_module(f"mrresponse.{name}")
    if name in _HOME:
        return getattr(import_module(f"mrresponse.{_HOME[name]}"), name)
    raise AttributeError(f"module 'mrresponse' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted([*globals(), *_MODULES, *_HOME])
