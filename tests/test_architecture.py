"""Imports run one way, nothing goes in circles, and each process loads only what it is there for."""

from __future__ import annotations

import ast
import subprocess
import sys
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

# From the ground up; a module may import from its own floor and from those below it.
FLOORS = (
    (
        "",
        "errors",
        "model",
        "timespan",
        "moments",
        "durable",
        "credentials",
        "signing",
        "signing.model",
        "signing.errors",
    ),
    ("config",),
    (
        *(
            "refresh.plan",
            "refresh.worker.validate",
            "refresh.schedule",
            "refresh.source_book.identity",
            "refresh.formats",
        ),
        *("refresh.hold", "refresh.units.gates", "refresh.worker.survey", "refresh.secret_object"),
        *(
            "refresh.source_book.breaker",
            "refresh.source_book.regions",
            "refresh.source_book.floors",
            "refresh.source_book.endpoints",
        ),
        *("refresh.source_book.call_days", "control.prices", "control.cost"),
        *("refresh.secret_ids", "push", "push.messages", "push.events", "refresh.push.hints"),
        "push.templates",
        *("refresh.sealed", "refresh.sealed.header", "refresh.sealed.box", "refresh.sealed.choice"),
        "refresh.sealed.refusals",
        *("refresh.push.state", "control.access", "control.requests", "observe.telling"),
        *("audit", "audit.record", "audit.chain", "audit.withheld", "audit.query", "audit.usage"),
        "audit.retention",
        *("unusual", "unusual.findings", "unusual.uses", "unusual.refusals", "unusual.detector"),
        *("unusual.memory", "unusual.wire"),
        "refresh.reads",
        *("signing.frame", "signing.mechanisms", "signing.encodings", "signing.verifying"),
        *("signing.authorize", "signing.buckets", "signing.units", "signing.approvals", "signing.fair"),
        *("signing.descriptions", "signing.tally"),
    ),
    (
        *(
            "process",
            "logs",
            "service",
            "inotify",
            "parts",
            "lean",
            "notify",
            "control",
            "control.protocol",
            "control.client",
            "refresh",
        ),
        *(
            "refresh.messages",
            "refresh.files.tree",
            "refresh.files.publish",
            "refresh.files.published",
            "refresh.journal",
        ),
        *(
            "refresh.files.memory",
            "refresh.sources",
            "refresh.files.generations",
            "refresh.files.drift",
            "refresh.files.watch",
        ),
        *("audit.log", "audit.writer", "audit.file", "audit.archive", "audit.ledger", "audit.reading"),
        *("audit.shipped", "audit.pruning"),
        *("audit.lookout", "audit.keeper"),
        *("signing.pkcs11", "signing.peer", "signing.resolve"),
        *(
            "refresh.sealed.store",
            "refresh.sealed.key",
            "refresh.sealed.copies",
            "refresh.sealed.counter",
            "refresh.sealed.ledger",
            "refresh.files.takeover",
        ),
        "refresh.worker.rendering",
        *("unusual.book", "unusual.sentry", "unusual.post", "unusual.mailbox"),
        *("client", "signing.sockets", "signing.material", "signing.trail"),
    ),
    ("refresh.worker.worker", "refresh.worker.examine", "push.failures", "push.queue", "push.listener"),
    ("shipping",),
    (
        "refresh.examination",
        *("refresh.worker.zygote", "refresh.workers", "refresh.rounds", "refresh.surveys", "refresh.state"),
        *("refresh.source_book.book", "refresh.source_book.call_book", "refresh.files.confirmations"),
        *("refresh.child", "refresh.push.listeners", "refresh.push.pushes"),
        *(
            "refresh.notebook",
            "refresh.guard",
            "refresh.trail",
            "refresh.reported",
            "refresh.units.attempt",
            "refresh.units.delivery",
            "refresh.units.starts",
            "refresh.files.restores",
            "refresh.sealed.sealing",
            "refresh.sealed.unsealing",
            "refresh.bundles",
        ),
        *("refresh.overrule", "refresh.conductor"),
        "observe",
    ),
    (
        *("control.report", "control.planning", "control.settling", "control.overruling", "control.drafting"),
        *("control.commands", "control.recording", "control.server"),
        *("control.check", "control.doctor", "control.source_checks", "control.source_report"),
        *("control.push_report", "control.sealed_checks", "monitor"),
    ),
    (
        "signing.alarm",
        "signing.comeback",
        "signing.dispatch",
        "signing.desk",
        "signing.deeds",
        "signing.administration",
    ),
    ("signing.native", "signing.http", "signing.doors"),
    ("signing.house",),
    ("monitor.signer", "monitor.signer_metrics", "monitor.signer_health"),
    ("__main__", "daemon", "signing.__main__", "shipping.__main__", "cli"),
)

