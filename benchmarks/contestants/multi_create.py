"""One request for all servers (Nova's ``min_count``), beside the floor."""

from benchmarks.contestants.floor import MultiCreate
from benchmarks.contestants.lane import serve

if __name__ == "__main__":
    serve(MultiCreate)
