"""The page that goes with a model: what it is, what it was trained on, how it was judged, where it fails."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mrresponse.training.settings import Stage, TrainingSettings

TASKS = {
    Stage.LIVER: "segmentation of the liver in one abdominal MR image of any sequence",
    Stage.LESIONS: "segmentation of focal liver lesions in multi-phase contrast-enhanced liver MRI",
}

_CARD = """# {name} {version}

{task}. A SegResNet with {filters} initial filters ({parameters:.1f} million parameters), grid {spacing} mm.

**Research use only.** Trained on **{patients} patients**{computed}. No clinical validation of any kind. A reader
confirms every contour; no number that follows from one is a diagnosis.

## Input and output
Input channels: {inputs}. {absent}Normalisation: `{normalisation}` in `mrresponse/segment/normalise.py`, the same code
in training and use. Output classes: {classes}.

## Use without this program
In the model's folder, with `mrresponse` and `fire` installed{bundle_inputs}:

```
python -m monai.bundle run --config_file configs/inference.json --bundle_root .
```

## Training
{examples} {kind} in {steps} steps ({minutes} minutes of wall clock), seed
{seed}, generator version {generator}; cross-entropy plus Dice, AdamW, exponential average of the weights, which is
what is shipped. {start}{templates}

Go on training (a checkpoint found in the folder is resumed):

```
python scripts/train_model.py {config} runs/{name} --minutes 60
python scripts/package_model.py {config} runs/{name}/checkpoint.pt models/{name}
```

## Figures on held-out synthetic seeds
{figures}

```
python scripts/evaluate_model.py {config} runs/{name}/checkpoint.pt --cases {cases} --json figures.json
```

Each case is one crop on the network's own grid, of a person made of implicit shapes, without the fully random
contrasts;
the generator is the one that made the training images. These figures say how far the network has learned the
generator, not how it does on patients: on real images expect less, and look at every contour.
{held_out}{studies}
## Limits
{limits}

## Licence
Weights and card: Apache-2.0 (`LICENSE`).{notice}
"""

_HELD_OUT = """
## Figures on patients held out
{figures}
"""

_STUDIES = """
## Figures on whole synthetic studies
The whole line ({models}) on studies of the phantom, whose lesions, noise and motion are drawn by other code
than the training examples.
{sets}"""

_SET = """
{shows}:

{figures}

```
python scripts/evaluate.py synthetic --set {name} --cases {cases} --out FILE.json
```
"""

_SHOWS = {
    "unseen": "Lesions of all sizes in plain and cirrhotic livers (`unseen`)",
    "benign": (
        "Livers without a malignant lesion, where whatever is found is a false alarm, save a cyst or haemangioma "
        "(`benign`)"
    ),
    "stress": "Damaged images and missing phases (`stress`)",
}

_BUNDLE_INPUTS = {
    Stage.LIVER: ", and images as `input/*.nii.gz` (masks go to `output/`)",
    Stage.LESIONS: (
        ", and `--images` with a list of lists of six files, as `[[PRE, ART, PVP, DEL, HBP, LIVER]]`: "
        "files on one grid, an absent contrast phase being a file of zeros (masks go to `output/`)"
    ),
}

_LIMITS = {
    Stage.LIVER: (
        "Thick slices, motion, ascites, resected livers, transplants, situs inversus, implants and cropped fields of "
        "view can fail. The image must be in canonical orientation: the network knows the liver's side. Children were "
        "not simulated."
    ),
    Stage.LESIONS: (
        "Small lesions (below 10 mm), infiltrative tumours, vein invasion and lesions at the liver's edge are the "
        "weakest. Cysts and haemangiomas are reported as focal lesions. Perfusion anomalies, siderotic nodules and "
        "focal fat can be false alarms. The background of the lesions was simulated too, so results on patients must "
        "be expected to be clearly worse than the figures above."
    ),
}


def card_text(settings: TrainingSettings, metadata: Mapping[str, Any]) -> str:
    """Return the model card in Markdown for the content of ``metadata.json``."""
    training, figures = metadata["training"], metadata["figures"]
    templates = training["label_map_templates"]
    task = TASKS[settings.stage]
    studies = figures.get("whole_studies", {})
    listed = _listed(
        {key: value for key, value in figures.items() if key not in ("whole_studies", "held_out")}
    )
    held_out = figures.get("held_out")
    return _CARD.format(
        name=settings.name,
        version=settings.version,
        task=task[0].upper() + task[1:],
        patients=training["patients"],
        computed=" and on computed images" if training["patients"] else ": every image was computed",
        start=_start_sentence(training["started_from"]),
        filters=settings.filters,
        parameters=metadata["parameters"] / 1e6,
        spacing=" x ".join(f"{value:g}" for value in settings.spacing_mm),
        inputs=", ".join(metadata["input_channels"]),
        absent="An absent contrast phase is a channel of zeros. " if settings.stage is Stage.LESIONS else "",
        normalisation=metadata["normalisation"],
        classes=", ".join(metadata["classes"]),
        bundle_inputs=_BUNDLE_INPUTS[settings.stage],
        examples=training["examples"],
        kind=_kind_of_examples(settings),
        steps=training["steps"],
        minutes=training["minutes"],
        seed=training["seed"],
        generator=training["generator_version"],
        templates=_shapes_sentence(templates),
        config=_config_name(settings.file),
        cases=figures.get("cases", 40),
        figures=listed or "- not measured",
        held_out=_HELD_OUT.format(figures=_listed(held_out)) if held_out else "",
        studies=_studies_section(studies),
        limits=_LIMITS[settings.stage],
        notice=_NOTICE if templates else "",
    )


_NOTICE = " Shapes: SPL abdominal atlas (3D Slicer licence), AMOS case 13 (CC BY 4.0)."


def _studies_section(studies: Mapping[str, Mapping[str, Any]]) -> str:
    if not studies:
        return ""
    sets = [
        _SET.format(
            shows=_SHOWS[name],
            name=name,
            cases=figures["cases"],
            figures=_listed({key: value for key, value in figures.items() if key != "models"}),
        )
        for name, figures in studies.items()
    ]
    (models,) = {figures["models"] for figures in studies.values()}
    return _STUDIES.format(models=models, sets="".join(sets))


def _listed(figures: Mapping[str, Any]) -> str:
    words = {key: "not defined" if value is None else value for key, value in figures.items()}
    return "\n".join(f"- {key.replace('_', ' ')}: {value}" for key, value in words.items())


def _start_sentence(started_from: list[str]) -> str:
    return f"The weights of {' and then '.join(started_from)} were the start. " if started_from else ""


def _config_name(config: Path | None) -> str:
    """Name a settings file as commands in a copy of the program do, without the folders of a user's machine."""
    if config is None:
        return "CONFIG"
    return f"configs/{config.name}" if config.parent.name == "configs" else config.name


def _kind_of_examples(settings: TrainingSettings) -> str:
    if settings.data is None:
        return "synthetic examples"
    return (
        f"examples (about {100 * settings.data.share:g} % of them of labelled patients, the others synthetic)"
    )


def _shapes_sentence(templates: list[str]) -> str:
    if not templates:
        return "All torsos are made of implicit shapes."
    return (
        f"In the last run half of the torsos were strongly deformed copies of organ label maps "
        f"({', '.join(templates)}; labels only, no image); the others are made of implicit shapes."
    )
