"""Every parameter of the course: type, range, meaning; and ``Settings``, the checked values of one run.

One line in ``Settings`` is one parameter: its name and type (so that an editor knows that ``cfg.batch_size`` is an
int), what is allowed, and what it means. Which lesson has it, and what it is by default, stands in ``lessons``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, get_type_hints, overload

from helpers.hints import did_you_mean
from helpers.sources.source import SPLIT_CHOICES, Source

PREFIX_KINDS = ("key_value", "embedding", "peft")
MODEL_SIZES = ("7B", "13B", "34B", "70B")  # whose shapes are kept, for planning
PENALTIES = ("nuclear", "factor_l2", "orthogonality")  # on a low-rank update
QUANTISATIONS = ("nf4", "nf4-double", "int8", "none")  # how the base weights are stored


class Parameter:
    """One parameter: ``low`` and ``high`` are inclusive; ``choices`` are the only texts allowed.

    As an attribute of ``Settings`` it reads the run's value.
    """

    name: str
    type: Any  # bool, int, float or str

    def __init__(
        self,
        help: str,
        low: float | None = None,
        high: float | None = None,
        choices: tuple[str, ...] | None = None,
    ) -> None:
        self.help, self.low, self.high, self.choices = help, low, high, choices

    def __set_name__(self, owner: Any, name: str) -> None:
        self.name = name

    @overload
    def __get__(self, settings: None, owner: Any) -> Parameter: ...
    @overload
    def __get__(self, settings: Settings, owner: Any) -> Any: ...
    def __get__(self, settings: Settings | None, owner: Any) -> Any:
        if settings is None:
            return self
        values = settings.as_dict()
        if self.name in values:
            return values[self.name]
        raise AttributeError(self.name)  # Python then asks Settings.__getattr__, which says what is wrong


def _p(help: str, low: float | None = None, high: float | None = None, choices: tuple[str, ...] | None = None) -> Any:
    """A ``Parameter``; typed Any, so that the annotation beside it is what an editor reads."""
    return Parameter(help, low, high, choices)


class Settings:
    """Frozen settings of one run: read as attributes, ``as_dict()`` for the record.

    Attributes:
        given: parameters whose value is another than the lesson's default.
        origins: setting → where its value comes from, in words.
    """

    # Set by the course, not by a reader.
    notebook: str
    profile_reason: str
    embedder: str
    scorer: str
    offline: bool
    dtype: str
    cell_timeout: int | None

    # fmt: off
    profile: str = _p("auto, smoke, cpu or full", choices=("auto", "smoke", "cpu", "full"))
    task: str = _p("which task's data")
    model_id: str = _p("Hub id, local folder or tiny/llama")
    reasoner_id: str = _p("the model that reasons over words: Hub id, local folder or tiny/llama")
    dataset: str = _p("builtin, a Hub id, a local file or folder")
    columns: str = _p("which of its columns holds what, where names do not say it; see README")
    labels: str = _p("what its codes mean, where the data do not say it; see README")
    splits: str = _p("keep the source's own splits, without copies across them, or cut anew", choices=SPLIT_CHOICES)
    protocol: str = _p("published: rows chosen as the published project did", choices=("published",))
    seed: int = _p("seed of every random choice", 0, 2**31 - 1)
    run_name: str = _p("folder name of this run")
    output_dir: str = _p("where run folders go")
    checkpoint_dir: str = _p("where copies of checkpoints go, e.g. a mounted Drive; default: nowhere")
    form: str = _p("which question is asked about each row")
    forms: str = _p("questions trained together, joined by +: a text and a choice")
    n_train: int = _p("training examples", 8, 10_000_000)
    n_eval: int = _p("test examples", 8, 1_000_000)
    n_text: int = _p("how many of them also give a text to learn", 1, 10_000_000)
    n_generate: int = _p("test examples that get a generated answer", 1, 1_000_000)
    n_shots: int = _p("worked examples in a few-shot prompt", 0, 64)
    n_canaries: int = _p("made-up secrets, most of them planted in the training data; 0: none", 0, 144)
    epochs: float = _p("passes over the training examples", 0.01, 1000)
    learning_rate: float = _p("peak learning rate", 1e-8, 1)
    batch_size: int = _p("examples in one forward pass", 1, 1024)
    grad_accumulation: int = _p("forward passes per weight update", 1, 1024)
    max_length: int = _p("longest example, in tokens", 16, 131_072)
    max_new_tokens: int = _p("longest generated answer, in tokens", 1, 8192)
    lora_r: int = _p("rank of the update", 1, 1024)
    lora_alpha: int = _p("the update is scaled by lora_alpha / lora_r", 1, 4096)
    lora_dropout: float = _p("dropout in front of the adapter", 0, 0.9)
    lora_targets: str = _p("layers that get an update: all-linear, or names joined by +")
    ranks: str = _p("ranks to compare, rising, joined by +")
    penalties: str = _p("penalties on the update, joined by +: nuclear, factor_l2, orthogonality")
    strengths: str = _p("weights of a penalty, rising, joined by +")
    plan_for: str = _p("models that cards are sought for, joined by +: 7B, 13B, 34B, 70B, or ids")
    n_seeds: int = _p("seeds with which a comparison is repeated", 1, 100)
    n_rates: int = _p("learning rates tried for each variant", 1, 10)
    quant: str = _p("base weights as nf4-double, nf4, int8 or none (16 or 32 bit)", choices=QUANTISATIONS)
    classifier: str = _p("a new head, or the model's own words", choices=("head", "label_words"))
    head: str = _p("whether the new head is trained and saved", choices=("trained", "frozen"))
    padding: str = _p("pad to the longest of a batch, or always", choices=("dynamic", "max_length"))
    prefix: str = _p("what is learned: keys and values, embeddings, or PEFT's", choices=PREFIX_KINDS)
    prefix_tokens: int = _p("length of the prefix", 1, 512)
    prefix_hidden: int = _p("width of the network behind the prefix; 0 for none", 0, 65_536)
    prefix_init: str = _p("what the prefix starts from", choices=("random", "zeros", "text"))
    max_pixels: int = _p("pictures with more pixels are shrunk to this", 64, 16_777_216)
    teacher: str = _p("simulated, a teacher's file (TSV), or a model that answers")
    others: str = _p("another model's answers to the test questions, to be scored too")
    adapters: str = _p("trained adapters in place of new ones, by name: folders of runs")
    push: bool = _p("upload the adapters to the Hugging Face Hub, into a private repository")
    repo_id: str = _p("where to: owner/name; default: the run's name in your account")
    runs: str = _p("folder of the runs to compare; default: output_dir")
    n_rate: int = _p("comparisons on the rating sheet", 1, 1000)
    ratings: str = _p("folder of the CSV files that raters saved; default: the run's own")
    gradient_checkpointing: bool = _p("compute activations twice rather than keep them")
    check_memory: bool = _p("stop before loading what would not fit")
    resume: bool = _p("continue an interrupted run of this name")
    # fmt: on

    __slots__ = ("_values", "given", "origins")

    def __init__(
        self, values: Mapping[str, Any], given: Iterable[str] = (), origins: Mapping[str, str] | None = None
    ) -> None:
        object.__setattr__(self, "_values", dict(values))
        object.__setattr__(self, "given", tuple(given))
        object.__setattr__(self, "origins", dict(origins or {}))

    def __getattr__(self, name: str) -> Any:
        values: dict[str, Any] = object.__getattribute__(self, "_values")
        if name in values:
            return values[name]
        where = values.get("notebook", "this run")
        raise AttributeError(f"{where} has no setting {name!r}{did_you_mean(name, values)}")

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError("settings are fixed: change the parameters cell and run start() again")

    __delattr__ = __setattr__  # type: ignore[assignment]

    def __iter__(self) -> Iterator[str]:
        return iter(self.as_dict())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Settings) and self.as_dict() == other.as_dict()

    def __hash__(self) -> int:
        return hash(tuple(self.as_dict().items()))

    def __reduce__(self) -> tuple[type[Settings], tuple[Any, ...]]:
        return Settings, (self.as_dict(), self.given, self.origins)

    def __repr__(self) -> str:
        return "Settings(" + ", ".join(f"{k}={v!r}" for k, v in self.as_dict().items()) + ")"

    @property
    def source(self) -> Source:
        """What to read: ``dataset``, with what was settled about it."""
        values = self.as_dict()
        return Source(values["dataset"], *(values[name] for name in ("columns", "labels", "splits", "protocol")))

    def as_dict(self) -> dict[str, Any]:
        """Every setting in a fixed order, JSON-ready."""
        return dict(object.__getattribute__(self, "_values"))


PARAMETERS: dict[str, Parameter] = {n: row for n, row in vars(Settings).items() if isinstance(row, Parameter)}
for _name, _type in get_type_hints(Settings).items():
    if _name in PARAMETERS:
        PARAMETERS[_name].type = _type
