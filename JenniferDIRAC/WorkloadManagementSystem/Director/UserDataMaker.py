"""User-data for a VM that is about to be created, with the pilot credential of its VO."""

from __future__ import annotations

from collections.abc import Iterable

from JenniferDIRAC.ConfigurationSystem.DirectorConfig import DirectorConfig
from JenniferDIRAC.ConfigurationSystem.EndpointConfig import EndpointConfig, VMTypeConfig
from JenniferDIRAC.ConfigurationSystem.ProfileConfig import ProfileConfig
from JenniferDIRAC.ConfigurationSystem.StrictModel import ConfigError
from JenniferDIRAC.Resources.Cloud.CloudEndpoint import Identity
from JenniferDIRAC.WorkloadManagementSystem.Context.ContextBuilder import (
    build_context,
    gateway_access,
    proxy_lifetime,
)
from JenniferDIRAC.WorkloadManagementSystem.Context.ContextVersion import ContextVersions, Recipient
from JenniferDIRAC.WorkloadManagementSystem.Context.Ticket import digest, new_ticket, seal
from JenniferDIRAC.WorkloadManagementSystem.Context.UserData import render_user_data, sealed_content
from JenniferDIRAC.WorkloadManagementSystem.Context.VMContext import ContextError, VMContext
from JenniferDIRAC.WorkloadManagementSystem.DB.Sessions import Sessions
from JenniferDIRAC.WorkloadManagementSystem.DB.VMRecord import Intent
from JenniferDIRAC.WorkloadManagementSystem.Director.DiracServices import DiracServices, DiracUnavailable


class UserDataUnavailable(Exception):
    """No user-data can be made for this VM: the text says why and where to look."""


class UserDataMaker:
    """Reads the VO's profile, takes a proxy from the ProxyManager, and renders the template."""

    def __init__(self, dirac: DiracServices, sessions: Sessions):
        """:param sessions: where tickets are kept for the gateway"""
        self._dirac = dirac
        self._sessions = sessions
        self._versions = ContextVersions()

    def versions(self, recipients: Iterable[Recipient]) -> dict[Recipient, str]:
        """The versions of what these would be told now, of those for whom it can be made."""
        return self._versions.versions(recipients)

    def make(
        self,
        config: EndpointConfig,
        vm_type: VMTypeConfig,
        profile: ProfileConfig,
        intent: Intent,
        identity: Identity,
        director: DirectorConfig,
        max_bytes: int,
    ) -> bytes:
        """At most ``max_bytes``, the cloud's limit.

        With a gateway they hold a ticket, which is valid until the VM should have booted; what the VM gets for it is
        kept sealed.

        :raises UserDataUnavailable: the profile, the credential or the template is not usable
        :raises StoreUnavailable: the ticket could not be kept
        """
        try:
            context = build_context(
                config,
                vm_type,
                profile,
                intent.vo,
                vm_id=intent.vm_id,
                name=identity.name,
                pilot_reference=intent.pilot_reference,
                pilot_stamp=intent.pilot_stamp,
                proxy=self._dirac.pilot_proxy(intent.vo, proxy_lifetime(profile, vm_type)),
                policy=director.policy,
                gateway=gateway_access(config, director, new_ticket()),
                processors=intent.cores,
            )
            user_data = render_user_data(context, max_bytes)
            self._keep_ticket(context, user_data)
            return user_data
        except (ConfigError, ContextError, DiracUnavailable) as error:
            raise UserDataUnavailable(str(error)) from error

    def _keep_ticket(self, context: VMContext, user_data: bytes) -> None:
        if (access := context.gateway) is not None:
            sealed = seal(access.ticket, sealed_content(context, user_data))
            self._sessions.keep(context.vm_id, digest(access.ticket.reveal()), sealed, access.patience)
