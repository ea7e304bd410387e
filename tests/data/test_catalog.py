"""What the catalog says of every file agrees with a mirror's own sums, and costs nothing until it is asked for."""

import dataclasses
import json
import re
import time

import pytest

from algoperf_lite.data import catalog, fetch

EVERY = list(catalog.CATALOG)


@pytest.mark.parametrize("name", EVERY)
def test_entry_is_complete(name):
    entry = catalog.CATALOG[name]
    assert entry.description
    assert entry.licence
    assert all(source.startswith("https://") for source in entry.source.split(", "))
    assert len(entry.files) == len(list(entry.files)) == len({file.path for file in entry.files}) > 0
    assert entry.bytes == sum(file.bytes for file in entry.files)
    for file in entry.files:
        assert re.fullmatch(rf"{name}(/[\w.-]+)+", file.path)
        assert ".." not in file.path
        assert re.fullmatch("[0-9a-f]{64}", file.sha256)
        assert re.match(r"https://raw\.githubusercontent\.com/[\w-]+/[\w.-]+/[0-9a-f]{40}/", file.url)
        assert file.path.endswith(".gz") == file.url.endswith(".gz")  # the bytes of the public home, not of the mirror


def test_share_alike_and_attribution_are_said():
    for name in ("fsdd", "msd_hippocampus", "molecules"):
        assert re.search("CC BY-SA.*attribution.*share-alike", catalog.CATALOG[name].licence)
    for name in ("adult", "small_parallel_enja"):
        assert re.search("CC BY .*attribution", catalog.CATALOG[name].licence)


@pytest.mark.parametrize("name", ["fsdd", "msd_hippocampus"])
def test_shipped_listing_equals_the_mirrors_sums(name, mirror):
    lines = (mirror / name / "SHA256SUMS").read_text().splitlines()
    sums = {f"{name}/{path}": sha256 for sha256, path in (line.split("  ") for line in lines)}
    assert {file.path: file.sha256 for file in catalog.CATALOG[name].files} == sums
    assert all((mirror / file.path).stat().st_size == file.bytes for file in catalog.CATALOG[name].files)


def test_entries_agree_with_the_mirrors_manifest(mirror):
    """Uncompressed sums where the mirror's copy was gzipped on the way, with the url of the same bytes."""
    described = {entry["name"]: entry for entry in json.loads((mirror / "MANIFEST.json").read_text())["datasets"]}
    for name, entry in catalog.CATALOG.items():
        if isinstance(entry.files, catalog.Listed):
            groups = described[name]["file_groups"]
            home = {group["glob"].rpartition("/")[0]: group["url_template"] for group in groups}
            for file in entry.files:
                folder, _, base = file.path.rpartition("/")
                assert file.url == home[folder].replace("{name}", base)
            continue
        expected = {}
        for file in described[name]["files"]:
            packed = "sha256_uncompressed" in file
            path = file["path"].removesuffix(".gz") if packed else file["path"]
            end = "_uncompressed" if packed else ""
            expected[path] = (file[f"bytes{end}"], file[f"sha256{end}"], file["url"])
        assert {file.path: (file.bytes, file.sha256, file.url) for file in entry.files} == expected


def test_listings_are_read_only_when_files_are_asked_for():
    catalog._listed.cache_clear()
    for entry in catalog.CATALOG.values():
        assert len(entry.files) > 0
        assert entry.bytes > 0
        dataclasses.asdict(entry)
    assert catalog._listed.cache_info().currsize == 0
    start = time.process_time()
    assert catalog.CATALOG["fsdd"].files[0].path == "fsdd/recordings/0_george_0.wav"
    assert time.process_time() - start < 0.2


@pytest.mark.slow
def test_every_set_comes_from_the_mirror(mirror, monkeypatch, tmp_path):
    monkeypatch.setenv("ALGOPERF_LITE_DATA", str(tmp_path))
    for name in EVERY:
        fetch.fetch(name, mirror)
        fetch.verify(name)
        assert fetch.path(name) == tmp_path / name
    assert sum(p.is_file() for p in tmp_path.rglob("*")) == sum(len(entry.files) for entry in catalog.CATALOG.values())
