"""An endpoint and its VM types as the CS describes them: a CE section and its queue sections."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import Field, model_validator

from JenniferDIRAC.ConfigurationSystem.StrictModel import (
    ConfigError,
    ConfigProblem,
    Count,
    Flag,
    Names,
    OptionalCount,
    OptionalPath,
    OptionalPositive,
    Origin,
    Positive,
    Squids,
    StrictModel,
    Text,
    one_of,
)
from JenniferDIRAC.ConfigurationSystem.TemplateParts import Parts

CE_TYPE_PREFIX = "Jennifer"
OPENSTACK = "JenniferOpenStack"
QEMU = "JenniferQEMU"
FAKE = "JenniferFake"
CE_TYPES = (OPENSTACK, QEMU, FAKE)
Acceleration = Literal["auto", "kvm", "tcg"]

# Words of CE and queue sections that other parts of DIRAC read or write; for a cloud they change nothing here.
DIRAC_CE_WORDS = frozenset(
    {
        "AsyncSubmission",
        "BatchSystem",
        "CEQueueName",
        "Description",
        "ExecutableArea",
        "GridEnv",
        "HostName",
        "InfoArea",
        "JobExecDir",
        "MaxCPUTime",
        "MaxProcessors",
        "MaxTotalJobs",
        "MaxWaitingJobs",
        "MultiProcessorStrategy",
        "NumberOfGPUs",
        "NumberOfNodes",
        "OS",
        "OutputURL",
        "PilotRunDirectory",
        "Preamble",
        "RemoveOutput",
        "SI00",
        "SSHPort",
        "SubmissionMode",
        "SubmitOptions",
        "Timeout",
        "WaitingToRunningRatio",
        "WorkArea",
        "WorkingDirectory",
        "architecture",
        "jobExecDir",
        "wnTmpDir",
    }
)
DIRAC_QUEUE_WORDS = (DIRAC_CE_WORDS | {"GlueCEImplementationName", "GlueCEStateStatus", "SubmissionPolicy"}) - {"SI00"}

DEFAULT_SI00 = 2500  # DIRAC's reference core, 10 HS06: a queue's CPUTime is then its maxCPUTime in HS06 seconds


class SharedOptions(StrictModel):
    """Options of a queue that its CE may give for all its queues, as DIRAC inherits them."""

    image: Text = Field("", alias="Image", description="what to boot: an id, name:NAME, or wanted properties")
    flavor: Text = Field("", alias="Flavor", description="its size: an id, name:NAME, or as cores>=4, ram>=8")
    template: Text = Field(
        "", alias="Template", description="cloud-init template: a name of the package's or a file. Default: the VO's"
    )
    template_parts: Parts = Field(
        (),
        alias="TemplateParts",
        description="templates to merge into it: names of the package's or files. Those of all layers add up",
    )
    networks: Names = Field(
        (), alias="Networks", description="networks to attach: ids or name:NAME. Default: the one that fits"
    )
    security_groups: Names = Field(
        (), alias="SecurityGroups", description="names of security groups. Default: the project's default"
    )
    zones: Names = Field((), alias="Zones", description="availability zones, in turn. Default: the cloud's own choice")
    boot_volume_per_core: Count = Field(
        0, alias="BootVolumePerCore", description="GiB of boot volume per core. Default: 0, boot from the flavor's disk"
    )
    key_pair: Text = Field("", alias="KeyPair", description="name of the key pair for log-in. Default: nobody logs in")
    number_of_processors: Count = Field(
        0, alias="NumberOfProcessors", description="processors offered to jobs. Default: 0, all that the flavor has"
    )
    max_ram: Count = Field(
        0, alias="MaxRAM", description="memory offered to jobs, in MiB. Default: 0, all that the flavor has"
    )
    whole_node: Flag = Field(False, alias="WholeNode", description="whether jobs that want a whole node may come")
    tags: Names = Field((), alias="Tag", description="tags offered; those of CE and queue add up")
    required_tags: Names = Field((), alias="RequiredTag", description="tags a job must have; CE and queue add up")
    platform: Text = Field("", alias="Platform", description="DIRAC platform. Default: jobs of any platform may come")
    job_type: Text = Field("", alias="JobType", description="the only job type to serve. Default: all")
    owner_group: Text = Field("", alias="OwnerGroup", description="the only DIRAC group to serve. Default: all")
    local_ce_type: Text = Field(
        "", alias="LocalCEType", description="inner CE of the pilot; Pool runs several jobs at once. Default: one"
    )
    generic_options: Names = Field((), alias="GenericOptions", description="-o options for the pilot")
    extra_pilot_options: Names = Field((), alias="ExtraPilotOptions", description="more options for the pilot")
    shared_area: Text = Field("", alias="SharedArea", description="/LocalSite/SharedArea of the pilot")
    user_env_variables: Text = Field("", alias="UserEnvVariables", description="NAME:::value,… for payloads")
    modules: Text = Field("", alias="Modules", description="non-released code for the pilot to install")
    pip_install_options: Text = Field("", alias="PipInstallOptions", description="options for the pilot's pip")


class LimitOptions(StrictModel):
    """Limits of an endpoint, a VM type or a VO; intents count."""

    max_vms: OptionalCount = Field(None, alias="MaxVMs", description="most VMs at a time. Default: the cloud's quota")
    max_cores: OptionalCount = Field(
        None, alias="MaxCores", description="most cores at a time. Default: the cloud's quota"
    )
    soft_max_vms: OptionalCount = Field(
        None,
        alias="SoftMaxVMs",
        description="from so many VMs on, one at a time is started. Default: no such limit",
    )
    soft_max_cores: OptionalCount = Field(
        None, alias="SoftMaxCores", description="the same in cores. Default: no such limit"
    )


class VOLimits(LimitOptions):
    """Limits of one VO at one endpoint: ``VOLimits/<vo>`` of a CE section."""


class AllotmentOptions(LimitOptions):
    """Options of a CE section that say how much of an endpoint is used, and when."""

    priority: Count = Field(0, alias="Priority", description="endpoints of a higher one are filled first. Default: 0")
    quota_domain: Text = Field(
        "", alias="QuotaDomain", description="endpoints that name the same one share one quota. Default: its own"
    )
    max_starting_cores: OptionalPositive = Field(
        None, alias="MaxStartingCores", description="most cores of VMs that have not shown life yet. Default: no limit"
    )
    vacuum_vms: Count = Field(
        0,
        alias="VacuumVMs",
        description="so many VMs per VO are kept looking for jobs when none is known to wait. Default: 0, none",
    )


class CEOptions(AllotmentOptions):
    """Options of a CE section that are for the endpoint, and pass into its configuration as they are."""

    cloud: Text = Field(
        "", alias="Cloud", description="entry of clouds.yaml on the director's host. Default: the CE's name"
    )
    cvmfs_proxies: Squids = Field(
        (),
        alias="CVMFSProxy",
        description="the site's squids as http://HOST:PORT, in order, or joined by | to share the load; a VM uses "
        "those that answer. Default: the VO's",
    )
    cvmfs_shoal: Text = Field(
        "",
        alias="CVMFSShoal",
        description="address of a Shoal server's /nearest, whose squids come after these. Default: the VO's",
    )
    gateway: Origin = Field(
        "", alias="Gateway", description="how the VMs of this endpoint reach the gateway. Default: the director's"
    )
    image_directory: OptionalPath = Field(
        None, alias="ImageDirectory", description="directory of this host with the disk images to boot from"
    )
    state_directory: OptionalPath = Field(
        None, alias="StateDirectory", description="directory of this host for the VMs' disks and consoles"
    )
    acceleration: Annotated[Acceleration, one_of(*get_args(Acceleration))] = Field(
        "auto", alias="Acceleration", description="auto, kvm or tcg. Default: auto, KVM if a boot proves that it works"
    )
    quota_cores: OptionalPositive = Field(
        None, alias="QuotaCores", description="cores of this host to give to VMs. Default: all it has"
    )
    quota_ram: OptionalPositive = Field(
        None, alias="QuotaRAM", description="memory of this host to give to VMs, in MiB. Default: all it has"
    )


class CESection(SharedOptions, CEOptions):
    """The options of a CE section whose CEType begins with Jennifer."""

    ce_type: Annotated[str, one_of(*CE_TYPES)] = Field(alias="CEType", description="which kind of cloud this is")
    vos: Names = Field((), alias="VO", description="VOs served. Default: the site's list, else all")

    @model_validator(mode="after")
    def _fits_its_kind(self) -> Self:
        if self.ce_type == QEMU:
            for name in ("image_directory", "state_directory"):
                if getattr(self, name) is None:
                    field = type(self).model_fields[name]
                    raise ConfigError([ConfigProblem(str(field.alias), f"a {field.description}", "nothing")])
        return self


class QueueSection(SharedOptions, LimitOptions):
    """The options of a queue section: one VM type."""

    vos: Names = Field((), alias="VO", description="VOs served. Default: the CE's list")
    max_cpu_time: Positive = Field(
        alias="maxCPUTime", description="minutes for which a pilot may take jobs; pilots need it to match any"
    )
    si00: OptionalPositive = Field(
        None, alias="SI00", description=f"power of a core. Default: {DEFAULT_SI00}, DIRAC's reference core of 10 HS06"
    )
    cpu_time: OptionalPositive = Field(
        None, alias="CPUTime", description="normalised seconds offered to jobs. Default: from maxCPUTime and SI00"
    )


class VMTypeConfig(SharedOptions, LimitOptions):
    """One VM type with everything inherited and resolved. ``vos`` empty means every VO; RAM in MiB."""

    site: str
    ce: str
    queue: str
    vos: frozenset[str]
    cpu_time: int
    wall_time: timedelta

    @model_validator(mode="after")
    def _can_be_booted(self) -> Self:
        for name in ("image", "flavor"):
            if not getattr(self, name):
                field = type(self).model_fields[name]
                raise ConfigError([ConfigProblem(str(field.alias), f"a value: {field.description}", "nothing")])
        return self

    @property
    def fills_cores(self) -> bool:
        """Whether one VM runs several jobs at once."""
        return self.local_ce_type.split("/")[0] == "Pool"

    def serves(self, vo: str) -> bool:
        """Whether the VO may use this VM type; DIRAC compares VO names without case."""
        return not self.vos or vo.lower() in {name.lower() for name in self.vos}

    def matcher_parameters(self, cores: int = 0, ram_mib: int = 0) -> dict[str, Any]:
        """What the Matcher asks of a resource, as a SiteDirector's CE would tell it.

        ``cores`` and ``ram_mib`` are the flavor's, for a VM type that does not say its own.
        """
        parameters = {
            "Site": self.site,
            "GridCE": self.ce,
            "Queue": self.queue,
            "CPUTime": self.cpu_time,
            # The Matcher refuses a MaxRAM that is not an int; without one it would ignore what jobs need.
            "MaxRAM": self.max_ram or ram_mib,
            "NumberOfProcessors": self.number_of_processors or cores or 1,
            "Tag": list(self.tags),
            "RequiredTag": list(self.required_tags),
            "Platform": self.platform,
            "JobType": self.job_type,
            "OwnerGroup": self.owner_group,
            # Its mere presence makes the Matcher offer the tag.
            "WholeNode": self.whole_node,
        }
        return {name: value for name, value in parameters.items() if value or name in ("Tag", "RequiredTag")}


class Allotment(AllotmentOptions):
    """How an endpoint's room is dealt out. ``shares`` weigh the VOs, all alike where it is empty."""

    shares: dict[str, float] = {}
    vo_limits: dict[str, VOLimits] = {}


class EndpointConfig(Allotment, CEOptions):
    """One endpoint with its VM types."""

    site: str
    ce: str
    ce_type: str
    vos: frozenset[str] = frozenset()
    vm_types: tuple[VMTypeConfig, ...]

    def __hash__(self) -> int:
        return hash((self.site, self.ce))  # shares and limits of VOs have none

    def __str__(self) -> str:
        return f"{self.site}/{self.ce}"
