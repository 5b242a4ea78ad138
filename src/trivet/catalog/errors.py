"""What can be wrong with a catalog, or with what somebody asks of it. All of it is told without a traceback.

UserError
└── CatalogError           the catalog cannot be opened, read or written
    ├── NoCatalogError     there is none yet, and reading does not make one
    ├── NewerCatalogError  a newer trivet wrote it
    ├── FullError          no space is left for what was to be written; what was there before is whole
    ├── NoSuchRunError     a reference that names no run, or several
    ├── NoSuchStudyError   the same of a study
    ├── RunEndedError      a run that has ended cannot end again
    ├── NoSuchArtifactError   nothing has this digest
    └── DamagedArtifactError  what is stored under a digest is something else
"""

from trivet.errors import UserError


class CatalogError(UserError):
    """The catalog cannot do what it was asked."""


class NoCatalogError(CatalogError):
    pass


class NewerCatalogError(CatalogError):
    pass


class FullError(CatalogError):
    pass


class NoSuchRunError(CatalogError):
    pass


class NoSuchStudyError(CatalogError):
    pass


class RunEndedError(CatalogError):
    pass


class NoSuchArtifactError(CatalogError):
    pass


class DamagedArtifactError(CatalogError):
    pass
