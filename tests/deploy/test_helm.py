"""The Helm chart, rendered by Helm's own engine and judged by Kubernetes' own schemas."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import chain
from typing import Any

import jsonschema
import pytest
from kubernetes_validate import latest_version

from messaging.settings import Settings
from tests.deploy import kubernetes
from tests.deploy.files import CHART, container, deployments_of, read_yaml
from tests.deploy.helm import EVERYTHING, NEEDED, Helm, RefusedError

VARIANTS = {"as it is": NEEDED, "everything": EVERYTHING}
Manifests = Sequence[dict[str, Any]]


@pytest.fixture(params=VARIANTS.values(), ids=list(VARIANTS))
def manifests(request: pytest.FixtureRequest, helm: Helm) -> Manifests:
    """What the chart makes of two sets of values."""
    return helm.render(request.param)


def named(manifests: Manifests, kind: str) -> dict[str, dict[str, Any]]:
    """The objects of a kind by name."""
    return {each["metadata"]["name"]: each for each in manifests if each["kind"] == kind}


def test_helm_has_nothing_to_say(helm: Helm) -> None:
    """`helm lint --strict`; an icon is a matter of taste."""
    for values in VARIANTS.values():
        said = helm.lint(values)
        assert said["errors"] == []
        assert [each for each in said["messages"] if each["error"] != "icon is recommended"] == []


@pytest.mark.parametrize("version", [kubernetes.OLDEST, latest_version()])
def test_kubernetes_takes_every_object(manifests: Manifests, version: str) -> None:
    """The oldest version the chart is for and the newest there are schemas of; unknown fields are refused."""
    assert read_yaml(CHART / "Chart.yaml")["kubeVersion"] == f">={kubernetes.OLDEST}.0-0"
    for manifest in manifests:
        try:
            kubernetes.check(manifest, version)
        except jsonschema.ValidationError as error:
            where = f"{manifest['kind']} {manifest['metadata']['name']} {'.'.join(map(str, error.path))}"
            pytest.fail(f"{where}: {error.message}")


def test_every_kind_of_object_is_made(helm: Helm) -> None:
    """So that none is left unchecked above."""
    assert {each["kind"] for each in helm.render(EVERYTHING)} == {
        *("Deployment", "Service", "Ingress", "Job", "PodDisruptionBudget", "ServiceAccount", "NetworkPolicy"),
        *("ScaledObject", "TriggerAuthentication", "ServiceMonitor", "PodMonitor"),
    }


def test_names_are_unique_and_selectors_find_their_pods(manifests: Manifests) -> None:
    """Each Service, budget and policy is about pods that some Deployment makes."""
    names = [(each["kind"], each["metadata"]["name"]) for each in manifests]
    assert len(set(names)) == len(names)
    pods = [each["spec"]["template"]["metadata"]["labels"] for each in manifests if each["kind"] == "Deployment"]
    for each in manifests:
        spec = each.get("spec", {})
        selector = spec.get("podSelector") or spec.get("selector")
        if not selector or each["kind"] in {"Job", "ServiceMonitor"}:
            continue
        wanted = selector.get("matchLabels", {}) if "matchLabels" in selector else selector
        assert any(wanted.items() <= labels.items() for labels in pods), each["metadata"]["name"]


def test_a_secret_must_be_named(helm: Helm) -> None:
    """Credentials are never values, where they would lie in the release."""
    with pytest.raises(RefusedError, match="Set existingSecret"):
        helm.render({})


@pytest.mark.parametrize(
    "wrong",
    [
        {"pool": []},
        {"pools": []},
        {"image": {"pullPolicy": "Sometimes"}},
        {"settings": {"DATABASE_URL": "x"}},
        {"keda": {"enable": True}},
    ],
)
def test_a_value_that_means_nothing_is_refused(helm: Helm, wrong: dict[str, Any]) -> None:
    """A misspelt name would be a default that nobody notices."""
    with pytest.raises(RefusedError):
        helm.render({**NEEDED, **wrong})


def test_every_value_can_be_set(helm: Helm) -> None:
    """The schema knows each name in values.yaml: all of them at once, given again, change nothing."""
    values = {**read_yaml(CHART / "values.yaml"), **NEEDED}
    assert helm.render(values) == helm.render(NEEDED)


def test_the_environment_is_one_we_start_with(manifests: Manifests, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every process finds its settings, none of them unknown."""
    secret = {
        "MESSAGING_DATABASE_URL": "postgresql://heliograph@db/heliograph",
        "MESSAGING_BROKER_URL": "sentinel://a:26379;sentinel://b:26379/0"
        if "MESSAGING_SENTINEL_MASTER" in str(manifests)
        else "redis://redis/0",
        "MESSAGING_REDIS_URL": "redis://redis/0",
        "MESSAGING_SECRET_KEY": "k" * 32,
        "MESSAGING_METRICS_TOKEN": "t" * 32,
        "FLOWER_BASIC_AUTH": "admin:password",
        "FLOWER_COOKIE_SECRET": "c" * 32,
    }
    for role, deployment in deployments_of(manifests).items():
        found = {each["name"]: each for each in container(deployment)["env"]}
        assert len(found) == len(container(deployment)["env"]), role
        with monkeypatch.context() as patched:
            for name, each in found.items():
                key = each.get("valueFrom", {}).get("secretKeyRef", {}).get("key")
                patched.setenv(name, each["value"] if key is None else secret[key])
            Settings.load()


