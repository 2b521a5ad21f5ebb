"""All that a credential shows of its cloud, each part as far as it can be had."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from JenniferDIRAC.Resources.Cloud.CloudEndpoint import (
    Account,
    Catalogue,
    CloudEndpoint,
    CloudError,
    Limits,
    Server,
)

Part = TypeVar("Part")


@dataclass(frozen=True)
class Discovery:
    """What the cloud told; a part that it did not tell is the error instead."""

    account: Account | CloudError
    limits: Limits | CloudError
    catalogue: Catalogue | CloudError
    servers: tuple[Server, ...] | CloudError = ()
    max_user_data_bytes: int = CloudEndpoint.max_user_data_bytes

    @property
    def problems(self) -> tuple[CloudError, ...]:
        parts = (self.account, self.limits, self.catalogue, self.servers)
        return tuple(part for part in parts if isinstance(part, CloudError))


def discover(cloud: CloudEndpoint, with_servers: bool = False) -> Discovery:
    """Ask for every part; after a refused credential or a cloud that does not answer, nothing more is asked."""
    account = _told(cloud.account)
    if isinstance(account, CloudError):
        return Discovery(account, account, account, account)
    return Discovery(
        account,
        _told(cloud.limits),
        _told(cloud.catalogue),
        _told(cloud.list_servers) if with_servers else (),
        cloud.max_user_data_bytes,
    )


def _told(ask: Callable[[], Part]) -> Part | CloudError:
    try:
        return ask()
    except CloudError as error:
        return error