# Rules and values: they decide, and never look at the world.
PURE = (
    *(
        "errors",
        "model",
        "timespan",
        "moments",
        "signing.model",
        "signing.errors",
        "signing.frame",
        "signing.mechanisms",
    ),
    *(
        "signing.encodings",
        "signing.authorize",
        "signing.buckets",
        "signing.units",
        "signing.approvals",
        "signing.descriptions",
    ),
    *(
        "monitor.catalogue",
        "monitor.http",
        "monitor.health",
        "monitor.access",
        "monitor.shipper_health",
        "signing.tally",
    ),
    *(
        "audit.withheld",
        "audit.query",
        "audit.usage",
        "audit.retention",
        "refresh.reads",
        "signing.fair",
        "audit.record",
        "audit.chain",
        "config.signer",
        "config.audit",
        "config.unusual",
    ),
    *("unusual.findings", "unusual.uses", "unusual.refusals", "unusual.detector", "unusual.memory"),
    "unusual.wire",
    *("signing.http.fields", "signing.http.envelope", "signing.http.transit"),
    *(
        "config.names",
        "config.rules",
        "config.models",
        "config.fields",
        "config.relations",
        "config.signer_relations",
        "config.sections",
        "config.toml_text",
        "config.table",
        "config.tables",
        "config.sources",
        "config.source_rules",
        "config.variables",
        "config.cautions",
        "config.positions",
        "config.windows",
        "config.on_change",
        "config.observe",
    ),
    *(
        "refresh.plan",
        "refresh.worker.validate",
        "refresh.schedule",
        "refresh.source_book.identity",
        "refresh.formats",
    ),
    *("refresh.hold", "refresh.units.gates", "refresh.worker.survey", "refresh.secret_object"),
    *("refresh.sources.faults", "refresh.sources.vault.errors", "refresh.sources.vault.answers"),
    "refresh.sources.vault.texts",
    *(
        "refresh.source_book.breaker",
        "refresh.source_book.regions",
        "refresh.source_book.floors",
        "refresh.source_book.endpoints",
    ),
    *("push.messages", "push.events", "push.templates"),
    *("refresh.secret_ids", "refresh.push.hints", "refresh.push.state"),
    *("refresh.sealed.header", "refresh.sealed.box", "refresh.sealed.choice", "refresh.sealed.refusals"),
    *("control.access", "control.requests", "control.check", "control.source_checks"),
    *("refresh.source_book.call_days", "control.prices", "control.cost"),
    *("observe.telling", "observe.conditions", "observe.events"),
    *("config.audit", "config.shipping", "shipping.pieces", "shipping.manifest", "shipping.sinks.texts"),
    *(
        "shipping.proof.batches",
        "shipping.proof.verification",
        "shipping.sinks.interface",
        "shipping.templates",
    ),
)
WORLD = frozenset(
    {
        "os",
        "time",
        "socket",
        "_socket",
        "asyncio",
        "subprocess",
        "random",
        "shutil",
        "signal",
        "botocore",
        "boto3",
    }
)


def modules() -> dict[str, ast.Module]:
    """Name without "secretsd." -> syntax tree."""
    found = {}
    for path in sorted((ROOT / "secretsd").rglob("*.py")):
        parts = path.relative_to(ROOT / "secretsd").with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        found[name] = ast.parse(path.read_text(encoding="utf-8"))
    return found


def imports(tree: ast.Module) -> set[str]:
    """Full names of everything that a module imports, for types only or late included."""
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative imports hide where they go"
            names |= {f"{node.module}.{alias.name}" for alias in node.names} | {str(node.module)}
    return names


def own_imports(tree: ast.Module, known: set[str]) -> set[str]:
    short = {
        name.removeprefix("secretsd").removeprefix(".")
        for name in imports(tree)
        if name.startswith("secretsd")
    }
    named = {name for name in short if name in known}
    # `from package import module` is about the module.
    return {
        name for name in named if not any(other != name and other.startswith(f"{name}.") for other in named)
    }


def run_time_only(tree: ast.Module) -> ast.Module:
    """Without what stands under `if TYPE_CHECKING:`, which never runs."""

    class Strip(ast.NodeTransformer):
        def visit_If(self, node: ast.If) -> ast.AST | None:
            is_typing = isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
            return None if is_typing else node

    return Strip().visit(ast.parse(ast.unparse(tree)))


