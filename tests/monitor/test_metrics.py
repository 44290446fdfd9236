"""Metrics as they are scraped: bounded, documented, cheap, and without anything that was a secret's."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path

import pytest
from prometheus_client import Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families
from prometheus_client.parser import text_string_to_metric_families as text_parser

from secretsd.monitor import catalogue, exposition
from secretsd.monitor.exposition import Sheet
from tests.monitor.asking import Page, Watched, page_of
from tests.monitor.faults import FAULTS, Stage
from tests.monitor.shipper_faults import SHIPPER_FAULTS, WatchedShipper
from tests.monitor.signer_faults import WatchedSigner
from tests.refresh.daemon import UNIT, Home, a_bundle, live

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTATION = ROOT / "docs" / "metrics.md"


def names_in(page: Page) -> set[str]:
    """Of metrics, without what samples add."""
    return {re.sub(r"_(total|info|bucket|count|sum)$", "", series.partition("{")[0]) for series in page}


def labels_in(page: Page) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for series in page:
        for label, value in re.findall(r'(\w+)="([^"]*)"', series):
            found.setdefault(label, set()).add(value)
    return found


def test_a_histogram_and_odd_names_survive_the_way_to_prometheus() -> None:
    sheet = Sheet()
    sheet.spread(catalogue.DURATION, (0.1, 1.0), (3, 2, 1), 4.5, "orders", "sign")
    odd = 'a "b" \\ \n c'
    sheet.set(catalogue.CREATED, 5, "bot", "aws", odd)
    text, _ = exposition.encoded(sheet, frozenset({exposition.OPENMETRICS}))
    families = {each.name: each for each in text_string_to_metric_families(text.decode())}
    buckets = {
        sample.labels.get("le"): sample.value
        for sample in families["secretsd_signer_request_duration_seconds"].samples
        if sample.name.endswith("_bucket")
    }
    assert buckets == {"0.1": 3, "1.0": 5, "+Inf": 6}
    (sample,) = families["secretsd_secret_version_created_timestamp_seconds"].samples
    assert sample.labels == {"bundle": "bot", "source": "aws", "secret": odd}


def a_sample_of_each() -> Sheet:
    sheet = Sheet()
    for number, metric in enumerate(catalogue.EVERYTHING):
        labels = [f'{label} "{number}" \\ \n' for label in metric.labels]
        if metric.kind == "histogram":
            sheet.spread(metric, (0.1, 1.0), (3, 2, 1), 4.5, *labels)
        else:
            sheet.set(metric, 1, *labels)
    return sheet


def test_who_does_not_ask_for_openmetrics_gets_the_same_samples_as_text_that_promtool_passes() -> None:
    text, kind = exposition.encoded(a_sample_of_each(), frozenset({"*/*"}))
    assert kind == "text/plain; version=0.0.4; charset=utf-8"
    openmetrics, _ = exposition.encoded(a_sample_of_each(), frozenset({exposition.OPENMETRICS}))
    assert samples_of(text_parser(text.decode())) == samples_of(
        text_string_to_metric_families(openmetrics.decode())
    )
    done = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, check=False)
    assert (done.returncode, done.stdout + done.stderr) == (0, b"")
    # A check that would let everything pass is none.
    done = subprocess.run(
        ["promtool", "check", "metrics"], input=openmetrics, capture_output=True, check=False
    )
    assert done.returncode != 0


def samples_of(families: Iterable[Metric]) -> list[tuple[str, dict[str, str], float]]:
    return [(each.name, each.labels, each.value) for family in families for each in family.samples]


def test_a_sample_that_lacks_a_label_is_a_bug() -> None:
    with pytest.raises(ValueError, match="shorter"):
        Sheet().set(catalogue.GENERATION, 1)


def test_the_daemon_loads_no_web_server_for_its_metrics_and_others_still_get_the_whole_package() -> None:
    code = (
        f"import sys; sys.path.insert(0, {str(ROOT)!r}); import secretsd.monitor.exposition as own\n"
        "assert not {'http.server', 'wsgiref', 'urllib.request'} & set(sys.modules), 'it was all loaded'\n"
        "import prometheus_client; assert prometheus_client.Counter and 'http.server' in sys.modules\n"
        "assert own.encoded(own.Sheet())[0] == b''"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_what_is_counted_of_a_bundle_its_unit_and_its_source(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario() -> None:
        home.configure(a_bundle())
        async with home.helper() as helper, Watched(home) as daemon:
            await daemon.loaded()
            stage = Stage(daemon, helper, monkeypatch)
            for name in ("refused", "clock off", "files altered"):
                await FAULTS[name].begin(stage)
            page = await daemon.page()
            assert page['secretsd_refreshes_total{bundle="bot",result="ok"}'] == 1
            assert page['secretsd_refreshes_total{bundle="bot",result="refusal"}'] == 1
            assert page['secretsd_bundle_failing{bundle="bot",class="refusal",code="fake-refusal"}'] == 1
            assert page['secretsd_bundle_generation{bundle="bot"}'] == 2  # the second one repaired the first
            assert page['secretsd_bundle_drifts_total{bundle="bot"}'] == 1
            assert page[f'secretsd_unit_behind{{bundle="bot",unit="{UNIT}"}}'] == 0
            assert page[f'secretsd_unit_reports_total{{bundle="bot",outcome="acted",unit="{UNIT}"}}'] == 1
            assert page['secretsd_source_calls_total{operation="GetSecretValue",source="aws"}'] == 1
            assert page['secretsd_source_clock_skew_seconds{source="aws"}'] == -120
            assert 0 <= page['secretsd_bundle_confirmed_age_seconds{bundle="bot"}'] < 15
            assert page["secretsd_ready{}"] == 1

    live(scenario())


def test_no_value_and_nothing_that_a_source_made_up_becomes_a_label(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The words of each label are those of the configuration and of secretsd."""
    known = {
        "bundle": {"bot"},
        "unit": {UNIT},
        "source": {"aws"},
        "secret": {"prod/bot"},
        "operation": {"GetSecretValue"},
    }

    async def scenario() -> None:
        home.vault.put("prod/bot", {"TOKEN": "fake-token-1", "surprise-key": "fake-surprise"})
        async with home.helper() as helper, Watched(home) as daemon:
            stage = Stage(daemon, helper, monkeypatch)
            for name in ("bad data", "unit fails", "endpoint silent"):
                await FAULTS[name].begin(stage)
            text = (await daemon.ask("/metrics"))[1] + (await daemon.ask("/readyz?verbose"))[1]
            assert "prod/bot" in text or "bot" in text  # what is looked for would be found
            assert "fake-token" not in text
            assert "surprise" not in text
            found = labels_in(await daemon.page())
            for label, words in known.items():
                assert found.get(label, set()) <= words, label

    live(scenario())


