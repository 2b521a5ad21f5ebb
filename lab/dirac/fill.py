"""Run by ``up`` once the services answer: resource status rows, and for every user proxies of each of his groups."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import DIRAC

_LOCAL_PROXY = timedelta(days=3)
_STORED_PROXY = timedelta(days=10)


def main() -> None:
    DIRAC.initialize(host_credentials=True)
    fill_resource_status()
    for directory in sorted(Path(DIRAC.rootPath, "users").iterdir()):
        make_proxies(directory)


def fill_resource_status() -> None:
    """All sites, CEs and accesses of storage elements Active, for ``vO="all"``: DIRAC 9 has no fall-back to the CS."""
    from DIRAC import gConfig
    from DIRAC.Core.Utilities.ReturnValues import returnValueOrRaise
    from DIRAC.ResourceStatusSystem.Client.ResourceStatusClient import ResourceStatusClient

    def sections(path: str) -> list[str]:
        return returnValueOrRaise(gConfig.getSections(path))

    rows = []
    for grid in sections("/Resources/Sites"):
        for site in sections(f"/Resources/Sites/{grid}"):
            rows.append(("Site", site, "Site", "all"))
            for ce in sections(f"/Resources/Sites/{grid}/{site}/CEs"):
                rows.append(("Resource", ce, "ComputingElement", "all"))
    for element in sections("/Resources/StorageElements"):
        for access in ("Read", "Write", "Check", "Remove"):
            rows.append(("Resource", element, "StorageElement", f"{access}Access"))
    client, now = ResourceStatusClient(), datetime.now(UTC).replace(tzinfo=None)
    for element, name, element_type, status_type in rows:
        returnValueOrRaise(
            client.addOrModifyStatusElement(
                element,
                "Status",
                name=name,
                statusType=status_type,
                status="Active",
                elementType=element_type,
                reason="lab",
                tokenOwner="lab",
                tokenExpiration=now + timedelta(days=365),
                dateEffective=now,
                lastCheckTime=now,
                vO="all",
            )
        )


def make_proxies(directory: Path) -> None:
    """``proxy_<group>.pem`` for each group, and one proxy without a group in the ProxyDB (it serves all groups)."""
    from DIRAC import gConfig
    from DIRAC.Core.Security.X509Chain import X509Chain
    from DIRAC.Core.Utilities.ReturnValues import returnValueOrRaise
    from DIRAC.FrameworkSystem.DB.ProxyDB import ProxyDB

    user, chain = directory.name, X509Chain()
    returnValueOrRaise(chain.loadChainFromFile(str(directory / "usercert.pem")))
    returnValueOrRaise(chain.loadKeyFromFile(str(directory / "userkey.pem")))
    for group in returnValueOrRaise(gConfig.getSections("/Registry/Groups")):
        if user in gConfig.getValue(f"/Registry/Groups/{group}/Users", []):
            path = str(directory / f"proxy_{group}.pem")
            returnValueOrRaise(chain.generateProxyToFile(path, int(_LOCAL_PROXY.total_seconds()), diracGroup=group))
    database, dn = ProxyDB(), gConfig.getValue(f"/Registry/Users/{user}/DN")
    request = returnValueOrRaise(database.generateDelegationRequest(chain, dn))
    signed = returnValueOrRaise(
        chain.generateChainFromRequestString(request["request"], lifetime=int(_STORED_PROXY.total_seconds()))
    )
    returnValueOrRaise(database.completeDelegation(request["id"], dn, signed))


if __name__ == "__main__":
    main()
