"""The OpenAPI description is what the gateway does: tried out by schemathesis in the name of a VM, over TLS."""

import schemathesis
from schemathesis.config import SchemathesisConfig
from schemathesis.engine import events, from_schema

SEED = 5
EXAMPLES = 40  # per operation and phase


def settings(world, vm):
    return SchemathesisConfig.from_dict(
        {
            "seed": SEED,
            "tls-verify": str(world.certificates / "certificates" / "lab-ca.pem"),
            "headers": {"Authorization": f"Bearer {vm.session}"},
            "parameters": {"vm_id": vm.id},
            "generation": {"deterministic": True, "max-examples": EXAMPLES, "database": "none", "no-shrink": True},
        }
    )


def failures(schema):
    """All that went wrong, and how many requests of each operation were made."""
    wrong, cases = [], {}
    for event in from_schema(schema).execute():
        if isinstance(event, (events.NonFatalError, events.FatalError)):
            wrong.append(str(event))
        if isinstance(event, events.ScenarioFinished):
            recorder = event.recorder
            for case_id, checks in recorder.checks.items():
                label = recorder.cases[case_id].value.operation.label
                cases[label] = cases.get(label, 0) + 1
                for check in checks:
                    if check.failure_info:
                        request = recorder.interactions[case_id].request
                        wrong.append(
                            f"{check.name}: {check.failure_info.failure} {request.method} {request.uri} {request.body}"
                        )
    return wrong, cases


def test_the_gateway_does_what_its_description_says(world):
    vm = world.guest()
    url = f"https://localhost:{world.port}/vm/v1/openapi.json"
    schema = schemathesis.openapi.from_url(url, config=settings(world, vm))
    wrong, cases = failures(schema)
    assert not wrong, "\n\n".join(wrong)
    assert len(cases) == 6 and min(cases.values()) > 3, cases
    assert world.log.of("error") == []


def test_every_answer_is_described_with_words_and_a_model(world):
    document = world.app.openapi()
    operations = [one for path in document["paths"].values() for one in path.values()]
    assert len(operations) == 6
    for operation in operations:
        assert operation["summary"] and operation["description"]
        for status, response in operation["responses"].items():
            assert response["description"]
            assert status == "204" or response["content"]["application/json"]["schema"]["$ref"]
    append = document["paths"]["/vm/v1/{vm_id}/logs/{label}"]["put"]
    assert {"200", "400", "401", "408", "409", "410", "413", "422", "429", "500", "503", "507"} == set(
        append["responses"]
    )
    assert document["components"]["securitySchemes"]["session"]["scheme"] == "bearer"
