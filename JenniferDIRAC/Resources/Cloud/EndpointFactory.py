"""From an endpoint's section of the CS to the object that talks to its cloud."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from JenniferDIRAC.ConfigurationSystem.EndpointConfig import FAKE, OPENSTACK, QEMU, EndpointConfig
from JenniferDIRAC.Resources.Cloud.CloudEndpoint import CloudEndpoint, Rejected


def make_endpoint(config: EndpointConfig) -> CloudEndpoint:
    """The cloud of an endpoint; its library is imported only now, so that no director needs those it does not use.

    :raises Rejected: there is no cloud of that CEType, or the section lacks what it needs
    """
    maker = _MAKERS.get(config.ce_type)
    if maker is None:
        raise Rejected(f"{config}: CEType: expected one of {', '.join(_MAKERS)}, found {config.ce_type}")
    return maker(config)


def _make_openstack(config: EndpointConfig) -> CloudEndpoint:
    from JenniferDIRAC.Resources.Cloud.OpenStackEndpoint import OpenStackEndpoint

    return OpenStackEndpoint(str(config), config.cloud or config.ce)


def _make_qemu(config: EndpointConfig) -> CloudEndpoint:
    from JenniferDIRAC.Resources.Cloud.QEMUEndpoint import QEMUEndpoint

    if config.state_directory is None or config.image_directory is None:
        raise Rejected(f"{config}: expected StateDirectory and ImageDirectory, found only one or none")
    return QEMUEndpoint(
        str(config),
        config.state_directory,
        config.image_directory,
        acceleration=config.acceleration,
        max_cores=config.quota_cores,
        max_ram_mib=config.quota_ram,
    )


def _make_fake(config: EndpointConfig) -> CloudEndpoint:
    from JenniferDIRAC.Resources.Cloud.FakeEndpoint import FakeEndpoint

    return FakeEndpoint()


_MAKERS: Mapping[str, Callable[[EndpointConfig], CloudEndpoint]] = {
    OPENSTACK: _make_openstack,
    QEMU: _make_qemu,
    FAKE: _make_fake,
}
