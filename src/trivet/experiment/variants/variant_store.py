"""Where variants, and what a study has profiled of them, are kept: beside the catalog of runs."""

from pathlib import Path

from trivet.catalog.location import DEFAULT_FOLDER, locate
from trivet.spec.configuration import Configuration
from trivet.variants.store import VariantStore

FOLDER = "variants"


def default_store(catalog_url: str | None) -> VariantStore:
    """In the catalog's folder; of a catalog on a server in ./.trivet. Raises: CatalogError: a URL of another kind."""
    location = locate(catalog_url, None)
    folder = location.file.parent if location.file is not None else Path(DEFAULT_FOLDER)
    return VariantStore((folder / FOLDER).absolute())


def tuned_profile_path(configuration: Configuration, catalog_url: str | None) -> Path:
    """Of the service as declared, with its variants. Raises: CatalogError: as `default_store`."""
    return default_store(catalog_url).folder.parent / "profiles" / f"{configuration.hash}.json"