def floor_of(name: str) -> int:
    candidates = {
        prefix: number
        for number, floor in enumerate(FLOORS)
        for prefix in floor
        if name == prefix or (prefix and name.startswith(f"{prefix}."))
    }
    assert candidates, f"{name} has no floor: give it one in FLOORS"
    return candidates[max(candidates, key=len)]


def upward(trees: dict[str, ast.Module]) -> list[str]:
    return [
        f"{name} imports {other}"
        for name, tree in trees.items()
        for other in own_imports(run_time_only(tree), set(trees))
        if other and floor_of(other) > floor_of(name)
    ]


def test_imports_go_down_only() -> None:
    trees = modules()
    planted = {**trees, "config.planted": ast.parse("from secretsd.refresh.conductor import Conductor")}
    assert upward(planted) == [*upward(trees), "config.planted imports refresh.conductor"]
    assert upward(trees) == []


def test_no_import_goes_in_a_circle() -> None:
    trees = modules()
    graph = {name: own_imports(run_time_only(tree), set(trees)) - {name, ""} for name, tree in trees.items()}
    list(TopologicalSorter(graph).static_order())
    with pytest.raises(CycleError):
        list(TopologicalSorter({**graph, "errors": {"refresh.conductor"}}).static_order())


def test_the_core_never_touches_the_world() -> None:
    for name, tree in modules().items():
        if name in PURE or name.startswith(tuple(f"{pure}." for pure in PURE)):
            touched = {module.split(".")[0] for module in imports(tree)} & WORLD
            assert not touched, f"{name} imports {touched}"


@pytest.mark.parametrize(
    ("module", "unwanted"),
    [
        # The daemon that lives on must never hold a secret, and 20 MiB of SDK would be for nothing.
        (
            "secretsd.daemon",
            {"botocore", "boto3", "urllib3", "tenacity", "hvac", "requests", "http.server", "wsgiref"}
            | {"ssl", "email", "zipfile", "importlib.metadata", "watchdog.events", "difflib"},
        ),
        ("secretsd.shipping.__main__", {"botocore", "boto3", "urllib3"}),
        ("secretsd.notify.helper", {"pydantic", "asyncio", "logging", "argparse"}),
        # Asked again and again, by people and by programs.
        (
            "secretsd.cli.main",
            {"pydantic", "asyncio", "logging", "shutil", "difflib", "subprocess", "decimal"},
        ),
        # Stands before every start of a bot: each of these costs milliseconds.
        ("secretsd.cli.__main__", {"json", "socket", "re", "argparse", "pydantic", "typing", "enum"}),
    ],
)
def test_a_process_loads_only_what_it_is_for(module: str, unwanted: set[str]) -> None:
    entry = "from secretsd import lean; lean.leave_out()" if module == "secretsd.daemon" else "pass"
    code = f"import sys; sys.path.insert(0, {str(ROOT)!r}); {entry}; import {module}; print(*sys.modules)"
    isolation = ["-I", "-S"] if "cli" in module else ["-I"]
    done = subprocess.run(
        [sys.executable, *isolation, "-c", code], check=True, stdout=subprocess.PIPE, text=True
    )
    assert not unwanted & set(done.stdout.split())


# Where values are: of these a process that lives on loads nothing.
_ONLY_FOR_WORKERS = (
    *("refresh.worker.worker", "refresh.sources", "refresh.formats"),
    *("refresh.sealed.box", "refresh.sealed.copies", "refresh.sealed.key", "refresh.sealed.ledger"),
)


@pytest.mark.parametrize(("module", "is_worker"), [("daemon", False), ("refresh.worker.zygote", True)])
def test_only_a_worker_loads_what_handles_values(module: str, is_worker: bool) -> None:
    code = f"import sys; sys.path.insert(0, {str(ROOT)!r}); import secretsd.{module}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-I", "-c", code], check=True, stdout=subprocess.PIPE, text=True)
    names = {name.removeprefix("secretsd.") for name in done.stdout.split()}
    found = {name for name in names if f"{name}.".startswith(tuple(f"{each}." for each in _ONLY_FOR_WORKERS))}
    assert bool(found) == is_worker, found


def test_files_stay_small() -> None:
    for path in (ROOT / "secretsd").rglob("*.py"):
        lines = len(path.read_text(encoding="utf-8").splitlines())
        assert lines <= 400, f"{path.relative_to(ROOT)} has {lines} lines: does it do one thing?"
