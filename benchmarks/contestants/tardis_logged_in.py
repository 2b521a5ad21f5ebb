"""cobald-tardis with the token of an earlier burst, beside the one that has just started."""

from benchmarks.contestants.lane import serve
from benchmarks.contestants.tardis import Tardis


class LoggedIn(Tardis):
    def prepare(self) -> None:
        self.log_in()


if __name__ == "__main__":
    serve(LoggedIn)