def test_pods_may_do_little(manifests: Manifests) -> None:
    """Not root, no capabilities, nothing to write to but two empty places, no token of Kubernetes."""
    for each in (*named(manifests, "Deployment").values(), *named(manifests, "Job").values()):
        pod = each["spec"]["template"]["spec"]
        (only,) = pod["containers"]
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert pod["automountServiceAccountToken"] is False
        assert only["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert {"/tmp", "/run/heliograph"} <= {mount["mountPath"] for mount in only["volumeMounts"]}  # noqa: S108  of a pod
        assert {"requests", "limits"} <= set(only["resources"])


def test_a_worker_may_finish_what_is_in_flight(manifests: Manifests) -> None:
    """It ends by itself within MESSAGING_WATCHDOG_S; whoever kills it before that makes duplicates."""
    for role, deployment in deployments_of(manifests).items():
        if container(deployment)["name"] != "worker":
            continue
        grace_s = deployment["spec"]["template"]["spec"]["terminationGracePeriodSeconds"]
        assert grace_s > Settings.model_fields["watchdog_s"].default, role
        assert deployment["spec"]["strategy"]["rollingUpdate"]["maxUnavailable"] == 0, role


def test_the_api_is_given_time_to_drain(manifests: Manifests) -> None:
    """What balancers still send, and what is under way (20 s), end before it is killed."""
    pod = deployments_of(manifests)["api"]["spec"]["template"]["spec"]
    drain_s = int(pod["containers"][0]["lifecycle"]["preStop"]["exec"]["command"][1])
    assert pod["terminationGracePeriodSeconds"] >= drain_s + 20


def test_the_api_stays_in_while_a_server_is_away(manifests: Manifests) -> None:
    """It accepts without a broker; without a database, all replicas would go at once."""
    api = container(deployments_of(manifests)["api"])
    assert api["startupProbe"]["httpGet"]["path"] == "/health/ready"
    assert api["readinessProbe"]["httpGet"]["path"] == "/health/live"
    assert api["livenessProbe"]["httpGet"]["path"] == "/health/live"


def test_no_probe_asks_a_worker_over_the_broker(manifests: Manifests) -> None:
    """`celery inspect ping` costs seconds, and ends busy workers."""
    for role, deployment in deployments_of(manifests).items():
        for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
            assert "celery" not in str(container(deployment).get(probe, "")), role


def test_there_is_one_beat_that_goes_before_its_successor_comes(manifests: Manifests) -> None:
    """Two do no harm, and one is enough."""
    beat = deployments_of(manifests)["beat"]["spec"]
    assert (beat["replicas"], beat["strategy"]) == (1, {"type": "Recreate"})


def test_migrations_run_before_anything_new_starts(manifests: Manifests) -> None:
    """As a hook that a first installation can run too: it needs nothing that the chart makes later."""
    (job,) = named(manifests, "Job").values()
    assert job["metadata"]["annotations"]["helm.sh/hook"] == "pre-install,pre-upgrade"
    assert job["spec"]["template"]["spec"]["serviceAccountName"] == "default"
    assert container(job)["command"] == ["messaging", "migrate"]


def test_every_pool_loses_one_pod_at_a_time(manifests: Manifests) -> None:
    """A drained node takes no pool along."""
    budgets = named(manifests, "PodDisruptionBudget")
    roles = set(deployments_of(manifests)) - {"beat", "flower"}
    assert set(budgets) == {f"demo-heliograph-{role}" for role in roles}
    assert all(budget["spec"]["maxUnavailable"] == 1 for budget in budgets.values())


def test_a_pool_is_scaled_by_keda_or_by_its_replicas_and_never_by_both(helm: Helm) -> None:
    """An upgrade would set back what KEDA has scaled."""
    manifests = helm.render(EVERYTHING)
    scaled = {each["spec"]["scaleTargetRef"]["name"] for each in named(manifests, "ScaledObject").values()}
    deployments = named(manifests, "Deployment")
    assert scaled == {name for name, each in deployments.items() if "replicas" not in each["spec"]}
    assert scaled == {
        f"demo-heliograph-{name}" for name in ("push", "push-high", "email", "email-high", "sms", "sms-high")
    }


def test_workers_are_scaled_by_the_work_of_their_own_queue(helm: Helm) -> None:
    """The channel and the lane of a pool's query are those of the queue it reads."""
    manifests = helm.render(EVERYTHING)
    deployments = named(manifests, "Deployment")
    for name, each in named(manifests, "ScaledObject").items():
        query = each["spec"]["triggers"][0]["metadata"]["query"]
        channel, lane = re.findall(r"b\.(?:channel|lane) = '(\w+)'", query)
        command = container(deployments[name])["command"]
        queue = f"messaging.{channel}{'.high' if lane == 'high' else ''}"
        assert command[command.index("-Q") + 1] == queue


def test_nobody_connects_to_workers_but_prometheus(helm: Helm) -> None:
    """And only where there is one."""
    (closed,) = [
        each
        for each in helm.render({**NEEDED, "networkPolicy": {"enabled": True}})
        if each["metadata"]["name"] == "demo-heliograph-workers"
    ]
    assert closed["spec"]["ingress"] == []
    (watched,) = [
        each
        for each in helm.render(EVERYTHING)
        if each["kind"] == "NetworkPolicy" and each["metadata"]["name"] == "demo-heliograph-workers"
    ]
    assert [port["port"] for rule in watched["spec"]["ingress"] for port in rule["ports"]] == ["metrics"]


def test_ports_are_named_as_they_are_used(helm: Helm) -> None:
    """A Service, a probe or a monitor that names a port finds it on the pods it selects."""
    manifests = helm.render(EVERYTHING)
    for role, deployment in deployments_of(manifests).items():
        only = container(deployment)
        ports = {port["name"] for port in only.get("ports", ())}
        probes = [only[probe] for probe in ("startupProbe", "readinessProbe", "livenessProbe") if probe in only]
        asked = {probe[how]["port"] for probe in probes for how in ("httpGet", "tcpSocket") if how in probe}
        assert asked <= ports, role
        assert ("metrics" in ports) == (only["name"] == "worker"), role
    served = chain.from_iterable(each["spec"]["ports"] for each in named(manifests, "Service").values())
    assert {each["targetPort"] for each in served} == {"http"}
