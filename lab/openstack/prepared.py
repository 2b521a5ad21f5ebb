"""A new cloud's databases, kept: the next one of the same making starts from a copy, half a minute earlier."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from lab.common.base import home
from lab.openstack.configuration import Ports

#: what the databases fit together with: keys, and the identities of hosts
_PARTS = ("mysql", "fernet", "credential", "state")
_OFFSET = "offset"
#: where they say a port
_COLUMNS = (
    ("keystone.endpoint", "url"),
    ("keystone.idp_remote_ids", "remote_id"),
    ("keystone.mapping", "rules"),
    ("nova_api.cell_mappings", "transport_url"),
    ("nova_api.cell_mappings", "database_connection"),
)


class Prepared:
    """Below the project's home; who deletes it loses nothing but time.

    :param family: of which one is kept
    :param digest: of all that decides what is in it, but the ports
    """

    def __init__(self, family: str, digest: str):
        self._family = family
        self._place = home() / "openstack-prepared" / f"{family}-{digest}"

    def restore(self, root: Path) -> bool:
        """Copy it into the root; False when there is none."""
        try:
            for part in _PARTS:
                shutil.copytree(self._place / part, root / part)
        except OSError:  # none, or somebody has just made a newer one
            for part in _PARTS:
                shutil.rmtree(root / part, ignore_errors=True)
            return False
        return True

    def statements(self, offset: int) -> str:
        """SQL that moves its ports to another offset."""
        before, after = Ports.moved(self._offset).all(), Ports.moved(offset).all()
        # the farthest first: none may become one that is still to be moved
        moves = sorted(zip(before, after, strict=True), reverse=offset > self._offset)
        statements = []
        for table, column in _COLUMNS:
            value = column
            for old, new in moves:
                value = f"REPLACE({value}, ':{old}', ':{new}')"
            statements.append(f"UPDATE {table} SET {column} = {value};")
        return "\n".join(statements)

    def keep(self, root: Path, offset: int) -> None:
        """Copy it from the root, whose database server must have ended; nobody meets half of it."""
        self._place.parent.mkdir(parents=True, exist_ok=True)
        new = Path(tempfile.mkdtemp(prefix=".", dir=self._place.parent))
        try:
            for part in _PARTS:
                shutil.copytree(root / part, new / part)
            (new / _OFFSET).write_text(str(offset))
            for old in self._place.parent.glob(f"{self._family}-*"):
                shutil.rmtree(old)
            new.rename(self._place)
        except OSError:  # somebody else does the same: his will do
            shutil.rmtree(new, ignore_errors=True)

    @property
    def _offset(self) -> int:
        return int((self._place / _OFFSET).read_text())
