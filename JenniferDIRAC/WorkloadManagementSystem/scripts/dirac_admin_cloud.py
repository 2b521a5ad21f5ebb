"""Look after the virtual machines of the CloudDirector: status, list, history, kill, preview of user-data."""

from DIRAC.Core.Base.Script import Script


@Script()
def main():
    from JenniferDIRAC.WorkloadManagementSystem.CLI.CloudCommand import app

    app(prog_name="dirac-admin-cloud")


if __name__ == "__main__":
    main()
