"""The pytest plugin: options, items, fixtures, summary; nothing else.

``pytest --checkpoint run.safetensors`` collects one item a checkpoint and gated scorer. Nothing is
read, rendered or imported before the first item that needs it runs; without ``--checkpoint`` the
plugin does nothing at all. The work itself is ``loraeval.evaluation``; ``loraeval.shared_run``
makes it happen once for all workers of pytest-xdist.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from loraeval.pytest_evidence import ITEM, Evidence, item_name

if TYPE_CHECKING:
    from loraeval.baselines import Baseline
    from loraeval.evaluation.gate_run import GateRun
    from loraeval.records import ScoreRow
    from loraeval.shared_run import ItemOutcome, SharedRun

OPTIONS: dict[str, str] = {
    "baseline": "NAME  baseline to gate against: a folder of baselines/, or a path",
    "renders": "MANIFEST  score these images instead of rendering (manifest or folder)",
    "base-model": "PATH_OR_ID  base model to render with: diffusers folder, file or hub id",
    "prompts": "SET  prompts to render: a set of prompts/, or a path (default: the baseline's)",
    "recipe": "NAME  recipe to render with: one of recipes/, or a path (default: the baseline's)",
    "encoder": "SPEC  encoder for style: auto, open_clip:…, efficientnet-lite0 (default auto)",
    "reference": "DIR  style reference images, where the baseline carries no features",
    "store": "DIR  store of renders (default .loraeval/store)",
    "report": "DIR  write the HTML report, charts and scores here",
    "max-images": "N  stop rendering after this many images a checkpoint",
    "min-images": "N  render at least this many images before a verdict",
    "alpha": "RATE  chance of failing a good, or passing a bad checkpoint",
    "inconclusive": "pass|fail|skip  what an undecided gate means here (default fail)",
    "devices": "LIST  devices to render on, e.g. cuda:0,cuda:1 or cpu (default auto)",
}
"""Option ``--lora-X`` and ini name ``lora_x`` with its help; every one takes a text."""

_RUN: pytest.StashKey[SharedRun] = pytest.StashKey()
_ALONE: pytest.StashKey[bool] = pytest.StashKey()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add ``--checkpoint`` and the ``--lora-*`` options, each with an ini default."""
    group = parser.getgroup("loraeval", "loraeval: gate LoRA checkpoints")
    group.addoption(
        "--checkpoint",
        action="append",
        default=[],
        metavar="PATH",
        help="gate this LoRA checkpoint; repeatable, a glob, or a folder (then every epoch)",
    )
    group.addoption(
        "--lora-partial",
        action="store_true",
        help="let a session that runs only a part of the gate (-k, --lf, one item) end with 0",
    )
    for name, text in OPTIONS.items():
        metavar, help_text = text.split("  ", 1)
        ini = f"lora_{name.replace('-', '_')}"
        group.addoption(f"--lora-{name}", default=None, metavar=metavar, help=help_text)
        parser.addini(ini, f"default of --lora-{name}: {help_text}", default="")


def setting(config: pytest.Config, name: str) -> str | None:
    """Return option ``--lora-NAME``, else the ini value, else None."""
    key = f"lora_{name.replace('-', '_')}"
    value = config.getoption(key)
    if not value and _strange_ini(config):
        from loraeval.pytest_ini import settings_above

        value = settings_above(config.invocation_params.dir).get(key)
    elif not value:
        value = config.getini(key)
    return str(value) if value else None


def _strange_ini(config: pytest.Config) -> bool:
    """Whether pytest has no ini file, or one from above a checkpoint in somebody else's project.

    ``-c``, ``--rootdir`` and test paths on the command line are the user's own choice of a file.
    """
    if config.inipath is None:
        return True
    chosen = config.getoption("inifilename") or config.getoption("rootdir")
    if chosen or config.args_source is pytest.Config.ArgsSource.ARGS:
        return False
    here = config.invocation_params.dir
    return config.inipath.parent not in (here, *here.parents)


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker; with ``--checkpoint`` and no other arguments collect the gate alone."""
    config.addinivalue_line("markers", "lora_gate: an item of the LoRA gate (set by loraeval)")
    if not config.getoption("checkpoint"):
        return
    if not hasattr(config, "workerinput"):
        evidence = Evidence(config, lambda: _shared_run(config), lambda name: setting(config, name))
        config.pluginmanager.register(evidence, "loraeval-evidence")
    config.stash[_ALONE] = config.args_source is not pytest.Config.ArgsSource.ARGS
    if config.stash[_ALONE]:
        config.args = []


def pytest_unconfigure(config: pytest.Config) -> None:
    """Remove what the run shared between processes."""
    run = config.stash.get(_RUN, None)
    if run is not None and not hasattr(config, "workerinput"):
        run.close()


def _shared_run(config: pytest.Config) -> SharedRun:
    """Return this test run's shared state, made on first use."""
    if _RUN not in config.stash:
        from loraeval.shared_run import SharedRun

        settings = {name: setting(config, name) for name in OPTIONS}
        worker = getattr(config, "workerinput", None)
        config.stash[_RUN] = SharedRun(
            checkpoints=tuple(config.getoption("checkpoint")),
            settings=settings,
            root=config.rootpath,
            here=config.invocation_params.dir,
            run_id=worker["testrunuid"] if worker else getattr(config, "_loraeval_uid", None),
        )
    return config.stash[_RUN]


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Tell xdist's controller which shared folder its workers use (same test run id)."""
    if node.config.getoption("checkpoint"):
        _shared_run(node.config).adopt(str(node.workerinput["testrunuid"]))


