"""What ``jennifer-vm`` is told: at once in its user-data, or the most of it by the gateway, in its envelope."""

from __future__ import annotations

import math
from datetime import timedelta
from typing import Any

from JenniferDIRAC.WorkloadManagementSystem.Context.VMContext import GatewayAccess, VMContext


def settings_in_user_data(context: VMContext) -> dict[str, Any]:
    """What the VM finds in a file of its own; holds no secret."""
    if context.gateway is None:
        return {"vm_id": context.vm_id, "credential": dict(context.credential.settings), **_settings(context)}
    return {
        "vm_id": context.vm_id,
        "extra_hosts": list(context.extra_hosts),
        "max_lifetime": _seconds(context.max_lifetime),
        "boot_patience": _seconds(context.gateway.patience),
        "gateway": {
            "url": context.gateway.url,
            "ca": context.gateway.ca,
            "ticket": GatewayAccess.TICKET_PATH,
        },
    }


def envelope(context: VMContext) -> dict[str, Any]:
    """What the gateway has for the bearer of the VM's ticket. It holds the credential: to be sealed, not shown."""
    return {"settings": _settings(context), "credential": context.credential.reveal()}


def _settings(context: VMContext) -> dict[str, Any]:
    return {
        "pilot_argv": list(context.pilot_argv),
        "pilot_env": dict(context.pilot_env),
        "pilot_file_urls": list(context.pilot_file_urls),
        "pilot_user": context.pilot_user,
        "cert_dir": context.cert_dir,
        "trust_anchors": dict(context.trust_anchors),
        "extra_hosts": list(context.extra_hosts),
        "max_lifetime": _seconds(context.max_lifetime),
        "lease": _seconds(context.lease),
        "heartbeat": _seconds(context.heartbeat),
        "min_disk_mib": context.min_disk_mib,
        "cvmfs": {
            "repositories": list(context.cvmfs.repositories),
            "proxies": list(context.cvmfs.proxies),
            "shoal": context.cvmfs.shoal,
        },
        "pilot_logger": {"url": context.pilot_logger, "stamp": context.pilot_stamp, "vo": context.vo},
    }


def _seconds(span: timedelta) -> int:
    return math.ceil(span.total_seconds())  # 0 would be no alarm at all
