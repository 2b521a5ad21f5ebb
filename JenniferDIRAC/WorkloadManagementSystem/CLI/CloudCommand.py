"""The verbs of ``dirac-admin-cloud``."""

from __future__ import annotations

import inspect
import json
from base64 import b64decode
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.syntax import Syntax

from JenniferDIRAC.WorkloadManagementSystem.CLI import Levers, Logs, Output, Tables, Why
from JenniferDIRAC.WorkloadManagementSystem.CLI.Output import VM, Json
from JenniferDIRAC.WorkloadManagementSystem.CLI.Session import (
    EXIT_REFUSED,
    EXIT_UNREACHABLE,
    answer,
    connect,
    errors,
    start_dirac,
)
from JenniferDIRAC.WorkloadManagementSystem.CLI.Simulate import simulate
from JenniferDIRAC.WorkloadManagementSystem.Planner.Model import VMState

app = typer.Typer(
    help="Look after the virtual machines that the CloudDirector starts, and the clouds where it starts them.\n\n"
    "From a clouds.yaml to the first VM: discover CLOUD, register SITE, check SITE --boot.\n\n"
    "Why is no VM started? why JOB, why SITE, why. To steer the director: drain, hold, override, pause, and back.\n\n"
    "What did a VM do? show VM, logs VM --follow, console VM.\n\n"
    "status, vms, show, logs, console, kill, render, why and all levers ask the VirtualMachineManager service with "
    "your proxy; reading needs the property Operator or ServiceAdministrator, 'kill' and pulling a lever need "
    "Operator. 'register' needs CSAdministrator and SiteManager; 'discover' and 'egi' need no DIRAC server. "
    "Exit codes: 0 done, 1 refused or failed, 2 wrong usage, 3 DIRAC, its Configuration or the VirtualMachineManager "
    "service cannot be reached.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_show_locals=False,  # they may hold a secret
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(Levers.app)
app.add_typer(Why.app)
app.add_typer(Logs.app)
LIVE = [state.value for state in VMState if state is not VMState.ENDED]


@app.command()
def status(as_json: Json = False) -> None:
    """What every endpoint did for every VO in the director's last cycle, and what stopped the rest.

    Example: dirac-admin-cloud status
    """
    Output.show(answer(connect().getStatus()), as_json, Tables.status)


@app.command()
def vms(
    everything: Annotated[bool, typer.Option("--all", help="Ended VMs too.")] = False,
    state: Annotated[list[VMState] | None, typer.Option(help="Only VMs in this state; may be repeated.")] = None,
    site: Annotated[str, typer.Option(help="Only VMs at this site, such as CLOUD.GRIF.fr.")] = "",
    vo: Annotated[str, typer.Option(help="Only VMs of this VO.")] = "",
    limit: Annotated[int, typer.Option(min=1, max=1000, help="At most so many, newest first.")] = 100,
    as_json: Json = False,
) -> None:
    """List VMs, newest first; without options those that have not ended.

    Example: dirac-admin-cloud vms --all --site CLOUD.GRIF.fr --limit 20
    """
    selection: dict[str, Any] = {"site": site, "vo": vo}
    if state:
        selection["state"] = [one.value for one in state]
    elif not everything:
        selection["state"] = LIVE
    Output.show(answer(connect().getVirtualMachines(selection, limit)), as_json, Tables.vms)


@app.command()
def show(vm: VM, as_json: Json = False) -> None:
    """One VM's record, its life so far with reasons, and the end of its console when it is known.

    Example: dirac-admin-cloud show 3f2a9c
    """
    Output.show(answer(connect().getVirtualMachine(vm)), as_json, Tables.vm)


@app.command()
def kill(
    vm: VM,
    reason: Annotated[str, typer.Option("--reason", "-m", help="Why; recorded with your name.")] = "",
    as_json: Json = False,
) -> None:
    """End a VM: the director deletes its server in its next cycle; a job that runs there is lost to DIRAC's stalled-job
    handling.

    Example: dirac-admin-cloud kill 3f2a9c --reason "broken disk"
    """
    Output.show(
        answer(connect().killVirtualMachine(vm, reason)),
        as_json,
        lambda record, console: console.print(
            f"VM {record['vm_id']} is {record['state']}: {record['outcome_reason']}", markup=False
        ),
    )


@app.command()
def render(
    endpoint: Annotated[str, typer.Argument(help="The CE, or site/CE, such as CLOUD.GRIF.fr/grif-cloud.")],
    vm_type: Annotated[str, typer.Argument(metavar="VMTYPE", help="The queue of the CE.")],
    vo: Annotated[str, typer.Option(help="Whose profile to take.")],
    iso: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write a NoCloud seed drive instead, for any hypervisor or PC.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Show exactly what a VM would get as user-data, with every secret masked.

    With --iso it is written as a drive from which cloud-init reads it: a virtual or real machine with this drive and an
    image boots, says hello, ends for want of a credential, which is masked here too, and switches itself off.

    Example: dirac-admin-cloud render grif-cloud el9-4core --vo belle
    Example: dirac-admin-cloud render grif-cloud el9-4core --vo belle --iso seed.iso
    """
    if iso is not None:
        from JenniferDIRAC.WorkloadManagementSystem.CLI.Seed import check_target, write_drive

        try:
            check_target(iso)
            written = write_drive(iso, b64decode(answer(connect().getUserData(endpoint, vm_type, vo))))
        except OSError as error:
            raise Output.refused(error) from None
        Output.show(
            written, as_json, lambda one, console: console.print(f"{one['iso']}: {one['bytes']} bytes", markup=False)
        )
        return
    Output.show(
        answer(connect().renderUserData(endpoint, vm_type, vo)),
        as_json,
        lambda text, console: console.print(
            Syntax(text, "yaml", background_color="default") if console.is_terminal else text,
            markup=False,
            highlight=False,
            soft_wrap=True,
        ),
    )


@app.command()
def discover(
    cloud: Annotated[str, typer.Argument(help="Entry of clouds.yaml; without one, all entries are listed.")] = "",
    site: Annotated[str, typer.Option(help="Site to make the CS section for, such as CLOUD.GRIF.fr.")] = "",
    vo: Annotated[list[str] | None, typer.Option(help="VO to make the CS section for; may be repeated.")] = None,
    as_json: Json = False,
) -> None:
    """What a cloud's credential can do: project, quota and use, flavors, images, networks, zones, key pairs, security
    groups, days left; and a CS section that is ready to be registered. Needs no DIRAC server and no proxy.

    Clouds are described in clouds.yaml, which OpenStack's web page offers with an application credential; it belongs
    into ~/.config/openstack/clouds.yaml, or where OS_CLIENT_CONFIG_FILE says.

    Example: dirac-admin-cloud discover
    Example: dirac-admin-cloud discover grif --site CLOUD.GRIF.fr --vo belle
    """
    from JenniferDIRAC.ConfigurationSystem.Registration import check_names
    from JenniferDIRAC.ConfigurationSystem.StrictModel import ConfigError
    from JenniferDIRAC.Resources.Cloud.CloudEndpoint import CloudError, Rejected
    from JenniferDIRAC.Resources.Cloud.CloudsEntries import read_clouds_entries
    from JenniferDIRAC.WorkloadManagementSystem.CLI import Discover

    if not cloud:
        Output.show(read_clouds_entries(), as_json, Discover.print_entries, Discover.entries_as_json)
        return
    try:
        if site:
            check_names(site)
        found = Discover.look_at(cloud)
    except (Rejected, ConfigError) as error:
        raise Output.refused(error) from None
    suggested = Discover.suggestion(found)
    vos = tuple(vo or ())
    Output.show(
        found,
        as_json,
        lambda value, console: Discover.print_discovery(cloud, value, suggested, site, vos, console),
        lambda value: Discover.as_json(cloud, value, Discover.example(cloud, suggested, site, vos)),
    )
    for text in Discover.alarms(found):
        errors.print(Tables.plain(f"ALARM: {text}"), style="red bold", soft_wrap=True)
    if isinstance(found.account, CloudError) or isinstance(found.catalogue, CloudError):
        raise typer.Exit(EXIT_REFUSED)


@app.command()
def egi(
    vo: Annotated[str, typer.Option(help="The VO, as EGI calls it.")],
    site: Annotated[str, typer.Argument(help="The site's name in GOCDB; without one, all that serve the VO.")] = "",
    cloud: Annotated[str, typer.Option(help="Name for the entry. Default: of site and VO.")] = "",
    token_file: Annotated[str, typer.Option(help="Where the refresh token is to be kept.")] = "",
    information_service: Annotated[str, typer.Option(help="The EGI information service.")] = "https://is.cloud.egi.eu",
    gocdb: Annotated[str, typer.Option(help="GOCDB's public interface.")] = "https://goc.egi.eu/gocdbpi/public/",
    as_json: Json = False,
) -> None:
    """Print the entry of clouds.yaml for a site of the EGI Federated Cloud, which logs in through EGI Check-in.

    Keystone and project come from EGI's information service, or GOCDB. Nothing is sent there but the question, and
    nothing is written: from then on the entry counts, and no directory. One that names another host than an entry
    which is there already is refused.

    Example: dirac-admin-cloud egi --vo belle
    Example: dirac-admin-cloud egi CESGA --vo belle
    """
    from JenniferDIRAC.Resources.Cloud.CachedAnswers import NotThere
    from JenniferDIRAC.Resources.Cloud.CloudEndpoint import CloudError, Rejected
    from JenniferDIRAC.Resources.Cloud.CloudsEntries import read_clouds_entries
    from JenniferDIRAC.WorkloadManagementSystem.CLI import EGI

    directory = EGI.directory(information_service, gocdb)
    try:
        if not site:
            sites = directory.sites(vo)
            print(json.dumps(sites) if as_json else Tables.plain("\n".join(sites)) or f"No site serves {vo}.")
            return
        found = directory.find(site, vo)
    except (CloudError, NotThere) as error:
        raise Output.refused(error) from None
    name, file = cloud or EGI.entry_name(site, vo), token_file or EGI.token_file(vo)
    entries = read_clouds_entries().entries
    try:
        EGI.check_pin(found, name, entries)
    except Rejected as error:
        raise Output.refused(error) from None
    if as_json:
        print(json.dumps(EGI.entry(found, name, file), indent=2))
    else:
        print(Tables.plain(EGI.as_yaml(found, name, file, [entry.name for entry in entries])), end="")


@app.command()
def register(
    site: Annotated[str, typer.Argument(help="DIRAC name of the site, CLOUD.… or VCYCLE.…, such as CLOUD.GRIF.fr.")],
    cloud: Annotated[str | None, typer.Option(help="Entry of clouds.yaml, here and on the director's host.")] = None,
    ce: Annotated[str | None, typer.Option(help="Name of the endpoint in DIRAC. Default: the cloud's.")] = None,
    vo: Annotated[list[str] | None, typer.Option(help="VO that may use it; may be repeated.")] = None,
    image: Annotated[str | None, typer.Option(help="An id, name:NAME, or wanted properties.")] = None,
    flavor: Annotated[str | None, typer.Option(help="An id, name:NAME, or as 'cores>=4, ram>=8'.")] = None,
    network: Annotated[list[str] | None, typer.Option(help="An id or name:NAME; may be repeated.")] = None,
    zone: Annotated[list[str] | None, typer.Option(help="Availability zone; may be repeated.")] = None,
    security_group: Annotated[list[str] | None, typer.Option(help="Security group; may be repeated.")] = None,
    key_pair: Annotated[str | None, typer.Option(help="Name of the key pair for log-in. Default: none.")] = None,
    queue: Annotated[str | None, typer.Option(help="Name of the VM type. Default: as el9-1core.")] = None,
    max_vms: Annotated[str | None, typer.Option(help="Most VMs at a time. Default: the quota.")] = None,
    max_cores: Annotated[str | None, typer.Option(help="Most cores at a time. Default: the quota.")] = None,
    max_cpu_time: Annotated[int | None, typer.Option(min=1, help="Minutes for which a VM takes jobs. [1440]")] = None,
    cvmfs_proxy: Annotated[str | None, typer.Option(help="The site's squid, http://host:3128.")] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Ask nothing: take suggestions, and write.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the change, and write nothing.")] = False,
    offline: Annotated[bool, typer.Option("--offline", help="Do not ask the cloud whether it has all that.")] = False,
    allow: Annotated[bool, typer.Option("--allow", help="Make Active what is Banned or in error, too.")] = False,
    as_json: Json = False,
) -> None:
    """Write an endpoint with one VM type to DIRAC's configuration, and allow its site and CE.

    On a terminal it asks for what no option says, with suggestions from the cloud itself; elsewhere nothing is asked.
    The change is validated, shown as a diff and confirmed before anything is written. The same again changes nothing,
    and finishes what was interrupted; other values change these only; another --queue or --ce is added. Networks,
    zones, security groups, key pair, limits and CVMFS proxy are removed by "", on the terminal by 'none'.

    Example: dirac-admin-cloud register CLOUD.GRIF.fr
    Example: dirac-admin-cloud register CLOUD.GRIF.fr --cloud grif --vo belle --vo t2k.org --dry-run
    Example: dirac-admin-cloud register VCYCLE.Napoli.it --cloud napoli --vo belle --image name:AlmaLinux-9 --yes
    """
    start_dirac()
    from JenniferDIRAC.ConfigurationSystem.SiteRegistrar import RegistrarError, SiteRegistrar
    from JenniferDIRAC.Resources.Cloud.CloudsEntries import read_clouds_entries
    from JenniferDIRAC.WorkloadManagementSystem.CLI import Register
    from JenniferDIRAC.WorkloadManagementSystem.CLI.RegisterOptions import NotRegistered, Wanted

    wanted = Wanted(
        site=site,
        ce=ce,
        cloud=cloud,
        vos=_joined(vo),
        queue=queue,
        image=image,
        flavor=flavor,
        networks=_joined(network),
        zones=_joined(zone),
        security_groups=_joined(security_group),
        key_pair=key_pair,
        max_vms=max_vms,
        max_cores=max_cores,
        max_cpu_time=None if max_cpu_time is None else str(max_cpu_time),
        cvmfs_proxy=cvmfs_proxy,
        yes=yes,
        dry_run=dry_run,
        offline=offline,
        allow=allow,
    )
    console = Output.console()
    asking = console if Register.interactive(wanted, as_json) else None
    try:
        registrar = SiteRegistrar()
    except RegistrarError as error:
        raise Output.refused(error, EXIT_UNREACHABLE) from None
    try:
        done = Register.run(wanted, registrar, read_clouds_entries(), asking, None if as_json else console)
    except NotRegistered as error:
        raise Output.refused(error, 2 if error.usage else EXIT_REFUSED) from None
    except RegistrarError as error:
        raise Output.refused(error) from None
    if as_json:
        print(json.dumps(done, indent=2))


@app.command()
def check(
    site: Annotated[str, typer.Argument(help="A site, an endpoint as site/ce, or a CE. Default: all.")] = "",
    boot: Annotated[bool, typer.Option("--boot", help="Start one VM of each VM type, and delete it again.")] = False,
    vm_type: Annotated[str, typer.Option(metavar="VMTYPE", help="With --boot: of this VM type only.")] = "",
    vo: Annotated[str, typer.Option(help="Check for this VO only, and boot for it. Default: all, and the first.")] = "",
    timeout: Annotated[
        int | None, typer.Option(min=10, help="With --boot: seconds to the first word, at most. [900]")
    ] = None,
    as_json: Json = False,
) -> None:
    """Everything between a registered site and its first VM: CS section, resource status, credential, project, quota,
    image, flavor, network, template, size of the user-data, gateway, pilot credential and pilot server, each ok or with
    what to do. Run it on the director's host, or wherever the same clouds.yaml is.

    --boot starts a VM that is no director's, with the real user-data but without a proxy, and follows it to its first
    word and until it has fetched the pilot. It is deleted whatever happens, and after Ctrl-C too.

    Exit code 1 if anything failed; warnings are none.

    Example: dirac-admin-cloud check
    Example: dirac-admin-cloud check CLOUD.GRIF.fr --boot --vo belle
    """
    if not boot and (vm_type or timeout is not None):
        raise Output.refused(ValueError("--vm-type and --timeout are of --boot, which is missing"), 2)
    start_dirac()
    from JenniferDIRAC.WorkloadManagementSystem.CLI import Check

    console = Output.console()
    progress = errors if as_json else console
    try:
        checker = Check.SiteChecker(site, vo, vm_type)
    except Check.NoSuchEndpoint as error:
        raise Output.refused(error) from None
    common, checked = checker.run()
    findings = common + [finding for one in checked for finding in one.findings]
    if not as_json:
        Check.print_findings(findings, console)
    results = []
    if boot:
        to_do, skipped = Check.trials(checked, vm_type)
        try:
            results = Check.boot(to_do, timeout or Check.BOOT_SECONDS, progress)
        except KeyboardInterrupt:
            raise typer.Exit(Check.INTERRUPTED_CODE) from None
        booted = [Check.finding_of(*one) for one in results] + skipped + Check.nothing_booted(results, site)
        findings += booted
        if not as_json:
            Check.print_findings(booted, console)
            for _, result in results:
                Check.print_console(result, console)
    if as_json:
        print(json.dumps(Check.as_json(findings, results), indent=2))
    else:
        console.print(f"\n{Check.summary(findings) or 'No endpoint is registered.'}")
    if any(finding.verdict is Check.Verdict.FAILED for finding in findings):
        raise typer.Exit(EXIT_REFUSED)


app.command()(simulate)


def _joined(values: list[str] | None) -> str | None:
    return ", ".join(values) if values else None


# Each example stays on a line of its own: "\b" keeps a paragraph from being filled.
for command in (
    *app.registered_commands,
    *(one for group in (Levers, Why, Logs) for one in group.app.registered_commands),
):
    text = inspect.getdoc(command.callback) or ""
    command.help = text.replace("\n\nExample:", "\n\n\b\nExample:", 1)