class CheckpointNode(pytest.Collector):
    """One checkpoint; its items are the scorers that the baseline gates."""

    def collect(self) -> Iterator[pytest.Item]:
        """Yield one item a gated scorer."""
        for scorer in _shared_run(self.config).items_of(self.name):
            item: GateItem = GateItem.from_parent(self, name=scorer)
            item.add_marker("lora_gate")
            item.user_properties.append((ITEM, item_name(self.name, scorer)))
            yield item


class GateItem(pytest.Item):
    """One scorer of one checkpoint: passes, fails with one sentence, or is skipped.

    The work is done in ``setup``, so that what nobody foresaw is an error of the item and never
    looks like a verdict.
    """

    _found: ItemOutcome | str = ""

    def setup(self) -> None:
        """Gate the checkpoint, once for all items and workers."""
        from loraeval.errors import LoraevalError
        from loraeval.outside.runner import guarded_output

        checkpoint = self.parent.name if self.parent is not None else ""
        try:
            with guarded_output():
                self._found = _shared_run(self.config).outcome(checkpoint, self.name)
        except LoraevalError as error:
            self._found = f"{checkpoint}: {error}"

    def runtest(self) -> None:
        """Report this scorer."""
        from loraeval.outside.runner import unspoken
        from loraeval.outside.text import clean

        outcome = self._found
        if isinstance(outcome, str):
            pytest.fail(unspoken(clean(outcome, 2000)), pytrace=False)
        self.user_properties.extend(outcome.properties)
        if outcome.kind == "skip":
            pytest.skip(unspoken(clean(outcome.sentence, 2000)))
        if outcome.kind == "fail":
            pytest.fail(unspoken(clean(outcome.sentence, 2000)), pytrace=False)

    def reportinfo(self) -> tuple[Path, None, str]:
        """Name the item as its node id does."""
        return self.path, None, self.nodeid


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(
    session: pytest.Session, config: pytest.Config, items: list[pytest.Item]
) -> None:
    """Append the gate's items, before ``-k`` and ``-m`` select among all of them."""
    if not config.getoption("checkpoint"):
        return
    from loraeval.errors import LoraevalError
    from loraeval.outside.runner import unspoken

    try:
        _check_report(config)
        for checkpoint in _shared_run(config).checkpoint_names():
            node = CheckpointNode.from_parent(
                session, name=checkpoint, nodeid=checkpoint, path=config.rootpath
            )
            items.extend(session.genitems(node))
    except LoraevalError as error:
        raise pytest.UsageError(unspoken(f"loraeval: {error}")) from None


def _check_report(config: pytest.Config) -> None:
    folder = setting(config, "report")
    if folder is not None:
        from loraeval.commands.options import check_out

        check_out(config.invocation_params.dir / folder, folder=True, option="--lora-report")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test that uses ``lora_checkpoint`` once a checkpoint, in the order given."""
    if "lora_checkpoint" in metafunc.fixturenames:
        names: list[str | None] = [None]
        if metafunc.config.getoption("checkpoint"):
            names = list(_shared_run(metafunc.config).checkpoint_names())
        metafunc.parametrize(
            "lora_checkpoint",
            names,
            indirect=True,
            scope="session",
            ids=[n or "none" for n in names],
        )


@pytest.fixture(scope="session")
def lora_checkpoint(request: pytest.FixtureRequest) -> str:
    """Name of the checkpoint under test; the test skips without ``--checkpoint``."""
    if request.param is None:
        pytest.skip("no checkpoint given: run pytest with --checkpoint PATH")
    return str(request.param)


@pytest.fixture(scope="session")
def lora_run(lora_checkpoint: str, pytestconfig: pytest.Config) -> GateRun:
    """The gated run of the checkpoint: verdict, rows and images; rendered on first use."""
    return _shared_run(pytestconfig).run(lora_checkpoint)


@pytest.fixture(scope="session")
def lora_scores(lora_run: GateRun) -> tuple[ScoreRow, ...]:
    """The scores of the checkpoint under test, one row an image."""
    return lora_run.rows


@pytest.fixture(scope="session")
def lora_renders(lora_run: GateRun) -> tuple[Path, ...]:
    """The image files of the checkpoint under test, in the order of ``lora_scores``."""
    return lora_run.images


@pytest.fixture(scope="session")
def lora_baseline(pytestconfig: pytest.Config) -> Baseline:
    """The baseline named by ``--lora-baseline``; the test skips without ``--checkpoint``."""
    if not pytestconfig.getoption("checkpoint"):
        pytest.skip("no checkpoint given: run pytest with --checkpoint PATH")
    return _shared_run(pytestconfig).baseline()
