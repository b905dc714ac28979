"""Settings of a run: one field per step, read from YAML, nothing hidden elsewhere."""

import difflib
import hashlib
import json
import types
import typing
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Any

import yaml

from mrresponse.errors import ConfigError
from mrresponse.ingest import IngestSettings
from mrresponse.lesions import LesionSettings
from mrresponse.measure import MeasureSettings
from mrresponse.prepare import PrepareSettings
from mrresponse.quality import QualitySettings
from mrresponse.respond import RespondSettings
from mrresponse.segment import SegmentSettings
from mrresponse.track import TrackSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Every setting of every step; the defaults are the documented ones of ``configs/default.yaml``."""

    ingest: IngestSettings = field(default_factory=IngestSettings)
    prepare: PrepareSettings = field(default_factory=PrepareSettings)
    segment: SegmentSettings = field(default_factory=SegmentSettings)
    lesions: LesionSettings = field(default_factory=LesionSettings)
    quality: QualitySettings = field(default_factory=QualitySettings)
    track: TrackSettings = field(default_factory=TrackSettings)
    measure: MeasureSettings = field(default_factory=MeasureSettings)
    respond: RespondSettings = field(default_factory=RespondSettings)


def load_settings(file: Path | None = None) -> Settings:
    """Read settings from a YAML file; keys that it leaves out keep their defaults.

    Raises
    ------
    ConfigError
        The file cannot be read, a key is unknown, or a value has the wrong type; the message begins with the
        dotted key.
    """
    if file is None:
        return Settings()
    try:
        content = read_yaml(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"--config: {file.name} cannot be read") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"--config: {file.name} is not YAML: {error}") from error
    return settings_from(content if content is not None else {})


class _OneOfEachKey(yaml.SafeLoader):
    """Refuses a key that stands twice in one table: YAML would take the last without a word."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.tag != "tag:yaml.org,2002:merge":
                if key.value in seen:
                    raise yaml.constructor.ConstructorError(
                        None, None, f"found the key '{key.value}' twice", key.start_mark
                    )
                seen.add(key.value)
        return super().construct_mapping(node, deep=deep)


def read_yaml(text: str) -> Any:
    """Return what a YAML text holds, plain values only.

    Raises
    ------
    yaml.YAMLError
        It is not YAML, or a key stands twice in one table.
    """
    # a loader derived from SafeLoader: no tags of Python
    return yaml.load(text, Loader=_OneOfEachKey)


def settings_from(content: Any) -> Settings:
    """Build settings from nested mappings, as YAML or JSON give them.

    Raises
    ------
    ConfigError
        A key is unknown or a value has the wrong type.
    """
    from pydantic import TypeAdapter, ValidationError

    _refuse_unknown_keys(content, Settings, "")
    try:
        return TypeAdapter(Settings).validate_python(content)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        key = ".".join(str(part) for part in first["loc"])
        raise ConfigError(f"{key}: found {first['input']!r}, expected: {first['msg']}") from error


def as_mapping(settings: Any) -> dict[str, Any]:
    """Return settings as plain nested mappings, ready for JSON or YAML."""
    plain: dict[str, Any] = json.loads(json.dumps(asdict(settings), default=str))
    return plain


def settings_digest(settings: Any) -> str:
    """Return a short digest that differs whenever a setting differs."""
    content = json.dumps(as_mapping(settings), sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()[:12]


def _refuse_unknown_keys(content: Any, kind: Any, prefix: str) -> None:
    if not isinstance(content, Mapping):
        if prefix and not is_dataclass(kind):
            return
        raise ConfigError(
            f"{prefix.rstrip('.') or '--config'}: found {type(content).__name__}, expected a table of settings"
        )
    types_of = typing.get_type_hints(kind)
    known = [entry.name for entry in fields(kind)]
    for key, value in content.items():
        if key not in known:
            near = difflib.get_close_matches(str(key), known, n=1)
            hint = f"; did you mean '{near[0]}'?" if near else f"; known here: {', '.join(known)}"
            raise ConfigError(f"{prefix}{key}: unknown key{hint}")
        nested = _dataclass_in(types_of[key])
        if nested is not None and value is not None and isinstance(value, Mapping):
            _refuse_unknown_keys(value, nested, f"{prefix}{key}.")


def _dataclass_in(annotation: Any) -> Any | None:
    if is_dataclass(annotation):
        return annotation
    if typing.get_origin(annotation) in (types.UnionType, typing.Union):
        return next((part for part in typing.get_args(annotation) if is_dataclass(part)), None)
    return None
