"""Look at data before training on it: lengths, labels, vocabulary, copies.

Pure functions over texts and examples; they return numbers and tables, never print or draw. Shortcuts are in
``shortcuts``, personal data and bias in ``risks``, embeddings in ``maps``. scikit-learn, scipy and pandas are imported
where they are used, so that importing this module costs nothing.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from helpers.progress import each

if TYPE_CHECKING:
    from pandas import DataFrame

    Messages = Mapping[str, list[dict[str, str]]]

_WORD = re.compile(r"[^\W\d_]+(?:['’-][^\W\d_]+)*")


def words(text: str) -> list[str]:
    """Lower-cased words; digits and punctuation separate them."""
    return _WORD.findall(text.lower())


def row_text(row: Mapping[str, Any], skip: Sequence[str] = ("id", "label", "category", "topic")) -> str:
    """All text of a row of any task, columns in order, lists joined; ``skip``: columns to leave out.

    What is neither text nor number (a picture, nothing at all) is left out too.
    """
    parts: list[str] = []
    for column, value in row.items():
        if column not in skip:
            values = value if isinstance(value, list | tuple) else [value]
            parts += [str(v) for v in values if isinstance(v, str | int | float)]
    return " ".join(part for part in parts if part)


def wilson(count: int, n: int) -> tuple[float, float]:
    """Wilson 95 % interval of a share ``count / n``; (0, 1) for n = 0, because nothing is known."""
    if n == 0:
        return 0.0, 1.0
    from scipy.stats import binomtest

    interval = binomtest(count, n).proportion_ci(0.95, method="wilson")
    return float(interval.low), float(interval.high)


# ---------- what the model reads
def token_lengths(tokenizer: Any, messages: Sequence[Messages]) -> DataFrame:
    """Lengths in tokens of what a chat model is trained on.

    Args:
        tokenizer: a transformers tokenizer, with a chat template or without (then contents are joined).
        messages: ``{"prompt": [message, …], "completion": [message, …]}`` per example.

    Returns:
        one row per example, columns ``prompt`` (template and generation prompt included), ``completion``
        (closing tokens included), ``total`` = their sum.
    """
    import pandas as pd

    def count(texts: list[str]) -> list[int]:
        return [len(ids) for ids in tokenizer(texts, add_special_tokens=False)["input_ids"]] if texts else []

    prompt = count([render(tokenizer, m["prompt"], generation_prompt=True) for m in each("tokenising", messages)])
    total = count([render(tokenizer, m["prompt"] + m["completion"]) for m in each("tokenising", messages)])
    table = pd.DataFrame({"prompt": prompt, "total": total}, dtype=int)
    table.insert(1, "completion", table["total"] - table["prompt"])
    return table


def render(tokenizer: Any, messages: list[dict[str, str]], generation_prompt: bool = False) -> str:
    """The exact string the tokenizer's chat template makes of some messages."""
    if getattr(tokenizer, "chat_template", None):
        return str(tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=generation_prompt))
    return "\n".join(m["content"] for m in messages)


def truncation(lengths: DataFrame, max_length: int) -> dict[str, float]:
    """What cutting every example to its first ``max_length`` tokens removes, as shares between 0 and 1.

    ``examples_cut``: examples longer than the limit; ``nothing_to_learn``: examples whose prompt alone fills
    it, so that no completion token is left; ``completion_tokens_lost``: share of all completion tokens.
    """
    over = (lengths["total"] - max_length).clip(lower=0)
    lost = over.clip(upper=lengths["completion"])
    return {
        "examples_cut": float((over > 0).mean()),
        "nothing_to_learn": float((lengths["prompt"] >= max_length).mean()),
        "completion_tokens_lost": float(lost.sum() / max(int(lengths["completion"].sum()), 1)),
    }


# ---------- labels and words
def label_balance(labels: Mapping[str, Sequence[str]], top: int | None = None) -> DataFrame:
    """Counts and shares of labels per split with Wilson intervals.

    Args:
        labels: ``{split: label of each row}``.
        top: keep only the labels most frequent over all splits; shares still refer to all rows of a split.

    Returns:
        columns ``split, label, count, share, low, high``; labels by overall frequency.
    """
    import pandas as pd

    overall = Counter(label for values in labels.values() for label in values)
    kept = [label for label, _ in sorted(overall.items(), key=lambda item: (-item[1], item[0]))][:top]
    rows = []
    for split, values in labels.items():
        counts = Counter(values)
        for label in kept:
            low, high = wilson(counts[label], len(values))
            rows.append((split, label, counts[label], counts[label] / max(len(values), 1), low, high))
    return pd.DataFrame(rows, columns=["split", "label", "count", "share", "low", "high"])


