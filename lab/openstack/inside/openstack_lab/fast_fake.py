"""Nova's FakeDriver, without the placement requests at each claim, and with a node identity that survives a restart.

At each claim and each delete the resource tracker reads the allocation of every instance of its host from placement,
which only reshapes and PCI devices need: O(n²) requests for n servers. The stock driver makes up a new node at each
start, and nova-compute then refuses to start.
"""

from nova.scheduler.client import report
from nova.virt import fake, node

report.SchedulerReportClient.get_allocations_for_provider_tree = lambda self, context, nodename: {}


class FastFakeDriver(fake.FakeDriver):
    def get_available_resource(self, nodename):
        return {**super().get_available_resource(nodename), "uuid": node.get_local_node_uuid()}

    def get_nodenames_by_uuid(self, refresh=False):
        return {node.get_local_node_uuid(): self.get_available_nodes()[0]}
