"""The engine's view of the containers: their users, their privileges, and what they can reach."""

from __future__ import annotations

import json
from typing import Any

import pytest

SERVICES = ("nginx", "certbot", "backend")
STATE = "/var/lib/callgate"
FOLDERS = {
    "nginx": {"published": False, "webroot": False},
    "certbot": {"published": True, "webroot": True, "certbot": True, "rehearsal": True},
    "backend": {"data": True, "rehearsal": False},
}
LONGEST_DRAIN = 30 + 60  # seconds: the default DRAIN_SECONDS, and a minute


@pytest.fixture(scope="module")
def found(rehearsal) -> dict[str, dict[str, Any]]:
    return {service: rehearsal.inspect(service) for service in SERVICES}


@pytest.fixture(params=SERVICES)
def container(request, found):
    return found[request.param]


def service_of(container: dict[str, Any]) -> str:
    return str(container["Config"]["Labels"]["com.docker.compose.service"])


def test_it_runs_as_its_own_user(container):
    users = {"nginx": "101:101", "certbot": "10002:101", "backend": "10001:10001"}
    assert container["Config"]["User"] == users[service_of(container)]


def test_its_processes_are_not_roots(rehearsal, container):
    """According to the kernel, not the image: no user ID 0, no capability, no way to get one."""
    status = rehearsal.exec(service_of(container), "cat", "/proc/1/status").stdout
    fields = dict(line.split(":", 1) for line in status.splitlines())
    assert "0" not in fields["Uid"].split()
    assert {int(fields[name], 16) for name in ("CapPrm", "CapEff", "CapBnd", "CapAmb")} == {0}
    assert fields["NoNewPrivs"].strip() == "1"
    assert fields["Seccomp"].strip() == "2"


def test_it_can_not_write_to_its_own_file_system(rehearsal, container):
    assert container["HostConfig"]["ReadonlyRootfs"] is True
    service = service_of(container)
    for folder in ("/", "/opt/callgate", "/etc"):
        assert rehearsal.exec(service, "sh", "-c", f": >{folder}/test", check=False).returncode != 0, folder


def test_it_has_no_capability_and_can_get_none(container):
    host = container["HostConfig"]
    assert host["CapDrop"] == ["ALL"]
    assert not host["CapAdd"]
    assert host["SecurityOpt"] == ["no-new-privileges:true"]
    assert host["Privileged"] is False


def test_it_shares_no_namespace_and_no_device_of_the_machine(container):
    host = container["HostConfig"]
    assert (host["PidMode"], host["IpcMode"], host["UTSMode"], host["Devices"]) == ("", "private", "", None)
    assert host["NetworkMode"].endswith("_default")


def test_its_memory_and_its_processes_are_bounded(container):
    host = container["HostConfig"]
    memory = {"nginx": 1 << 30, "certbot": 256 << 20, "backend": 1 << 30}
    assert host["Memory"] == memory[service_of(container)]
    assert 0 < host["PidsLimit"] <= 128


def test_it_may_open_as_many_files_as_its_calls_need(found):
    for service in ("nginx", "backend"):
        limits = {limit["Name"]: limit["Soft"] for limit in found[service]["HostConfig"]["Ulimits"] or []}
        assert limits.get("nofile", 0) >= 16384, service


def test_its_logs_are_rotated(container):
    log = container["HostConfig"]["LogConfig"]
    assert log["Type"] == "json-file"
    assert log["Config"].keys() == {"max-size", "max-file", "mode", "max-buffer-size"}
    assert log["Config"]["mode"] == "non-blocking"  # nothing blocks if nobody reads the log


def test_it_comes_back_after_a_crash_or_a_reboot_but_not_after_a_stop(container):
    assert container["HostConfig"]["RestartPolicy"]["Name"] == "unless-stopped"


def test_it_has_a_health_check_of_its_own(container):
    assert container["Config"]["Healthcheck"]["Test"][0] == "CMD"


def test_a_stop_leaves_time_to_drain(found):
    assert found["backend"]["Config"]["StopTimeout"] >= LONGEST_DRAIN
    assert found["nginx"]["Config"]["StopTimeout"] >= 30
    assert found["nginx"]["Config"]["StopSignal"] == "SIGQUIT"


def test_it_mounts_what_it_needs_and_writes_only_to_what_is_its_own(rehearsal, container):
    folders = {
        mount["Destination"].removeprefix(f"{STATE}/"): mount["RW"]
        for mount in container["Mounts"]
        if mount["Type"] == "volume" and mount["Name"].startswith(rehearsal.name)
    }
    assert folders == FOLDERS[service_of(container)]


