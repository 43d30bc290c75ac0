"""The form every notebook keeps, so that a reader who knows one knows them all."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import re
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import nbformat
import pytest

from helpers import hosted
from helpers.config.checks import check_value
from helpers.config.lessons import LESSONS
from helpers.config.parameters import PARAMETERS

ROOT = Path(__file__).resolve().parents[2]
FILES = sorted((ROOT / "notebooks").glob("*.ipynb"))
MAX_LINES = 25
LINE = re.compile(r"^\w+: \w+ = .+?  # \S.*$")
LINK = re.compile(r"\]\(([^()\s]*(?:\([^()\s]*\)[^()\s]*)*)(?:\s+\"[^\"]*\")?\)|(?:href|src)=\"([^\"]+)\"")
every_notebook = pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)


def load(path: Path) -> Any:
    return nbformat.read(path, as_version=4)


def code_cells(path: Path) -> list[Any]:
    return [cell for cell in load(path).cells if cell.cell_type == "code"]


def parameters_cell(path: Path) -> Any:
    found = [cell for cell in load(path).cells if "parameters" in cell.metadata.get("tags", [])]
    assert len(found) == 1, f"{len(found)} cells are tagged parameters"
    assert found[0].cell_type == "code"
    return found[0]


def links(path: Path) -> list[str]:
    text = "\n".join(cell.source for cell in load(path).cells if cell.cell_type == "markdown")
    return [a or b for a, b in LINK.findall(text)]


def test_every_listed_notebook_exists_and_every_notebook_is_listed() -> None:
    assert [path.stem for path in FILES] == sorted(LESSONS)
    assert {"00_start_here", "01_eda", "02_zero_shot_baselines", "04_qlora_instruct"} <= set(LESSONS)


@every_notebook
def test_valid_and_without_outputs(path: Path) -> None:
    node = load(path)
    nbformat.validate(node)
    for number, cell in enumerate(node.cells):
        if cell.cell_type == "code":
            assert not cell.outputs, f"cell {number} has outputs"
            assert cell.execution_count is None, f"cell {number} has an execution count"


@every_notebook
def test_metadata_name_the_kernel_and_nothing_stale(path: Path) -> None:
    node = load(path)
    assert set(node.metadata) <= {"kernelspec", "language_info"}, "other metadata, such as widgets"
    assert node.metadata.kernelspec.name == "python3"
    assert node.metadata.kernelspec.display_name
    assert node.metadata.language_info.name == "python"
    for number, cell in enumerate(node.cells):
        assert set(cell.metadata) <= {"tags"}, f"cell {number} carries {sorted(cell.metadata)}"


@every_notebook
def test_first_code_cell_is_the_common_setup(path: Path) -> None:
    first, second, third = code_cells(path)[:3]
    assert first.source.strip() == hosted.SETUP_CELL.strip()
    assert "parameters" in second.metadata.get("tags", [])
    assert "from helpers import start" in third.source
    assert f'start("{path.stem}", globals())' in third.source


@every_notebook
def test_parameters_cell_has_the_agreed_form(path: Path) -> None:
    source = parameters_cell(path).source
    spec = LESSONS[path.stem]
    names = []
    for line, node in zip(source.splitlines(), ast.parse(source).body, strict=True):
        assert LINE.match(line), f"not 'name: type = value  # comment': {line}"
        assert isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name), line
        assert isinstance(node.annotation, ast.Name) and node.value is not None, line
        name = node.target.id
        row, value = PARAMETERS[name], ast.literal_eval(node.value)
        assert node.annotation.id == row.type.__name__, line
        if value is not None:
            check_value(row, value)
            # A value written here would hide the profiles' own: only one that they share may stand.
            assert value == spec.shared_default(name), line
        names.append(name)
    assert names == list(spec.parameters)


@every_notebook
def test_cells_are_short(path: Path) -> None:
    for number, cell in enumerate(load(path).cells):
        # A folded solution takes one line until it is opened.
        shown = re.sub(r"<details>.*?</details>", "<details>", cell.source, flags=re.DOTALL)
        lines = shown.count("\n") + 1
        if "parameters" in cell.metadata.get("tags", []):  # a list, one line each: as long as there are parameters
            continue
        assert lines <= MAX_LINES, f"{cell.cell_type} cell {number} has {lines} lines: {cell.source[:50]!r}"


class Bindings(ast.NodeVisitor):
    """Names that code binds in its own scope, not in those of its functions, classes and comprehensions."""

    def __init__(self) -> None:
        self.names: set[str] = set()

    def visit_Name(self, node: ast.Name) -> None:
        self.names |= set() if isinstance(node.ctx, ast.Load) else {node.id}

    def visit_alias(self, node: ast.alias) -> None:
        self.names.add((node.asname or node.name).partition(".")[0])

    def visit_ExceptHandler(self, node: ast.ExceptHandler) -> None:
        self.names |= {node.name} if node.name else set()
        self.generic_visit(node)

    def visit_definition(self, node: ast.FunctionDef | ast.ClassDef) -> None:
        self.names.add(node.name)

    visit_FunctionDef = visit_AsyncFunctionDef = visit_ClassDef = visit_definition  # noqa: N815

    def visit_Lambda(self, node: ast.Lambda) -> None:
        pass

    def visit_comprehension_scope(self, node: ast.expr) -> None:
        # The variables are its own; what := binds inside it belongs to the scope around it.
        walrus = (inner.target.id for inner in ast.walk(node) if isinstance(inner, ast.NamedExpr))
        self.names |= set(walrus)

    visit_ListComp = visit_SetComp = visit_DictComp = visit_GeneratorExp = visit_comprehension_scope  # noqa: N815


def rebound(source: str) -> set[str]:
    """Names that a cell binds at its top level: assigned, imported, defined, or walked over by a loop."""
    found = Bindings()
    found.visit(ast.parse(source))
    return found.names


@pytest.mark.parametrize(
    "source",
    [
        "task = 1", "task: str = 'a'", "task += 1", "a, (task, b) = 1, (2, 3)", "for task in []: pass",
        "import x as task", "from x import task", "def task(): pass", "class task: pass", "with x as task: pass",
        "print(task := 1)", "[task := y for y in x]",
        "try: pass\nexcept E as task: pass", "for a in x:\n    if a: task = a",
    ],
)  # fmt: skip
def test_every_way_to_bind_a_name_is_seen(source: str) -> None:
    assert "task" in rebound(source)


@pytest.mark.parametrize(
    "source", ["f(task=1)", "def f(task): return task", "[task for task in x]", "lambda task: task"]
)
def test_a_name_of_its_own_scope_is_no_binding(source: str) -> None:
    assert "task" not in rebound(source)


@every_notebook
def test_no_cell_rebinds_a_parameter(path: Path) -> None:
    """A reader runs the ``start`` cell again after others: it must find the parameters as they were typed."""
    for number, cell in enumerate(load(path).cells):
        if cell.cell_type == "code" and "parameters" not in cell.metadata.get("tags", []):
            assert not rebound(cell.source) & set(LESSONS[path.stem].parameters), f"cell {number}"


def missing_names(sources: list[str]) -> list[str]:
    """What code takes from ``helpers`` that is not there: imported names, and attributes of imported modules."""
    modules: dict[str, Any] = {}
    missing = []
    for node in (node for source in sources for node in ast.walk(ast.parse(source))):
        if isinstance(node, ast.ImportFrom) and str(node.module).split(".")[0] == "helpers":
            for alias in node.names:
                place = importlib.import_module(str(node.module))
                if not hasattr(place, alias.name) and importlib.util.find_spec(f"{node.module}.{alias.name}"):
                    importlib.import_module(f"{node.module}.{alias.name}")
                found = getattr(place, alias.name, None)
                missing += [] if hasattr(place, alias.name) else [f"{node.module}.{alias.name}"]
                if isinstance(found, ModuleType):
                    modules[alias.asname or alias.name] = found
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            place = modules.get(node.value.id)
            missing += [f"{node.value.id}.{node.attr}"] if place and not hasattr(place, node.attr) else []
    return missing


def test_a_name_that_is_not_there_is_found() -> None:
    code = ["from helpers import plots, start", "from helpers.tasks import nothing", "plots.bars; plots.beams"]
    assert missing_names(code) == ["helpers.tasks.nothing", "plots.beams"]


@every_notebook
def test_every_name_taken_from_helpers_exists(path: Path) -> None:
    """In cells and in folded solutions, which nothing runs."""
    prose = "\n".join(cell.source for cell in load(path).cells if cell.cell_type == "markdown")
    solutions = re.findall(r"```python\n(.*?)```", prose, re.DOTALL)
    assert missing_names([cell.source for cell in code_cells(path)] + solutions) == []


@every_notebook
def test_title_carries_the_number(path: Path) -> None:
    first = load(path).cells[0]
    assert first.cell_type == "markdown"
    number = path.stem.split("_")[0]
    assert re.match(rf"# {number} · \S", first.source), first.source.splitlines()[0]


def test_each_lesson_leads_to_the_next() -> None:
    for path, following in zip(FILES, [*FILES[1:], FILES[0]], strict=True):
        _, _, last = load(path).cells[-1].source.rpartition("**Next:**")
        assert f"]({following.name})" in last, path.name


@every_notebook
def test_badges_open_this_file(path: Path) -> None:
    repository = urlsplit(hosted.REPO_URL).path.strip("/")
    place = f"{repository}/blob/main/notebooks/{path.name}"
    found = links(path)
    colab = [link for link in found if urlsplit(link).netloc == "colab.research.google.com" and "github" in link]
    assert colab == [f"https://colab.research.google.com/github/{place}"]
    kaggle = [link for link in found if urlsplit(link).netloc.endswith("kaggle.com") and "src=" in link]
    assert len(kaggle) == 1
    query = parse_qs(urlsplit(kaggle[0]).query)
    assert query["src"] == [f"https://github.com/{place}"]
    assert query.get("accelerator"), "the Kaggle badge does not preset an accelerator"


@every_notebook
def test_relative_links_resolve_inside_the_repository(path: Path) -> None:
    for link in links(path):
        parts = urlsplit(link)
        if parts.scheme or parts.netloc or not parts.path:
            continue
        target = (path.parent / unquote(parts.path)).resolve()
        assert target.exists(), link
        assert target.is_relative_to(ROOT), link


@every_notebook
def test_code_parses_on_every_supported_python_and_has_no_magics(path: Path) -> None:
    for number, cell in enumerate(code_cells(path)):
        assert not re.search(r"^\s*[%!]", cell.source, re.MULTILINE), f"code cell {number} uses a magic"
        for minor in (11, 13):
            ast.parse(cell.source, feature_version=(3, minor))


@every_notebook
def test_no_profile_is_treated_apart(path: Path) -> None:
    """Profiles supply defaults and nothing else; what smoke proves is what full runs."""
    for cell in code_cells(path):
        for node in ast.walk(ast.parse(cell.source)):
            if isinstance(node, (ast.Compare, ast.Match)):
                assert "profile" not in ast.unparse(node), ast.unparse(node)


# Figures that depend on what else the machine does.
OF_TIME = re.compile(r"second|speed|took|elapsed|wall_time|duration|per_s\b|milli")


def checked(source: str) -> tuple[list[ast.Assert], list[ast.Call]]:
    """The asserts and the claims of a cell."""
    nodes = list(ast.walk(ast.parse(source)))
    calls = [node for node in nodes if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)]
    names = ("claim", "claim_difference")
    return [n for n in nodes if isinstance(n, ast.Assert)], [
        n for n in calls if ast.unparse(n.func).startswith("run.") and n.func.attr in names
    ]


def complaints(source: str) -> list[str]:
    """What is wrong with the asserts and claims of a cell."""
    asserts, claims = checked(source)
    found = [f"no sentence: {ast.unparse(n)}" for n in asserts if not isinstance(n.msg, ast.Constant | ast.JoinedStr)]
    conditions: list[ast.expr] = [n.test for n in asserts]
    conditions += [part for call in claims for part in (*call.args[1:2], *(k.value for k in call.keywords))]
    for test in conditions:
        read = [n for n in ast.walk(test) if isinstance(n, ast.Name | ast.Attribute | ast.Constant)]
        words = (str(getattr(n, "id", "") or getattr(n, "attr", "") or getattr(n, "value", "")) for n in read)
        found += [f"of time: {ast.unparse(test)}"] if any(map(OF_TIME.search, words)) else []
    return found


def test_an_assert_without_a_sentence_and_a_claim_of_time_are_found() -> None:
    assert complaints("assert a > 1") and complaints("assert a, x") and complaints("assert speedup > 1.3, 'fast'")
    assert complaints("run.claim('it is fast', took < 1)") and complaints("run.claim('s', holds=costs['seconds'] < 1)")
    assert complaints("assert a > 1, 'a is large'\nrun.claim('it is good', p < 0.01, f'in {seconds} s')") == []


@every_notebook
def test_claims_and_asserts_are_sentences_and_none_is_of_time(path: Path) -> None:
    sources = [cell.source for cell in code_cells(path)]
    assert [line for source in sources for line in complaints(source)] == []
    assert any(any(checked(source)) for source in sources), "nothing is claimed and nothing is checked"


@every_notebook
def test_what_was_measured_is_kept_before_anything_is_claimed(path: Path) -> None:
    """A claim that fails, or an assert, comes after every result, prediction and figure."""
    keeps = re.compile(r"run\.(add_\w+|save_\w+)\(")
    sources = [cell.source for cell in code_cells(path)]
    first = next(i for i, source in enumerate(sources) if any(checked(source)))
    assert not [source for source in sources[first:] if keeps.search(source)]
    assert any("run.finish()" in source for source in sources[first:])


@every_notebook
def test_prose_has_no_emoji(path: Path) -> None:
    text = "\n".join(cell.source for cell in load(path).cells)
    assert not re.findall("[\U0001f300-\U0001faff\u2600-\u26ff\u2705\u274c\u2728]", text)


@every_notebook
def test_finishes_and_ends_with_exercises(path: Path) -> None:
    cells = load(path).cells
    assert any("run.finish()" in cell.source for cell in cells if cell.cell_type == "code")
    prose = "\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
    assert "## Exercises" in prose and "<details>" in prose
    assert prose.count("<details>") == prose.count("</details>")
    assert not re.search(r"\S\n<details>", prose), "without an empty line before it a solution shows unfolded"
