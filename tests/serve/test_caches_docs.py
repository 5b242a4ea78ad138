"""The page on caches: its example is a valid service, its tables name every key and metric."""

import re
import sys
from pathlib import Path

import msgspec
import pytest

from benchmarks import models
from trivet.errors import ExtraMissingError
from trivet.runtime.fronts.redis_store import check_store
from trivet.serve.metric_families import FAMILIES
from trivet.spec.cache import Cache, ExactCache
from trivet.spec.service_file import load_service

PAGE = (Path(__file__).parents[2] / "docs" / "caches.md").read_text()


def test_the_example_is_a_valid_service(tmp_path: Path) -> None:
    models.write(models.tiny(), tmp_path / "encoder.onnx")
    (tmp_path / "service.yaml").write_text(re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)[0])
    cache = load_service(tmp_path / "service.yaml").cache
    assert cache == Cache(exact=ExactCache(size_bytes=64 * 2**20, ttl_ns=600 * 10**9))


def test_every_key_is_on_the_page() -> None:
    keys = [field.encode_name for form in (Cache, ExactCache) for field in msgspec.structs.fields(form)]
    assert [key for key in keys if not re.search(rf"`(exact\.)?{key}\b", PAGE)] == []


def test_every_metric_of_caches_is_on_the_page() -> None:
    own = [name for name in FAMILIES if re.search(r"_cache_(?!semantic)", name)]
    assert [name for name in own if f"`{name}`" not in PAGE] == []


def test_without_the_client_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "redis.asyncio.connection", None)
    with pytest.raises(ExtraMissingError, match=r"trivet\[redis\]"):
        check_store("redis://localhost")