def test_no_folder_of_the_machine_is_mounted_and_above_all_not_the_engines_socket(container):
    """Except for two folders that are the owner's to write, and what the tests' override file mounts."""
    bound = [
        mount
        for mount in container["Mounts"]
        if mount["Type"] == "bind" and not mount["Destination"].startswith("/acme/")
    ]
    owners = {"backend": ["/var/lib/callgate/agents"], "certbot": ["/var/lib/callgate/tls"]}
    wanted = [(folder, False) for folder in owners.get(service_of(container), [])]
    assert [(mount["Destination"], mount["RW"]) for mount in bound] == wanted
    assert "docker.sock" not in json.dumps(container["HostConfig"])


def test_what_is_in_memory_is_bounded_and_holds_no_programs(container):
    for folder, options in (container["HostConfig"]["Tmpfs"] or {}).items():
        assert "size=" in options, folder
        assert "exec" not in options.split(","), folder


def test_only_nginx_publishes_ports(found):
    published = {service: set(container["HostConfig"]["PortBindings"] or {}) for service, container in found.items()}
    assert published == {"nginx": {"8080/tcp", "8443/tcp"}, "certbot": set(), "backend": set()}


def test_the_compose_file_by_itself_publishes_ports_80_and_443(rehearsal):
    config = json.loads(
        rehearsal.run("docker", "compose", "-f", "docker-compose.prod.yml", "config", "--format", "json").stdout
    )
    ports = {name: service.get("ports", []) for name, service in config["services"].items()}
    assert [(port["published"], port["target"]) for port in ports.pop("nginx")] == [("80", 8080), ("443", 8443)]
    assert not any(ports.values())


def test_nginx_waits_for_nobody(rehearsal):
    """Issuing a certificate needs nginx before the rest is up, and a backend that does not start must not keep it
    down."""
    config = json.loads(rehearsal.compose("config", "--format", "json").stdout)
    assert "depends_on" not in config["services"]["nginx"]


def test_nginx_reads_the_published_key_and_can_not_change_it(rehearsal):
    key = f"{STATE}/published/localhost/current/privkey.pem"
    assert rehearsal.exec("nginx", "cat", key).stdout.startswith("-----BEGIN")
    assert rehearsal.exec("nginx", "sh", "-c", f": >>{key}", check=False).returncode != 0
    assert rehearsal.exec("nginx", "sh", "-c", f": >{STATE}/published/test", check=False).returncode != 0


def test_a_key_is_readable_by_its_owner_and_nginxs_group_only(rehearsal):
    key = f"{STATE}/published/localhost/current/privkey.pem"
    assert rehearsal.exec("certbot", "stat", "-L", "-c", "%a %u %g", key).stdout.split()[1:] == ["10002", "101"]
    mode = int(rehearsal.exec("certbot", "stat", "-L", "-c", "%a", key).stdout, 8)
    assert mode & 0o007 == 0
    assert mode & 0o020 == 0


def test_the_backend_sees_no_key(rehearsal):
    done = rehearsal.exec("backend", "sh", "-c", f"grep -rl 'PRIVATE KEY' {STATE} || true")
    assert done.stdout == ""


def test_no_secret_stands_in_what_the_engine_shows_of_an_image(rehearsal):
    for image in ("callgate-nginx", "callgate-certbot", "callgate-backend"):
        history = rehearsal.run("docker", "history", "--no-trunc", "--format", "{{.CreatedBy}}", image).stdout
        assert "TOKEN" not in history
        assert "KEY=" not in history


@pytest.mark.parametrize(("profile", "service"), [("ngrok", "ngrok"), ("cloudflare", "cloudflared")])
def test_a_tunnel_is_as_confined_as_the_rest_and_only_there_when_asked_for(rehearsal, profile, service):
    def services(*profiles: str) -> dict[str, Any]:
        words = ("docker", "compose", "-f", "docker-compose.prod.yml", *profiles, "config", "--format", "json")
        found = json.loads(rehearsal.run(*words).stdout)["services"]
        assert isinstance(found, dict)
        return found

    assert set(services()) == set(SERVICES)
    tunnel = services("--profile", profile)[service]
    assert tunnel["read_only"] is True
    assert tunnel["cap_drop"] == ["ALL"]
    assert tunnel["security_opt"] == ["no-new-privileges:true"]
    assert "ports" not in tunnel
    assert "mem_limit" in tunnel
    assert not tunnel["image"].endswith(":latest")
    assert ":" in tunnel["image"]
