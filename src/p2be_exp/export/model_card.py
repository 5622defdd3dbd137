"""The card of a shared network: what a person, and the Hugging Face hub, reads of it.

It begins with the metadata that the hub shows and searches: licence, tags, data set and, in ``model-index``, results,
which are shares of right images there (https://huggingface.co/docs/hub/model-cards).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from p2be_exp.config.schema import TrainConfig
from p2be_exp.export.card_results import errors, panel
from p2be_exp.export.markdown import code, table, words
from p2be_exp.export.shared_results import SharedResults
from p2be_exp.report.leaderboard.words import levels
from p2be_exp.runs.shared import ATTACKED, CONFIG, LIBRARY, RESULTS, WEIGHTS

_NAMED = 20
"""Number of classes up to which a card names them."""


@dataclass(frozen=True)
class Card:
    """What a card is made of.

    Attributes:
        config: of the run.
        info: facts of its ``run.json``.
        which: the checkpoint, ``last`` or ``best``.
        step: optimizer steps until then.
        classes: of the network.
        size: height and width of its images, in pixels.
        results: what was measured.
        licence: an identifier of the hub, such as ``mit``.
        attacked: what attacks did, where they were measured apart, on fewer images.
    """

    config: TrainConfig
    info: Mapping[str, Any]
    which: str
    step: int
    classes: int
    size: int
    results: SharedResults
    licence: str
    attacked: SharedResults | None = None

    @property
    def encodings(self) -> str:
        """Names of the encodings that it reads with."""
        return " and ".join(dict.fromkeys(self.config.encoding_names))

    @property
    def title(self) -> str:
        """Network, encoding and data set."""
        return f"{self.config.network} on {self.encodings} codes, {self.config.dataset.name}"

    def text(self) -> str:
        """The whole card, Markdown."""
        parts = (self._what_it_is(), self._how_to_load(), self._training())
        measured = [errors(self.results)]
        if self.attacked is not None:
            measured.append(errors(self.attacked, f"Attacks, on {self.attacked.counts['clean'].n:,} of these images"))
        measured.append(panel((self.attacked or self.results).summary.panel))
        head = yaml.safe_dump(self.metadata(), sort_keys=False, allow_unicode=True, width=1000)
        return f"---\n{head}---\n\n# {words(self.title)}\n\n" + "\n\n".join((*parts, *measured)) + "\n"

    # -- metadata --------------------------------------------------------------------------------------------------

    def metadata(self) -> dict[str, Any]:
        """The block that the hub reads."""
        dataset = self.config.dataset.name
        tags = ["image-classification", "robustness", "adversarial-robustness", "pixel-encoding"]
        found = {
            "task": {"type": "image-classification", "name": "Image Classification"},
            "dataset": {"name": dataset, "type": dataset, "split": "test"},
            "metrics": self._metrics(),
        }
        return {
            "license": self.licence,
            "library_name": LIBRARY,
            "pipeline_tag": "image-classification",
            "tags": [*tags, *dict.fromkeys(self.config.encoding_names)],
            "datasets": [dataset],
            "metrics": ["accuracy"],
            "model-index": [{"name": self.title, "results": [found]}],
        }

    def _metrics(self) -> list[dict[str, Any]]:
        summary = self.results.summary
        found = [("accuracy", "accuracy on clean images, %", summary.clean.error)]
        if (corrupted := summary.corrupted) is not None and corrupted.mean is not None:
            found.append(("corruption_accuracy", f"mean accuracy, {corrupted.over}, %", corrupted.mean))
        if (worst := (self.attacked or self.results).summary.worst_case) is not None:
            for radius, counts in worst.counts.items():
                name = f"accuracy in the worst case of {worst.suite}, {levels(radius)}, %"
                found.append((f"robust_accuracy_{radius}_levels", name, counts.error))
        return [{"type": kind, "name": name, "value": round(100 - error, 4)} for kind, name, error in found]

    # -- prose -----------------------------------------------------------------------------------------------------

    def _what_it_is(self) -> str:
        names = self.info.get("classes")
        named = f": {', '.join(map(words, names))}" if names and len(names) <= _NAMED else ""
        rows = [
            ("input", f"`uint8 (B, 3, {self.size}, {self.size})`, levels 0 to 255, channels R, G, B; not normalised"),
            ("output", f"logits of {self.classes} classes{named}"),
            ("encoding", code(self.encodings) + self._bits()),
            ("network", f"{code(self.config.network)}, model {code(self.config.model.name)}"),
        ]
        if total := self._count("parameters", "total"):
            of_table = self._count("parameters", "table")
            rows.append(("parameters", total + (f", {of_table} of them in the table" if of_table else "")))
        text = (
            "A convolutional network that classifies images, trained and measured with p2be_exp. Inside it, each level "
            "of a pixel is replaced by its code, a row of a table of 256 codes (level / 255 for `rgb`)."
        )
        return f"{text}\n\n{table(('', ''), rows)}"

    def _count(self, key: str, name: str) -> str:
        """A number of ``run.json``; empty where there is none, or 0."""
        found = self.info.get(key)
        count = found.get(name) if isinstance(found, dict) else None
        return f"{count:,}" if count and type(count) is int else ""

    def _bits(self) -> str:
        M = self.config.encoding.M
        return "" if M is None or self.config.model.roles else f", M = {M}"

    def _how_to_load(self) -> str:
        plugins = self.config.plugins
        allowed = f", plugins={list(plugins)!r}" if plugins else ""
        text = (
            "```python\n"
            "from p2be_exp import load_run\n\n"
            f'model = load_run("FOLDER"{allowed})  # or "hf://OWNER/NAME"\n'
            "logits = model(images)\n"
            "```\n\n"
            "with `pip install 'p2be-exp[hub]'`. `python evaluate.py run=FOLDER out=RESULTS attack=suite` measures it "
            "again; attacks by gradient climb `model.surrogate(...)`, since a look-up has no gradient. Nothing in this "
            f"folder is code: {code(WEIGHTS)} holds numbers, {code(CONFIG)} how the network is built, "
            f"{self._files_of_results()} every number of this card and more."
        )
        if plugins:
            text += f" It needs plug-ins, which are code and not part of it: {', '.join(map(code, plugins))}."
        return f"## How to load it\n\n{text}"

    def _files_of_results(self) -> str:
        return code(RESULTS) if self.attacked is None else f"{code(RESULTS)} and {code(ATTACKED)}"

    def _training(self) -> str:
        config, images = self.config, self._count("dataset", "train")
        rows = [("regime", f"{code(config.regime.name)}, preset {code(config.preset.name)}")]
        if config.regime.trains:
            rows.append(("length", f"{config.epochs} epochs, batches of {config.batch_size}"))
        number = f", {images} training images" if images else ""
        versions = self.info.get("versions") or {}
        named = ", ".join(f"{name} {versions[name]}" for name in ("p2be-exp", "torch", "python") if name in versions)
        rows += [
            ("data", f"{code(config.dataset.name)}{number}"),
            ("seed", str(config.seed)),
            ("weights", f"{self.which} checkpoint, step {self.step:,}"),
            ("made", words(self.info.get("created", "unknown"))),
            ("commit", words(self.info.get("git_commit") or "unknown")),
            ("versions", words(named)),
        ]
        text = f"## How it was trained\n\n{table(('', ''), rows)}\n\nThe whole configuration is in {code(CONFIG)}."
        if config.departs_from_paper:
            text += f" Not the paper's recipe: {words(config.departs_from_paper.rstrip('.'))}."
        return text
