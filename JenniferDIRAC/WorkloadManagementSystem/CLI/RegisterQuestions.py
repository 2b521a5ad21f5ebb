"""Where ``register`` takes its values from: the command line, the CS, the user, or what the cloud suggests."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import TypeVar

from diraccfg import CFG

from JenniferDIRAC.ConfigurationSystem.EndpointConfig import CE_TYPE_PREFIX, OPENSTACK
from JenniferDIRAC.ConfigurationSystem.Registration import (
    Registration,
    Standing,
    all_ces,
    check_names,
    same,
    section_of,
    sections_of,
    site_path,
)
from JenniferDIRAC.ConfigurationSystem.SiteRegistrar import SiteRegistrar
from JenniferDIRAC.ConfigurationSystem.StrictModel import ConfigError, did_you_mean
from JenniferDIRAC.Resources.Cloud.Choice import choose_flavor, choose_image, choose_networks
from JenniferDIRAC.Resources.Cloud.CloudEndpoint import Catalogue, CloudError, Flavor, Image, Limits, Rejected
from JenniferDIRAC.Resources.Cloud.CloudsEntries import CloudsEntries
from JenniferDIRAC.Resources.Cloud.Discovery import Discovery, discover
from JenniferDIRAC.Resources.Cloud.EndpointFactory import make_endpoint
from JenniferDIRAC.Resources.Cloud.Suggestion import Suggestion, by_age, spec_of, suggest, vm_type_name
from JenniferDIRAC.WorkloadManagementSystem.CLI.Discover import DEFAULT_CPU_TIME, look_at
from JenniferDIRAC.WorkloadManagementSystem.CLI.Form import Form, Question
from JenniferDIRAC.WorkloadManagementSystem.CLI.RegisterOptions import (
    OF_VM_TYPE,
    OFFLINE,
    SHARED,
    NotRegistered,
    Wanted,
    value_problem,
)

Choice = TypeVar("Choice", Image, Flavor)


class Questionnaire:
    """All values of a registration: first of the command line, then of the CS, then of the user or as suggested."""

    def __init__(self, wanted: Wanted, registrar: SiteRegistrar, files: CloudsEntries, form: Form):
        self._wanted, self._registrar, self._files, self._form = wanted, registrar, files, form
        self._ces = f"{site_path(wanted.site)}/CEs"
        cs: CFG = registrar.current
        self._taken = all_ces(cs)
        self._mine = {
            name: options
            for name in sections_of(cs, self._ces)
            if (options := section_of(cs, f"{self._ces}/{name}")).get("CEType", "").startswith(CE_TYPE_PREFIX)
        }

    @property
    def status_only(self) -> bool:
        """Whether nothing is said, nor asked, of an endpoint that stands in the CS: it stays as it is there."""
        if self._form.console is not None or self._wanted.values:
            return False
        ce = self._known_ce()
        return ce in self._mine and bool(sections_of(self._registrar.current, f"{self._ces}/{ce}/Queues"))

    def registration(self) -> Registration:
        """What is not known in the end stands in the form's ``missing``."""
        wanted = self._wanted
        if self.status_only:
            return Registration(wanted.site, self._known_ce(), "", {}, {})
        cloud, ce = self._endpoint()
        stands = Standing.read(self._registrar.current, wanted.site, ce)
        queue = self._queue(stands)
        vos = self._vos(stands, queue or "")
        known = not self._form.missing or "--cloud" not in self._form.missing[0]
        found = self._look(cloud, ce, stands.ce) if known and not wanted.offline else None
        catalogue = found.catalogue if found and isinstance(found.catalogue, Catalogue) else Catalogue()
        limits = found.limits if found and isinstance(found.limits, Limits) else None
        values: dict[str, str | None] = {
            "CEType": stands.ce.get("CEType", OPENSTACK),
            "Cloud": cloud if cloud != stands.ce.get("Cloud", ce if stands.ce else "") else None,
            "VO": vos,
            "Networks": wanted.networks,
            "Zones": wanted.zones,
            "KeyPair": wanted.key_pair,
            "SecurityGroups": wanted.security_groups,
        }
        if queue != "":
            there = partial(stands.value, queue=queue or "")
            new = queue not in stands.queues  # what stands is never replaced by a suggestion
            image = self._image(there("Image"), catalogue, suggest(catalogue, limits) if new else None)
            suggested = suggest(catalogue, limits, _chosen(lambda: choose_image(image, catalogue))) if new else None
            flavor = self._flavor(there("Flavor"), catalogue, suggested)
            values |= {"Image": image, "Flavor": flavor}
            values["Networks"] = self._networks(there("Networks"), catalogue, suggested)
            queue = queue or self._new_queue(image, flavor, catalogue)
        optional = {
            "MaxVMs": ("--max-vms", "most VMs at a time, beside the quota", wanted.max_vms),
            "MaxCores": ("--max-cores", "most cores at a time, beside the quota", wanted.max_cores),
            "CVMFSProxy": ("--cvmfs-proxy", "the site's squid for CVMFS, http://host:3128", wanted.cvmfs_proxy),
        }
        values |= {name: self._optional(*of, stands.value(name)) for name, of in optional.items()}
        if queue:
            values["maxCPUTime"] = self._cpu_time(stands.queues.get(queue, {}))
        return Registration(wanted.site, ce, queue, *stands.place(queue, values))

    def _known_ce(self) -> str:
        """The endpoint that is meant, if it was said or is the only one of the site."""
        only = next(iter(self._mine)) if len(self._mine) == 1 and self._wanted.cloud is None else ""
        return self._wanted.ce or only

    def _endpoint(self) -> tuple[str, str]:
        """The entry of clouds.yaml ("" for a kind of cloud that has none) and the CE's name."""
        known = self._known_ce()
        stands = self._mine.get(known, {})
        if stands.get("CEType", OPENSTACK) != OPENSTACK:
            return "", known
        cloud = self._cloud(stands.get("Cloud", known) if stands else "")
        if not cloud:
            return "", known
        ce = Question(
            "--ce",
            "name of this endpoint in DIRAC, that no other site uses",
            given=self._wanted.ce,
            suggested=self._ce_name(cloud),
            obvious=True,
            check=lambda name: self._name_problem(ce=name),
        )
        return cloud, self._form.get(ce)

    def _queue(self, stands: Standing) -> str | None:
        """The VM type that is meant: given, or the only one; None if it is yet to be named, "" if all stay as they are.

        Of several, one has to be said where a value would be one of them, and not of all.
        """
        if self._wanted.queue or len(stands.queues) < 2:
            return self._wanted.queue or next(iter(stands.queues), None)
        given = self._wanted.values
        of_one = [option for option in OF_VM_TYPE if option in given] + [
            option
            for option, name in SHARED.items()
            if any(not same(given.get(option, value), value) for value in stands.own_values(name))
        ]
        what = f"the VM type that is meant, of {', '.join(stands.queues)}; another name adds one"
        choices = [(queue, stands.value("Flavor", queue)) for queue in stands.queues]
        check = partial(self._name_problem, "")
        return self._form.get(Question("--queue", what, choices=choices, required=bool(of_one), check=check))

    def _new_queue(self, image: str, flavor: str, catalogue: Catalogue) -> str:
        return self._form.get(
            Question(
                "--queue",
                "name of this VM type",
                suggested=vm_type_name(
                    _chosen(lambda: choose_image(image, catalogue)), _chosen(lambda: choose_flavor(flavor, catalogue))
                ),
                obvious=True,
                check=lambda name: self._name_problem(queue=name),
            )
        )

    def _cpu_time(self, stands: Mapping[str, str]) -> str:
        return self._form.get(
            Question(
                "--max-cpu-time",
                "minutes for which a VM takes jobs",
                given=self._wanted.max_cpu_time,
                stands=stands.get("maxCPUTime", ""),
                suggested=DEFAULT_CPU_TIME,
                obvious=True,
                check=lambda text: "" if text.isdecimal() and int(text) else "a whole number of minutes",
            )
        )

    def _optional(self, option: str, what: str, given: str | None, stands: str) -> str:
        check = partial(value_problem, option)
        return self._form.get(Question(option, what, given=given, stands=stands, required=False, check=check))

    def _name_problem(self, ce: str = "", queue: str = "") -> str:
        try:
            check_names(self._wanted.site, ce, queue)
        except ConfigError as error:
            return str(error)
        site = self._taken.get(ce, self._wanted.site)
        return "" if site == self._wanted.site else f"{site} has a CE of that name"

    def _cloud(self, stands: str) -> str:
        entries, offline = self._files.entries, self._wanted.offline
        return self._form.get(
            Question(
                "--cloud",
                "entry of clouds.yaml to log in with",
                given=self._wanted.cloud,
                stands=stands,
                suggested=entries[0].name if len(entries) == 1 else "",
                choices=[(entry.name, f"{entry.project} at {entry.url}") for entry in entries],
                check=lambda name: "" if name in self._files.names or offline else "there is no such entry",
            )
        )

    def _ce_name(self, cloud: str) -> str:
        """That of the endpoint which this cloud is already, else the cloud's own, made unique if need be."""
        for name, options in self._mine.items():
            if options.get("Cloud", name) == cloud:
                return name
        plain_name = "".join(char if char.isalnum() or char in "._-" else "-" for char in cloud).strip("._-")
        if plain_name in self._taken:
            return f"{plain_name}-{self._wanted.site.split('.')[1].lower()}"
        return plain_name

    def _vos(self, stands: Standing, queue: str) -> str:
        known = self._registrar.vos()

        def check(text: str) -> str:
            folded = {vo.lower(): vo for vo in known}
            for vo in filter(None, map(str.strip, text.split(","))):
                if vo.lower() not in folded:
                    hint = did_you_mean(vo, known)
                    return f"VO {vo}: expected one of {', '.join(known)}{f' ({hint})' if hint else ''}"
            return ""

        vos = self._form.get(
            Question(
                "--vo",
                "VOs that may use it",
                given=self._wanted.vos,
                stands=stands.value("VO", queue),
                suggested=known[0] if len(known) == 1 and not stands.ce else "",
                required=not stands.ce,  # an endpoint without is for all
                choices=[(vo, "") for vo in known],
                several=True,
                check=check,
            )
        )
        if self._wanted.vos is not None and (problem := check(vos)):
            raise NotRegistered(problem, usage=True)
        return vos

    def _look(self, cloud: str, ce: str, stands: Mapping[str, str]) -> Discovery:
        """What there is to choose from.

        :raises NotRegistered: the cloud does not tell
        """
        try:
            if stands.get("CEType", OPENSTACK) != OPENSTACK:
                # without an entry of clouds.yaml: only its own section describes it
                found = discover(make_endpoint(self._registrar.endpoint(self._wanted.site, ce)))
            else:
                found = look_at(cloud)
        except Rejected as error:
            raise NotRegistered(str(error)) from None
        if isinstance(found.catalogue, Rejected):
            raise NotRegistered(str(found.catalogue))
        if isinstance(found.catalogue, CloudError):
            raise NotRegistered(f"{found.catalogue}\n{OFFLINE}")
        return found

    def _image(self, stands: str, catalogue: Catalogue, suggested: Suggestion | None) -> str:
        return self._form.get(
            Question(
                "--image",
                "what the VMs boot",
                given=self._wanted.image,
                stands=stands,
                suggested=suggested.image.spec if suggested else "",
                choices=[
                    (spec_of(image, catalogue.images), f"{image.created_at:%Y-%m-%d}" if image.created_at else "")
                    for image in by_age(catalogue.images)
                ],
                check=lambda spec: _problem(lambda: choose_image(spec, catalogue)) if catalogue.images else "",
            )
        )

    def _flavor(self, stands: str, catalogue: Catalogue, suggested: Suggestion | None) -> str:
        return self._form.get(
            Question(
                "--flavor",
                "their size",
                given=self._wanted.flavor,
                stands=stands,
                suggested=suggested.flavor.spec if suggested else "",
                choices=[
                    (spec_of(one, catalogue.flavors), f"{one.cores} cores, {one.ram_mib} MiB, {one.disk_gib} GiB disk")
                    for one in sorted(catalogue.flavors, key=lambda one: (one.cores, one.ram_mib, one.name))
                ],
                check=lambda spec: _problem(lambda: choose_flavor(spec, catalogue)) if catalogue.flavors else "",
            )
        )

    def _networks(self, stands: str, catalogue: Catalogue, suggested: Suggestion | None) -> str:
        networks, spec = catalogue.networks, suggested.networks.spec if suggested else ""
        needed = bool(suggested and not spec and networks)
        choices = [(spec_of(one, networks), ", ".join(one.subnets) or "no addresses") for one in networks]
        of = f", of {', '.join(name for name, _ in choices)}" if needed else ""
        return self._form.get(
            Question(
                "--network",
                f"network with a way out to DIRAC{of}",
                given=self._wanted.networks,
                stands=stands,
                suggested=spec,
                choices=choices,
                several=True,
                required=needed,
                obvious=True,
                check=lambda text: _problem(lambda: choose_networks(_split(text), catalogue)) if networks else "",
            )
        )


def _chosen(choice: Callable[[], Choice]) -> Choice | None:
    try:
        return choice()
    except Rejected:
        return None


def _problem(choice: Callable[[], object]) -> str:
    try:
        choice()
    except Rejected as error:
        return str(error)
    return ""


def _split(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]
