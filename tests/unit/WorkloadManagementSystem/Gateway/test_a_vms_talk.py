"""What a VM in good order says to the gateway, and hears."""

from gateway_world import ENVELOPE


def test_a_vm_from_its_ticket_to_its_end(world):
    vm = world.vm()
    welcome = vm.redeem()
    assert (welcome.status, welcome.json["envelope"]) == (200, ENVELOPE)
    assert vm.beat(phase="boot").json["drain"] is False
    assert vm.size().json == {"size": 0}
    assert vm.put(b"first\n").json == {"size": 6}
    assert vm.put(b"second\n", 6).json == {"size": 13}
    assert vm.end(300, "nothing to do").status == 204
    assert world.logs.read(vm.id, "pilot", 0, 100) == b"first\nsecond\n"
    assert (vm.record.said_code, vm.record.said_reason) == (300, "nothing to do")
