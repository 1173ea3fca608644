"""The pytest plugin: options, items, fixtures, summary; nothing else.

``pytest --checkpoint run.safetensors`` collects one item a checkpoint and gated scorer. Nothing is
read, rendered or imported before the first item that needs it runs; without ``--checkpoint`` the
plugin does nothing at all. The work itself is ``loraeval.evaluation``; ``loraeval.shared_run``
makes it happen once for all workers of pytest-xdist.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from loraeval import pytest_hooks
from loraeval.errors import LoraevalError
from loraeval.options import OPTIONS, Option
from loraeval.pytest_evidence import ITEM, Evidence, LastWord, item_name

if TYPE_CHECKING:
    from loraeval.baselines import Baseline
    from loraeval.evaluation.gate_run import GateRun
    from loraeval.records import ScoreRow
    from loraeval.shared_run import ItemOutcome, SharedRun

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
    for option in OPTIONS:
        more: dict[str, Any] = {"dest": option.ini, "default": None, "help": option.help}
        if option.flag:
            more |= {"action": "store_true"}
        elif option.choices:
            more |= {"choices": option.choices}
        else:
            more |= {"type": _reader(option), "metavar": option.metavar}
        group.addoption(option.pytest_flag, **more)
        parser.addini(option.ini, f"default of {option.pytest_flag}: {option.help}", default="")


def pytest_addhooks(pluginmanager: pytest.PytestPluginManager) -> None:
    """Offer ``pytest_loraeval_verdict``."""
    pluginmanager.add_hookspecs(pytest_hooks)


def _reader(option: Option) -> Callable[[str], Any]:
    def read(text: str) -> Any:
        try:
            return option.value(text)
        except LoraevalError as error:
            raise argparse.ArgumentTypeError(str(error)) from error

    return read


def settings(config: pytest.Config) -> dict[str, Any]:
    """Return the value of every option that was given, by its name in a request: that of the
    command line, else that of the configuration. Raises ``pytest.UsageError`` for a wrong one.
    """
    above: dict[str, str] | None = None
    if _strange_ini(config):
        from loraeval.pytest_ini import settings_above

        above = settings_above(config.invocation_params.dir)
    found: dict[str, Any] = {}
    for option in OPTIONS:
        value = config.getoption(option.ini)
        if value is None or value == "":
            text = config.getini(option.ini) if above is None else above.get(option.ini)
            if not text:
                continue
            try:
                value = option.value(str(text))
            except LoraevalError as error:
                raise pytest.UsageError(
                    f"loraeval: {option.ini} in the pytest configuration: {error}"
                ) from None
        found[option.field] = value
    return found


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
        evidence = Evidence(config, _shared_run(config))
        judges = {"loraeval-evidence": evidence, "loraeval-last-word": LastWord(evidence)}
        for name, judge in judges.items():
            if config.pluginmanager.register(judge, name) is None:
                raise pytest.UsageError(f"loraeval: -p no:{name} leaves no judge of the gate")
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
        from loraeval.evaluation.request import Request
        from loraeval.shared_run import SharedRun

        request = Request.of(
            settings(config),
            checkpoints=tuple(config.getoption("checkpoint")),
            root=config.rootpath,
            here=config.invocation_params.dir,
            door="pytest",
        )
        worker = getattr(config, "workerinput", None)
        config.stash[_RUN] = SharedRun(
            request,
            run_id=worker["loraeval_run"] if worker else None,
        )
    return config.stash[_RUN]


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Tell a worker of xdist which folder the session shares: one of its own, never the test run
    id, which people set and set again.
    """
    if node.config.getoption("checkpoint"):
        node.workerinput["loraeval_run"] = _shared_run(node.config).own_id()


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

    def _initrequest(self) -> None:
        """Nothing: what plugins that run an item again call to reset its fixtures; it has none."""

    def reportinfo(self) -> tuple[Path, int, str]:
        """Name the item as its node id does; a skip by marker wants a line."""
        return self.path, 0, self.nodeid


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(
    session: pytest.Session, config: pytest.Config, items: list[pytest.Item]
) -> None:
    """Append the gate's items, before ``-k`` and ``-m`` select among all of them."""
    if not config.getoption("checkpoint"):
        return
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
    folder = _shared_run(config).request.out_folder
    if folder is not None:
        from loraeval.commands.options import check_out

        check_out(folder, folder=True, option="--lora-report")


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
