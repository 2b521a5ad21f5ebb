"""The gateway that virtual machines talk to: run it on a DIRAC server, see --help."""

from DIRAC.Core.Base.Script import Script


@Script()
def main():
    from JenniferDIRAC.WorkloadManagementSystem.Gateway.Server import app

    app(prog_name="dirac-cloud-gateway")


if __name__ == "__main__":
    main()
