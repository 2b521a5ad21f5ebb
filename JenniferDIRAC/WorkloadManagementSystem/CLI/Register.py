"""``register``: from an entry of clouds.yaml to a site of DIRAC, in one change that is shown before it is made."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

from diraccfg import CFG
from rich.console import Console
from rich.prompt import Confirm
from rich.syntax import Syntax

from JenniferDIRAC.ConfigurationSystem.EndpointConfig import CE_TYPE_PREFIX, OPENSTACK, EndpointConfig
from JenniferDIRAC.ConfigurationSystem.Registration import (
    Change,
    Registration,
    Standing,
    all_ces,
    change,
    check_names,
    same,
    section_of,
    sections_of,
    site_path,
)
from JenniferDIRAC.ConfigurationSystem.SiteRegistrar import UNDECIDED, Element, SiteRegistrar
from JenniferDIRAC.ConfigurationSystem.StrictModel import ConfigError, did_you_mean
from JenniferDIRAC.Resources.Cloud.Choice import Choice, choose, choose_flavor, choose_image, choose_networks
from JenniferDIRAC.Resources.Cloud.CloudEndpoint import Catalogue, CloudError, Flavor, Image, Limits, Rejected
from JenniferDIRAC.Resources.Cloud.CloudsEntries import CloudsEntries
from JenniferDIRAC.Resources.Cloud.Discovery import Discovery, discover
from JenniferDIRAC.Resources.Cloud.EndpointFactory import make_endpoint
from JenniferDIRAC.Resources.Cloud.Suggestion import Suggestion, by_age, spec_of, suggest, vm_type_name
from JenniferDIRAC.WorkloadManagementSystem.CLI.Discover import DEFAULT_CPU_TIME, look_at
from JenniferDIRAC.WorkloadManagementSystem.CLI.Form import Form, Question
from JenniferDIRAC.WorkloadManagementSystem.CLI.Tables import plain


class NotRegistered(Exception):
    """What stops the registration, for the user; ``usage``: options are missing or wrong."""

    def __init__(self, message: str, usage: bool = False):
        super().__init__(message)
        self.usage = usage


@dataclass(frozen=True)
class Wanted:
    """The command line. None: not given."""

    site: str
    ce: str | None = None
    cloud: str | None = None
    vos: str | None = None
    queue: str | None = None
    image: str | None = None
    flavor: str | None = None
    networks: str | None = None
    zones: str | None = None
    key_pair: str | None = None
    security_groups: str | None = None
    max_vms: str | None = None
    max_cores: str | None = None
    max_cpu_time: str | None = None
    cvmfs_proxy: str | None = None
    yes: bool = False
    dry_run: bool = False
    offline: bool = False
    allow: bool = False

    @property
    def values(self) -> dict[str, str]:
        """All that is to be changed, by option of the command."""
        options = {name: getattr(self, name) for name in _OPTIONS}
        return {_OPTIONS[name]: value for name, value in options.items() if value is not None}


# What makes a value of the CS, except for --ce, which only says where.
_OPTIONS = {
    "cloud": "--cloud",
    "vos": "--vo",
    "queue": "--queue",
    "image": "--image",
    "flavor": "--flavor",
    "networks": "--network",
    "zones": "--zone",
    "key_pair": "--key-pair",
    "security_groups": "--security-group",
    "max_vms": "--max-vms",
    "max_cores": "--max-cores",
    "max_cpu_time": "--max-cpu-time",
    "cvmfs_proxy": "--cvmfs-proxy",
}
# "" removes these; without any of the others there is no endpoint.
_REMOVABLE = ("--network", "--zone", "--key-pair", "--security-group", "--max-vms", "--max-cores", "--cvmfs-proxy")
_NUMBERS = ("--max-vms", "--max-cores")
_OF_VM_TYPE = ("--image", "--flavor", "--max-cpu-time")
_SHARED = {"--vo": "VO", "--network": "Networks", "--zone": "Zones", "--key-pair": "KeyPair"} | {
    "--security-group": "SecurityGroups"
}
_PROXY = re.compile(r"DIRECT|https?://(?:[\w.-]+|\[[0-9A-Fa-f:]+\]):\d{1,5}/?")


@dataclass(frozen=True)
class Prepared:
    """A change that is valid, and what its VM type means at the cloud (None: the cloud was not asked)."""

    registration: Registration
    change: Change
    choice: Choice | None
    notes: tuple[str, ...] = ()


def interactive(wanted: Wanted, as_json: bool) -> bool:
    return sys.stdin.isatty() and not (wanted.yes or wanted.dry_run or as_json)


def run(
    wanted: Wanted, registrar: SiteRegistrar, files: CloudsEntries, asking: Console | None, shown: Console | None
) -> dict[str, Any]:
    """The whole of it, and its result for programs.

    :param asking: the terminal where the user is asked; None: nobody is
    :param shown: where results are told; None: nowhere
    :raises NotRegistered: nothing was written
    :raises RegistrarError: DIRAC refuses; what was done is finished by running it again
    """
    prepared = prepare(wanted, registrar, files, Form(asking, assume=wanted.yes or wanted.dry_run))
    if shown:
        print_prepared(prepared, shown)
    written = False
    if prepared.change.options and not wanted.dry_run:
        if not _confirmed(wanted, asking):
            raise NotRegistered("Nothing was written. --yes writes without asking, --dry-run only shows.")
        registrar.commit(prepared.change)
        written = True
        if shown:
            shown.print("Written to the CS.", style="green")
    elements = put_in_order(wanted, prepared.registration, registrar)
    if shown:
        for element, done in elements:
            shown.print(plain(f"{element.kind} {element.name} {done}."), soft_wrap=True)
        site = prepared.registration.site
        shown.print(
            f"\nNext: dirac-admin-cloud check {site} --boot" if not wanted.dry_run else "\nNothing was written."
        )
    return _as_json(prepared, written, elements)


def prepare(wanted: Wanted, registrar: SiteRegistrar, files: CloudsEntries, form: Form) -> Prepared:
    """Everything up to the point where something would be written.

    :raises NotRegistered: a value is missing or wrong, or the cloud or the CS would not take it
    """
    try:
        check_names(wanted.site, wanted.ce or "", wanted.queue or "")
        _check_given(wanted)
        questions = _Questionnaire(wanted, registrar, files, form)
        refusal = registrar.refusal()
        if refusal and not (wanted.dry_run or questions.status_only):
            raise NotRegistered(refusal)
        registration = questions.registration()
        if form.missing:
            lines = "".join(f"\n  {one}" for one in form.missing)
            suggested = any("for instance" in one for one in form.missing)
            takes = "\nWhat has an instance is taken so with --yes." if suggested and not form.assume else ""
            raise NotRegistered(f"Missing, and nobody is asked (no terminal, or --yes):{lines}{takes}", usage=True)
        made = change(registrar.current, registration)
        problems, sites = registrar.problems(made, registration)
        if problems:
            raise NotRegistered("\n".join(map(str, problems)))
    except ConfigError as error:
        raise NotRegistered("\n".join(map(str, error.problems))) from None
    endpoint = next(one for one in sites.endpoints if (one.site, one.ce) == (registration.site, registration.ce))
    choice = None if wanted.offline or questions.status_only else _resolve(endpoint, registration)
    return Prepared(registration, made, choice, registrar.notes(endpoint, sites))


def put_in_order(wanted: Wanted, registration: Registration, registrar: SiteRegistrar) -> list[tuple[Element, str]]:
    """Site and CE known to the ResourceStatus system and Active; each with what was done or is left to do.

    A status that somebody decided upon is left alone, unless ``--allow`` says otherwise.

    :raises RegistrarError: refused, or no answer
    """
    done = []
    for element in registrar.elements(registration):
        if element.usable:
            done.append((element, f"is {element.status} already"))
        elif element.status in UNDECIDED or wanted.allow:
            if not wanted.dry_run:
                registrar.activate(element)
            done.append((element, "would be made Active" if wanted.dry_run else "is Active now"))
        else:
            done.append((element, f"is {element.status} ({element.reason}) and was left so: --allow makes it Active"))
    return done


def print_prepared(prepared: Prepared, console: Console) -> None:
    """What the VM type means, and the change."""
    if prepared.choice is not None:
        image, flavor = prepared.choice.image, prepared.choice.flavor
        networks = ", ".join(network.name for network in prepared.choice.networks) or "as the cloud chooses"
        size = f"{flavor.cores} cores, {flavor.ram_mib} MiB"
        console.print(
            plain(
                f"{prepared.registration.queue} is image {image.name} ({image.id}) with flavor {flavor.name} ({size}), "
                f"network {networks}."
            ),
            soft_wrap=True,
        )
    if prepared.change.options:
        diff = plain(prepared.change.diff)
        console.print()
        console.print(
            Syntax(diff.plain, "diff", background_color="default") if console.is_terminal else diff, soft_wrap=True
        )
    else:
        console.print("The CS says all of this already: nothing to change.")
    for note in prepared.notes:
        console.print(plain(f"Note: {note}"), style="yellow", soft_wrap=True)


def _confirmed(wanted: Wanted, console: Console | None) -> bool:
    """Whether the change may be written."""
    if wanted.yes:
        return True
    return console is not None and Confirm.ask("Write this to the CS?", console=console, default=False)


def _as_json(prepared: Prepared, written: bool, elements: list[tuple[Element, str]]) -> dict[str, Any]:
    choice = prepared.choice
    return {
        "site": prepared.registration.site,
        "ce": prepared.registration.ce,
        "queue": prepared.registration.queue,
        "changed": dict(prepared.change.options),
        "diff": prepared.change.diff,
        "written": written,
        "resolved": choice
        and {
            "image": choice.image.id,
            "flavor": choice.flavor.id,
            "networks": [network.id for network in choice.networks],
        },
        "resource_status": [asdict(element) | {"done": done} for element, done in elements],
        "notes": list(prepared.notes),
    }


class _Questionnaire:
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
            suggested = suggest(catalogue, limits, _chosen(image, catalogue)) if new else None
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
        of_one = [option for option in _OF_VM_TYPE if option in given] + [
            option
            for option, name in _SHARED.items()
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
                suggested=vm_type_name(_chosen(image, catalogue), _chosen_flavor(flavor, catalogue)),
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
        check = partial(_value_problem, option)
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
            raise NotRegistered(f"{found.catalogue}\n{_OFFLINE}")
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


_OFFLINE = "--offline registers without asking the cloud, for a host that cannot reach it."


def _resolve(endpoint: EndpointConfig, registration: Registration) -> Choice | None:
    """What the VM type means at the cloud; others to which the change matters have to mean something too.

    :raises NotRegistered: nothing, or the cloud does not tell
    """
    for_all = {"Cloud", *_SHARED.values()} & set(registration.ce_options)
    vm_types = [one for one in endpoint.vm_types if for_all or one.queue == registration.queue]
    if not vm_types:
        return None
    try:
        catalogue = make_endpoint(endpoint).catalogue()
        return {one.queue: choose(one, catalogue) for one in vm_types}.get(registration.queue)
    except Rejected as error:
        raise NotRegistered(str(error)) from None
    except CloudError as error:
        raise NotRegistered(f"{error}\n{_OFFLINE}") from None


def _chosen(spec: str, catalogue: Catalogue) -> Image | None:
    try:
        return choose_image(spec, catalogue)
    except Rejected:
        return None


def _chosen_flavor(spec: str, catalogue: Catalogue) -> Flavor | None:
    try:
        return choose_flavor(spec, catalogue)
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


def _check_given(wanted: Wanted) -> None:
    """:raises NotRegistered: a value that no cloud has to be asked about is wrong"""
    given = wanted.values | ({} if wanted.ce is None else {"--ce": wanted.ce})
    for option, value in given.items():
        if not value.strip() and option not in _REMOVABLE:
            raise NotRegistered(f"{option}: expected a value, found nothing", usage=True)
        if problem := _value_problem(option, value):
            raise NotRegistered(f"{option}: {problem}", usage=True)


def _value_problem(option: str, value: str) -> str:
    """What is wrong with a value that needs no cloud, or ""."""
    if option in _NUMBERS and value.strip() and not (value.strip().isascii() and value.strip().isdecimal()):
        return f"expected a whole number, found {value}"
    return proxy_problem(value) if option == "--cvmfs-proxy" else ""


def proxy_problem(text: str) -> str:
    """What CVMFS would not take for CVMFS_HTTP_PROXY, or "": groups are separated by ``;``, their members by ``|``."""
    for proxy in re.split("[;|]", text) if text else ():
        if not _PROXY.fullmatch(proxy.strip()):
            return (
                f"expected http://host:port or DIRECT (several separated by | or ;), found {proxy.strip() or 'nothing'}"
            )
    return ""