def test_a_bundle_that_is_gone_takes_its_series_along(home: Home) -> None:
    async def scenario() -> None:
        home.configure(a_bundle(), a_bundle("other"))
        async with home.helper(), Watched(home) as daemon:
            assert 'secretsd_bundle_generation{bundle="other"}' in await daemon.page()
            home.configure(a_bundle())
            await daemon.conductor.reload_configuration()
            assert "other" not in labels_in(await daemon.page())["bundle"]

    live(scenario())


def documented() -> dict[str, tuple[str, str]]:
    """Name -> kind and labels, of the tables."""
    rows = re.findall(r"^\| `(secretsd_\w+)` \| (\w+) \| ([^|]*) \|", DOCUMENTATION.read_text(), re.MULTILINE)
    return {name: (kind, labels.replace("`", "").replace(",", "").strip()) for name, kind, labels in rows}


def test_every_metric_is_documented_with_its_kind_and_labels() -> None:
    endings = {"counter": "_total", "info": "_info"}
    wanted = {
        each.name + endings.get(each.kind, ""): (each.kind, " ".join(each.labels))
        for each in catalogue.EVERYTHING
    }
    assert documented() == wanted


def test_what_real_daemons_serve_is_what_is_documented(
    home: Home, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """All of it is seen once: a metric that nothing serves would be no more than a promise."""
    seen: set[str] = set()

    async def scenario() -> None:
        home.configure(a_bundle(keys='max_age = "1h"\nsealed_copy = {}'))
        async with home.helper() as helper, Watched(home) as daemon:
            await daemon.loaded()
            stage = Stage(daemon, helper, monkeypatch)
            for name in ("push silent", "clock off"):
                await FAULTS[name].begin(stage)
                await FAULTS[name].end(stage)
            await FAULTS["refused"].begin(stage)
            seen.update(names_in(await daemon.page()))

    live(scenario())
    folder = tmp_path / "signer"
    folder.mkdir()
    signer = WatchedSigner(folder, monkeypatch)
    with signer.daemon:
        signer.daemon.generate("orders")
        signer.use()
        seen |= names_in(signer.page())

    async def with_the_shipper() -> None:
        place = tmp_path / "shipper"
        place.mkdir()
        async with WatchedShipper(place, monkeypatch) as watched:
            await SHIPPER_FAULTS["journald gone"].begin(watched)
            seen.update(names_in(await watched.page()))

    live(with_the_shipper())
    wanted = {each.name for each in catalogue.EVERYTHING} - {
        catalogue.CREATED.name
    }  # the fake source has no dates
    assert seen == wanted


def test_a_page_of_many_bundles_does_not_hold_up_the_loop() -> None:
    sheet = Sheet()
    for number in range(500):
        for result in ("ok", "transient", "identity", "refusal", "data", "io"):
            sheet.set(catalogue.REFRESHES, 1, f"bundle-{number}", result)
    began = time.perf_counter()
    text, _ = exposition.encoded(sheet, frozenset({exposition.OPENMETRICS}))
    took_s = time.perf_counter() - began
    assert len(page_of(text.decode())) == 3000
    assert took_s < 0.3
    print(f"{took_s / 3000 * 1e6:.1f} us a sample")
