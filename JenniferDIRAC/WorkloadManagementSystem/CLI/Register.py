"""``register``: from an entry of clouds.yaml to a site of DIRAC, in one change that is shown before it is made."""

from __future__ import annotations

import sys
from dataclasses import asdict, dataclass
from typing import Any

from rich.console import Console
from rich.prompt import Confirm
from rich.syntax import Syntax

from JenniferDIRAC.ConfigurationSystem.EndpointConfig import EndpointConfig
from JenniferDIRAC.ConfigurationSystem.Registration import (
    Change,
    Registration,
    change,
    check_names,
)
from JenniferDIRAC.ConfigurationSystem.SiteRegistrar import UNDECIDED, Element, SiteRegistrar
from JenniferDIRAC.ConfigurationSystem.StrictModel import ConfigError
from JenniferDIRAC.Resources.Cloud.Choice import Choice, choose
from JenniferDIRAC.Resources.Cloud.CloudEndpoint import CloudError, Rejected
from JenniferDIRAC.Resources.Cloud.CloudsEntries import CloudsEntries
from JenniferDIRAC.Resources.Cloud.EndpointFactory import make_endpoint
from JenniferDIRAC.WorkloadManagementSystem.CLI.Form import Form
from JenniferDIRAC.WorkloadManagementSystem.CLI.RegisterOptions import (
    OFFLINE,
    SHARED,
    NotRegistered,
    Wanted,
    check_given,
)
from JenniferDIRAC.WorkloadManagementSystem.CLI.RegisterQuestions import Questionnaire
from JenniferDIRAC.WorkloadManagementSystem.CLI.Tables import plain


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
        check_given(wanted)
        questions = Questionnaire(wanted, registrar, files, form)
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


def _resolve(endpoint: EndpointConfig, registration: Registration) -> Choice | None:
    """What the VM type means at the cloud; others to which the change matters have to mean something too.

    :raises NotRegistered: nothing, or the cloud does not tell
    """
    for_all = {"Cloud", *SHARED.values()} & set(registration.ce_options)
    vm_types = [one for one in endpoint.vm_types if for_all or one.queue == registration.queue]
    if not vm_types:
        return None
    try:
        catalogue = make_endpoint(endpoint).catalogue()
        return {one.queue: choose(one, catalogue) for one in vm_types}.get(registration.queue)
    except Rejected as error:
        raise NotRegistered(str(error)) from None
    except CloudError as error:
        raise NotRegistered(f"{error}\n{OFFLINE}") from None