def vocabulary(texts: Mapping[str, Sequence[str]], fit: str = "train") -> DataFrame:
    """Size of the vocabulary per split and how much of it the ``fit`` split never showed.

    Returns:
        per split: ``words`` (running words), ``types`` (different words), ``type_token_ratio`` over the first
        m running words, m = length of the shortest split (the ratio falls with length, so lengths must be
        equal to compare), ``unseen_types`` and ``unseen_words``: shares not in the ``fit`` split (words, not
        tokens of the model: those are never unknown).
    """
    import pandas as pd

    running = {split: [w for text in values for w in words(text)] for split, values in texts.items()}
    known = set(running[fit])
    shortest = min(len(r) for r in running.values())
    rows = {}
    for split, stream in running.items():
        types = set(stream)
        rows[split] = {
            "texts": len(texts[split]),
            "words": len(stream),
            "types": len(types),
            "type_token_ratio": len(set(stream[:shortest])) / max(shortest, 1),
            "unseen_types": len(types - known) / max(len(types), 1),
            "unseen_words": sum(w not in known for w in stream) / max(len(stream), 1),
        }
    return pd.DataFrame.from_dict(rows, orient="index")


def vocabulary_growth(texts: Sequence[str], points: int = 40) -> tuple[list[int], list[int]]:
    """Different words after so many running words; a curve that flattens says the text repeats itself."""
    import pandas as pd

    stream = [w for text in texts for w in words(text)]
    marks = sorted({max(1, round(len(stream) * i / points)) for i in range(1, points + 1)}) if stream else []
    different = (~pd.Series(stream, dtype=object).duplicated()).cumsum()
    return marks, [int(different[mark - 1]) for mark in marks]


def top_words(texts: Sequence[str], n: int = 20) -> dict[str, int]:
    """The n words that occur in most texts, English function words left out: ``{word: number of texts}``."""
    from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS

    counts = Counter(w for text in texts for w in sorted(set(words(text)) - ENGLISH_STOP_WORDS) if len(w) > 1)
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:n])


# ---------- copies across splits
def copies(texts: Mapping[str, Sequence[str]], threshold: float = 0.7) -> DataFrame:
    """Pairs of equal and of nearly equal texts, within and across splits.

    Args:
        texts: ``{split: texts}``; put ``train`` first, so that leaks read test → train.
        threshold: least Jaccard similarity of three-word runs that counts as nearly equal.

    Returns:
        columns ``kind`` ("exact": the same words; else "near"), ``split, row``, ``other_split, other_row`` (the
        earlier text) and ``similarity`` (0–1), most similar first. Different splits: a leak.
    """
    import pandas as pd

    from helpers.tasks.dedupe import jaccard, near_duplicate_pairs, shingles

    place = [(split, i) for split, values in texts.items() for i in range(len(values))]
    flat = [text for values in texts.values() for text in values]
    groups: dict[str, list[int]] = {}
    for i, text in enumerate(flat):
        groups.setdefault(" ".join(words(text)) or text, []).append(i)
    exact = {(group[0], later) for group in groups.values() for later in group[1:]}
    same = {later: first for first, later in exact}
    rows = []
    for i, j in sorted(exact | set(near_duplicate_pairs(flat, threshold))):
        equal = same.get(i, i) == same.get(j, j)
        if equal and (i, j) not in exact:
            continue  # the third copy of a text is reported against the first only
        similarity = 1.0 if equal else jaccard(shingles(flat[i]), shingles(flat[j]))
        rows.append(("exact" if equal else "near", *place[j], *place[i], similarity))
    table = pd.DataFrame(rows, columns=["kind", "split", "row", "other_split", "other_row", "similarity"])
    return table.sort_values("similarity", ascending=False, kind="stable", ignore_index=True)


def nearest(train: Sequence[str], test: Sequence[str]) -> DataFrame:
    """For each test text the most similar training text.

    Similarity is the cosine of TF-IDF vectors of words and word pairs: 1 for the same words in the same order
    counts, 0 for none in common.

    Returns:
        columns ``row, nearest, similarity``, most similar first.
    """
    import pandas as pd
    from sklearn.feature_extraction.text import TfidfVectorizer

    vectorizer = TfidfVectorizer(tokenizer=words, token_pattern=None, ngram_range=(1, 2), sublinear_tf=True)
    known = vectorizer.fit_transform(train)
    similarity = (vectorizer.transform(test) @ known.T).toarray()
    best = similarity.argmax(axis=1)
    table = pd.DataFrame({"row": range(len(test)), "nearest": best, "similarity": similarity[range(len(test)), best]})
    return table.sort_values(["similarity", "row"], ascending=[False, True], ignore_index=True)
