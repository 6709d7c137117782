"""dvc.yaml and params.yaml match the code; imports go one way; modules stay short."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from flows.stage import OPTIONS
from tests.conftest import REPOSITORY

PACKAGES = ("fclip", "tasks", "flows")
GPU_CORE = (
    *("fclip/base_models", "fclip/conversion", "fclip/extensions.py"),
    *("fclip/export/open_clip.py", "fclip/export/parity.py", "fclip/export/transformers.py"),
    *("fclip/models", "fclip/images", "fclip/training", "fclip/features", "fclip/evaluation"),
)
CORE_MAY_IMPORT = {"numpy", "PIL", "pyarrow", "safetensors", "torch", "open_clip", "timm", "transformers", "fclip"}
CORE_MAY_IMPORT |= {"rich"}  # used by fclip.progress if it is installed
CORE_MAY_IMPORT |= {"huggingface_hub"}  # a dependency of open_clip; fetches base models
# A stage fetches weights by digest and verifies them, so its output does not depend on the registry code.
WITHOUT_EFFECT_ON_OUTPUTS = ("fclip/registry/",)
# Modules that a stage starts in another process, by stage.
ALSO_STARTED = {"finetune": [REPOSITORY / "fclip" / "training" / "__main__.py"]}


def sources() -> list[Path]:
    return sorted(path for package in PACKAGES for path in (REPOSITORY / package).rglob("*.py"))


def imports(path: Path) -> set[str]:
    """Return the dotted names that a file imports anywhere, except under TYPE_CHECKING."""
    found: set[str] = set()
    tree = ast.parse(path.read_text())
    skipped = {
        id(node)
        for branch in ast.walk(tree)
        if isinstance(branch, ast.If) and ast.unparse(branch.test) == "TYPE_CHECKING"
        for node in ast.walk(branch)
    }
    for node in ast.walk(tree):
        if id(node) in skipped:
            continue
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def module_file(name: str) -> Path | None:
    path = REPOSITORY / name.replace(".", "/")
    for file in (path.with_suffix(".py"), path / "__init__.py"):
        if file.is_file():
            return file
    return None


def closure(*files: Path) -> set[str]:
    """Return `files` and all files of this repository that they import, without `__init__.py` files.

    A registry collects the modules in its folder (`fclip.extensions`), so it needs all of them.
    """
    todo, seen = list(files), set()
    while todo:
        current = todo.pop()
        name = current.relative_to(REPOSITORY).as_posix()
        if name in seen or name.startswith(WITHOUT_EFFECT_ON_OUTPUTS):
            continue
        seen.add(name)
        if current.name == "__init__.py":
            continue  # packages import what they offer on first use
        todo += [found for module in imports(current) if (found := module_file(module))]
        if current.name == "registry.py":
            todo += [*current.parent.glob("*.py"), *current.parent.glob("kinds/*.py")]
    return {name for name in seen if not name.endswith("__init__.py")}


def stages() -> dict[str, dict]:
    return {
        name: body.get("do", body)
        for name, body in yaml.safe_load((REPOSITORY / "dvc.yaml").read_text())["stages"].items()
    }


def modules(dep: str) -> set[str]:
    """The modules of a dependency in dvc.yaml: one file, or all files of a package."""
    path = REPOSITORY / dep
    files = path.rglob("*.py") if path.is_dir() else [path]
    return {name for file in files if not (name := file.relative_to(REPOSITORY).as_posix()).endswith("__init__.py")}


@pytest.mark.parametrize("stage", stages())
def test_stage_declares_the_modules_that_it_uses(stage: str) -> None:
    """Every module that the stage imports is declared. A package may be declared if most of it is used."""
    declared = [dep for dep in stages()[stage]["deps"] if dep.startswith(PACKAGES)]
    assert not [dep for dep in declared if not (REPOSITORY / dep).exists()]
    used = closure(REPOSITORY / "tasks" / f"{stage.replace('-', '_')}.py", *ALSO_STARTED.get(stage, ()))
    missing = used - set().union(*map(modules, declared))
    assert not missing, f"missing {sorted(missing)}"
    unused = [dep for dep in declared if len(modules(dep) & used) * 2 < len(modules(dep))]
    assert not unused, f"mostly unused: {unused}"


def test_dvc_yaml_is_short() -> None:
    assert len((REPOSITORY / "dvc.yaml").read_text().splitlines()) <= 200


def test_stage_options_name_existing_stages() -> None:
    assert set(OPTIONS) == set(stages())


def test_tracked_params_exist_in_params_yaml() -> None:
    sections = set(yaml.safe_load((REPOSITORY / "params.yaml").read_text()))
    for stage, body in stages().items():
        for key in body.get("params", []):
            assert key.split(".")[0] in sections, (stage, key)


@pytest.mark.parametrize("path", sources(), ids=lambda path: path.relative_to(REPOSITORY).as_posix())
def test_imports_go_one_way(path: Path) -> None:
    name = path.relative_to(REPOSITORY).as_posix()
    roots = {module.split(".")[0] for module in imports(path)}
    if name.startswith("fclip/"):
        assert not roots & {"tasks", "flows", "prefect", "dvc"}
    if name.startswith("tasks/"):
        assert not roots & {"flows", "prefect", "dvc"}
    if not name.startswith("fclip/registry"):
        assert "mlflow" not in roots
    if not name.startswith("fclip/search"):
        assert "lancedb" not in roots
    if not name.startswith("fclip/serve"):
        assert not roots & {"fastapi", "starlette", "uvicorn", "prometheus_client"}
    if name.startswith(GPU_CORE):
        assert roots - set(sys.stdlib_module_names) <= CORE_MAY_IMPORT


def test_files_have_at_most_300_lines() -> None:
    long = [path.name for path in sources() if len(path.read_text().splitlines()) > 300]
    assert not long


def test_core_imports_without_optional_libraries_and_writes_no_files(tmp_path: Path) -> None:
    """The core can be imported without the libraries that it must not need, and importing writes no files."""
    blocked = ["prefect", "dvc", "mlflow", "pandas", "pydantic", "yaml", "typer", "jinja2", "matplotlib"]
    modules = [
        path.relative_to(REPOSITORY).as_posix().removesuffix(".py").replace("/", ".")
        for path in sources()
        if path.relative_to(REPOSITORY).as_posix().startswith(GPU_CORE) and path.name != "__init__.py"
    ]
    code = f"import sys\nsys.modules.update(dict.fromkeys({blocked!r}))\n" + "\n".join(f"import {m}" for m in modules)
    environment = {
        "PYTHONPATH": str(REPOSITORY),
        "PYTHONDONTWRITEBYTECODE": "1",
        "HOME": str(tmp_path),
        "PATH": "/usr/bin:/bin",
    }
    result = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert not [path for path in tmp_path.iterdir() if path.name != ".cache"]


@pytest.mark.parametrize("module", ["flows.cli.__main__", "flows.params", "flows.cli.status"])
def test_commands_import_no_heavy_libraries(module: str) -> None:
    """Torch, matplotlib and MLflow take seconds to import; a command that only reads params must not import them."""
    heavy = {"torch", "open_clip", "transformers", "matplotlib", "mlflow", "prefect", "pyarrow", "pandas", "PIL"}
    code = f"import sys, {module}\nfrom tasks.workspace.paths import Workspace\n"
    code += "flows.params.load_params(Workspace.here())\n" if module == "flows.params" else ""
    code += f"print(*({heavy} & sys.modules.keys()))"
    result = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert result.stdout.strip() == ""


def imported(*modules: str, after: str = "") -> set[str]:
    """Return the top-level packages that a new process has imported after `modules`, and had not after `after`."""
    code = "import sys\npackages = lambda: {name.split('.')[0] for name in sys.modules}\n"
    code += f"{after and f'import {after}'}\nbefore = packages()\nimport {', '.join(modules)}\n"
    code += "print(*packages() - before)"
    result = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    return set(result.stdout.split())


def test_what_needs_no_model_imports_no_torch() -> None:
    """Stages without a model, and the readers of model folders, start in a fraction of torch's import time."""
    stages = [f"tasks.{name}" for name in ("ingest", "caption", "derive", "gather", "select")]
    readers = [f"fclip.models.{name}" for name in ("candidates", "digests", "folder", "mixtures", "preprocess")]
    heavy = {"torch", "open_clip", "timm", "torchvision", "transformers", "huggingface_hub", "mlflow", "matplotlib"}
    assert not imported(*stages, *readers) & (heavy | {"pandas", "aiohttp", "fsspec", "networkx", "prefect"})


def test_stages_with_a_model_import_little_besides_open_clip() -> None:
    stages = [f"tasks.{name}" for name in ("finetune", "average", "evaluate", "audit", "embed")]
    third_party = imported(*stages, after="open_clip") - set(sys.stdlib_module_names)
    assert third_party <= {"fclip", "tasks", "pyarrow", "cloudpickle"}  # pyarrow.compute imports cloudpickle


def test_prefect_server_can_be_imported() -> None:
    """Newer versions of FastAPI break Prefect although pip reports no conflict."""
    import prefect.server.api.server  # noqa: F401
